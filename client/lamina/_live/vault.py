"""Encrypts the contents of secrets for a last-known-good file, under a key that the user has. Knows no files.

AES-256-GCM with a random nonce before each ciphertext, bound to the version that the file holds.
"""

import hashlib
import os
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, TypeAlias

from lamina._runtime.arguments import checked
from lamina.errors import InvalidError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CacheSecrets: TypeAlias = bytes | Callable[[], bytes]
"""A key of KEY_BYTES, or a function that returns it, which is called once, when the key is first needed."""

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Vault:
    """One key. Threads may share it."""

    def __init__(self, key: CacheSecrets) -> None:
        self._given = key

    def seal(self, content: bytes, bound_to: bytes) -> bytes:
        """Encrypt a content."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, content, bound_to)

    def open(self, sealed: bytes, bound_to: bytes) -> bytes:
        """Decrypt a content. ValueError if it is not of this key, or bound to something else."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to)
        except InvalidTag:
            raise ValueError("they were encrypted with another key") from None

    @cached_property
    def key_name(self) -> str:
        """What a file says of its key, so that another key is noticed: a part of a hash."""
        return hashlib.sha256(b"lamina/cache-secrets/1" + self._key).hexdigest()[:16]

    @cached_property
    def _key(self) -> bytes:
        return _checked_key(self._given() if callable(self._given) else self._given)

    @cached_property
    def _cipher(self) -> "AESGCM":
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        return AESGCM(self._key)

    def __repr__(self) -> str:
        return "<Vault>"


def vault_of(key: CacheSecrets | None) -> Vault | None:
    """Return the vault for `cache_secrets=`; ModuleNotFoundError if the extra `lamina[secrets]` is not installed."""
    if key is None:
        return None
    if callable(key):
        checked(key, "cache_secrets=")
    else:
        _checked_key(key)
    if find_spec("cryptography") is None:
        text = "cache_secrets= needs an extra (there is no cryptography): pip install 'lamina[secrets]'"
        raise ModuleNotFoundError(text, name="cryptography")
    return Vault(key)


def _checked_key(key: object) -> bytes:
    if not isinstance(key, bytes):
        raise TypeError(f"cache_secrets= is a key of {KEY_BYTES} bytes or a function that returns one")
    if len(key) != KEY_BYTES:
        text = (
            f"cache_secrets= is a key of {KEY_BYTES} bytes, this one has {len(key)}: os.urandom({KEY_BYTES}) makes one"
        )
        raise InvalidError(text, reason="BAD_REQUEST")
    return key
