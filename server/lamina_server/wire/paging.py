"""Pages: where one ends, and the token with which the next one continues. Knows no message.

A token has the place where a page ended, and the versions that the first page has chosen,
so that all later pages are about these versions, at any server. It also has a checksum of
this and of the request's other fields: a token of another request, or an altered one, is
refused. It is not secret and gives no rights: its owner could ask for the same directly.

Worked example: GetVersion of the head, which is version 7, ends its page after the key
"m". Its token says (numbers=(7,), key="m"). The next page has the keys after "m" in version
7, whatever the head is then.
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
"""Longer than any token, even one with the longest key. Longer texts are not decoded."""
_CHECKSUM_BYTES = 16
"""Enough that the token of another request is never accepted by chance."""
_NUMBER = struct.Struct(">q")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the versions that the method has chosen, and the last key or name."""

    numbers: tuple[int, ...]
    key: str = ""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted.

    size     the largest number of items
    resume   where the page before ended; None for the first page
    content  all other fields of the request
    """

    size: int
    resume: Position | None
    content: tuple[Field, ...]

    def token_after(self, position: Position) -> str:
        """Return the token of the page after a position."""
        return encode_token(position, content_digest(*self.content))


def encode_token(position: Position, digest: bytes) -> str:
    """Return a page token, which is URL-safe text."""
    numbers = b"".join(map(_NUMBER.pack, position.numbers))
    body = bytes([len(position.numbers)]) + numbers + position.key.encode()
    return base64.urlsafe_b64encode(_checksum(body, digest) + body).decode()


def decode_token(token: str, digest: bytes) -> Position:
    """Decode a page token of the request with this digest. Refuse any other token with BAD_REQUEST."""
    try:
        if len(token) > _TOKEN_LIMIT_CHARACTERS:
            raise ValueError  # noqa: TRY301 - one error for all mistakes
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
        checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        if checksum != _checksum(body, digest):
            raise ValueError  # noqa: TRY301
        end = 1 + body[0] * _NUMBER.size
        return Position(tuple(number for (number,) in _NUMBER.iter_unpack(body[1:end])), body[end:].decode())
    except (ValueError, binascii.Error):
        text = "is not a token of this request; a later page must repeat all fields of the first, except page_size"
        raise InvalidError(Reason.BAD_REQUEST, [Violation("page_token", text)]) from None


def cut(items: Iterable[tuple[T, int]], *, size: int, limit_bytes: int) -> tuple[list[T], bool]:
    """Return the items of one page, and whether there are more. The input is pairs of item and size in bytes.

    A page ends after `size` items, or when it exceeds `limit_bytes`. It has at least one
    item if there is any.

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
