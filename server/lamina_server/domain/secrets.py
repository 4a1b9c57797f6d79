"""Secrets as records: the content before it is sealed, and data keys as the store keeps them. Pure; seals nothing.

A content exists only in rpc/ and secrets/. All rooms below see the sealed bytes alone.
"""

import struct
from typing import Final, Protocol

from lamina_server.domain.errors import SecretsUnavailableError
from lamina_server.domain.record import record
from lamina_server.domain.values import Kind, Value

MARK: Final = b"\xf5LS\x01"
"""What sealed bytes begin with. No UTF-8 text has its first byte; the last one is the version of the format."""
HEADER: Final = struct.Struct(">4sq")
"""The mark, and the number of the data key."""
_LEAST_BYTES: Final = HEADER.size + 16 + 32
"""What the shortest content has: see secrets/sealing.py."""


@record
class Content:
    """What is inside a secret: a text, bytes or JSON, as a kind and its canonical bytes."""

    kind: Kind
    data: bytes

    @classmethod
    def of(cls, value: Value) -> "Content":
        """Return the content that a value is."""
        return cls(value.kind, value.canonical)

    def __repr__(self) -> str:
        return "<Content>"


UNSEALED: Final = Value(Kind.SECRET, b"")
"""Stands in a command for a content that is still to be sealed."""


@record
class WrappedKey:
    """A data key as it is kept: encrypted by a key from outside.

    number      of the data key: random, so that the keys of two databases can be in one
    is_foreign  whether it came with a bundle: then it unseals, and seals nothing new
    check       a digest of the data key, which shows whether it was unwrapped rightly: 32 bytes
    outer       which outer key has wrapped it, in words for the operator
    wrapped     the encrypted data key
    """

    number: int
    is_foreign: bool
    check: bytes
    outer: str
    wrapped: bytes

    def __repr__(self) -> str:
        return f"<WrappedKey {self.number:016x}>"


def number_of(sealed: bytes) -> int | None:
    """Return the number of the data key that has sealed some bytes; None if they are not sealed bytes."""
    if len(sealed) < _LEAST_BYTES or not sealed.startswith(MARK):
        return None
    number: int = HEADER.unpack_from(sealed)[1]
    return number


class Sealer(Protocol):
    """What a decision needs to know of the insides of secrets. It hands out sealed bytes alone."""

    def same(self, config: str, key: str, one: Value | None, other: Value | None) -> bool:
        """Return whether two values of a key are equal, by what is inside. None: there is no value."""

    def resealed(self, source: str, target: str, key: str, value: Value) -> Value:
        """Seal a secret of one config for another. Raise SecretsUnavailableError."""


class NoSealer:
    """Compares secrets by their sealed bytes, and seals none anew."""

    def same(self, _config: str, _key: str, one: Value | None, other: Value | None) -> bool:
        """Return whether two values have the same bytes."""
        return one == other

    def resealed(self, _source: str, _target: str, _key: str, _value: Value) -> Value:
        """Refuse."""
        raise SecretsUnavailableError("it has no data keys")


NO_SEALER: Final = NoSealer()
