"""Pages: where one ends, and the token by which the next goes on. Knows no message.

A token holds where the page before ended, with the versions that the first page resolved,
so that every later page answers for these, at any server. It also holds a checksum over
that and over the request's other fields: a token of another request, or an altered one, is
refused. It is no secret and grants nothing: whoever made one up could as well have asked.

Worked example: GetVersion of the head, when that is version 7, closes its page after the
key "m". Its token says (numbers=(7,), key="m"), and the next page holds what follows "m"
in version 7, whatever the head is by then.
"""

import base64
import binascii
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from lamina_server.domain.errors import InvalidError, Reason, Violation
from lamina_server.domain.hashing import Field, content_digest

_TOKEN_LIMIT_CHARACTERS = 2048
"""Longer than any token that is made here, by the longest key; not worth decoding."""
_CHECKSUM_BYTES = 16
"""Enough that no other request's token is taken by chance."""
_NUMBER = struct.Struct(">q")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the versions that count, by the method's own rules, and the last key or name."""

    numbers: tuple[int, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted.

    size     at most so many items
    resume   where the page before ended; None for the first
    content  all the request's other fields
    """

    size: int
    resume: Position | None
    content: tuple[Field, ...]

    def token_after(self, position: Position) -> str:
        """Make the token that asks for the page after a position."""
        return encode_token(position, content_digest(*self.content))


def encode_token(position: Position, digest: bytes) -> str:
    """Make a page token: URL-safe text."""
    numbers = b"".join(map(_NUMBER.pack, position.numbers))
    body = bytes([len(position.numbers)]) + numbers + position.key.encode()
    return base64.urlsafe_b64encode(_checksum(body, digest) + body).decode()


def decode_token(token: str, digest: bytes) -> Position:
    """Read a page token of the request with this digest; refuse any other with BAD_REQUEST."""
    try:
        if len(token) > _TOKEN_LIMIT_CHARACTERS:
            raise ValueError  # noqa: TRY301 - one refusal for all that can be wrong
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        if checksum != _checksum(body, digest):
            raise ValueError  # noqa: TRY301
        end = 1 + body[0] * _NUMBER.size
        return Position(tuple(number for (number,) in _NUMBER.iter_unpack(body[1:end])), body[end:].decode())
    except (ValueError, binascii.Error):
        text = "is not a token of this request: later pages repeat every field of the first but page_size"
        raise InvalidError(Reason.BAD_REQUEST, [Violation("page_token", text)]) from None


def cut(items: Iterable[tuple[T, int]], *, size: int, limit_bytes: int) -> tuple[list[T], bool]:
    """Take one page of items from pairs of item and weight in bytes; tell whether there are more.

    A page ends after `size` items, or when it passes `limit_bytes`; it holds at least one
    item, if there is any.

    >>> cut([("a", 6), ("b", 6), ("c", 6)], size=10, limit_bytes=10)
    (['a', 'b'], True)
    """
    taken: list[T] = []
    weight = 0
    for item, item_weight in items:
        if len(taken) >= size or weight > limit_bytes:
            return taken, True
        taken.append(item)
        weight += item_weight
    return taken, False


def _checksum(body: bytes, digest: bytes) -> bytes:
    return content_digest("page", body, digest)[:_CHECKSUM_BYTES]
