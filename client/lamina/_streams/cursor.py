"""Cursors as text: "<version>.<hash in hexadecimal>", or just "<version>"."""

import re
from datetime import datetime
from typing import Final, TypeAlias

from lamina._flows.points import Point, number_of
from lamina.errors import InvalidError
from lamina.records import Version
from lamina_protos.v1 import lamina_pb2 as pb

After: TypeAlias = Point | str | None
"""Where a watch begins: a point in time, a cursor, or None."""

_CURSOR: Final = re.compile(r"([0-9]{1,19})(?:\.([0-9a-f]{64}))?", re.ASCII)


def parse_cursor(text: str) -> pb.Cursor:
    """Parse a cursor; InvalidError if the text is none."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise InvalidError(f"{text!r} is no cursor: they are as watch.cursor gives them", reason="BAD_REQUEST")
    return pb.Cursor(version=number_of(int(match[1])), hash=bytes.fromhex(match[2] or ""))


def format_cursor(cursor: pb.Cursor) -> str:
    """Return a cursor as text."""
    return f"{cursor.version}.{cursor.hash.hex()}" if cursor.hash else str(cursor.version)


def cursor_at(version: Version) -> pb.Cursor:
    """Return the cursor of a version."""
    return pb.Cursor(version=version.number, hash=bytes.fromhex(version.hash))


def cursor_after(base: Version, after: After) -> pb.Cursor | None:
    """Return where a watch begins: at `base` if `after` is None. Return None for a time: only a server knows."""
    if after is None:
        return cursor_at(base)
    if isinstance(after, datetime):
        return None
    if isinstance(after, str):
        return parse_cursor(after)
    number = number_of(after, base.config)
    if isinstance(after, Version):
        return cursor_at(after)
    return cursor_at(base) if number == base.number else pb.Cursor(version=number)
