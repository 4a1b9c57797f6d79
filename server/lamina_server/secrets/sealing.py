"""One data key: how it seals a content for its config and key, and what the sealed bytes are. Pure.

AES-SIV (RFC 5297) with 64-byte keys. It is deterministic: the same content of the same key has the same bytes under
one data key. So what compares bytes (merging, retries, "equal makes no version") works without a content, and there is
no nonce that two servers could both use. The bytes show nothing but that a key has a content that it had before.

    mark 4 | number 8 | synthetic IV 16 | encrypted: kind 1, content, 0x80, zeros up to a multiple of 32
"""

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from lamina_server.domain.record import record
from lamina_server.domain.secrets import HEADER, MARK, Content
from lamina_server.domain.values import Kind

KEY_BYTES: Final = 64
OVERHEAD_BYTES: Final = 64
"""How much longer sealed bytes are than their content, at most: 12 of the header, 16 of the IV, 1 of the kind, 1 to 32
of the padding."""
_BLOCK_BYTES: Final = 32
"""Sealed bytes tell the length of a content only to this."""
_END: Final = b"\x80"
_CHECK_TAG: Final = b"lamina/data-key/1"
_KINDS: Final = {int(kind): kind for kind in (Kind.STRING, Kind.BYTES, Kind.JSON)}


class CannotUnsealError(Exception):
    """Sealed bytes are not what this data key has sealed for this config and key."""


@record
class DataKey:
    """One data key, ready for use by any thread."""

    number: int
    check: bytes
    _cipher: AESSIV

    @classmethod
    def of(cls, number: int, key: bytes) -> "DataKey":
        """Make one of its 64 bytes."""
        return cls(number, check_of(key), AESSIV(key))

    def seal(self, config: str, key: str, content: Content) -> bytes:
        """Return the sealed bytes of a content."""
        padding = bytes(-(1 + len(content.data) + len(_END)) % _BLOCK_BYTES)
        plain = b"".join((bytes([content.kind]), content.data, _END, padding))
        return HEADER.pack(MARK, self.number) + self._cipher.encrypt(plain, [config.encode(), key.encode()])

    def unseal(self, config: str, key: str, sealed: bytes) -> Content:
        """Return the content of sealed bytes. Raise CannotUnsealError for those of another key, config or data key."""
        try:
            plain = self._cipher.decrypt(sealed[HEADER.size :], [config.encode(), key.encode()])
        except (InvalidTag, ValueError):
            raise CannotUnsealError from None
        end = plain.rindex(_END)
        return Content(_KINDS[plain[0]], plain[1:end])

    def __repr__(self) -> str:
        return f"<DataKey {self.number:016x}>"


def new_key() -> tuple[int, bytes]:
    """Make a data key: its number, and its bytes."""
    return int.from_bytes(os.urandom(8), "big") >> 1 or 1, AESSIV.generate_key(8 * KEY_BYTES)


def check_of(key: bytes) -> bytes:
    """Return the digest that shows whether a data key was unwrapped rightly. It says nothing about the key."""
    return hashlib.sha256(_CHECK_TAG + key).digest()
