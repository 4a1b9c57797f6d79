"""One reading of what a watch is to be told next. Knows records and bytes, no message and no event loop.

Whole versions go together into messages of about a mebibyte; a version that is larger by
itself is split into parts, and only its last part says that there are no more.

Worked example, with a limit that fits two changes: version 4 changes a, version 5 changes
a, b, c. The first reading holds version 4 alone (with 5 it would not fit, and 5 is not
split only because 4 came before it), the second a and b of version 5 with `more`, the
third c of version 5.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lamina_server.domain.errors import CursorError, Reason, UnavailableError
from lamina_server.domain.records import Change, Version
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.store.contract import Reading
from lamina_server.wire import encode
from lamina_server.wire.requests import Cursor

_VERSIONS_LIMIT = 100
"""Versions of one reading with a filter: their headers are read together, and each may name 100 keys of 512 bytes."""
_WHOLE_VERSIONS_LIMIT = 1_000
"""And without: then the keys are those of the changes, which fill a message sooner."""


@dataclass(frozen=True, slots=True)
class ReplayPoint:
    """Where a watch goes on: within version `number`, after the key; "" is before its first.

    hash  the version's, where a part of it was told, so that the rest is of the same one
    """

    number: int
    key: str = ""
    hash: bytes = b""


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """Where a watch goes on, with what it wants, the last version that it was told, and how large a message may be.

    past  stands for the past that is known (see feed): what was read of another is not this
    """

    config: str
    wanted: KeyFilter
    place: ReplayPoint
    cursor: Cursor
    past: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class ReplayBatch:
    """What one reading found.

    messages   to be sent, in order
    place      where the next reading goes on
    cursor     the last version of which everything that matches is sent by then
    """

    messages: Sequence[bytes]
    place: ReplayPoint
    cursor: Cursor


@dataclass(slots=True)
class _VersionPart:
    """Changes of one version, encoded, and their keys: all of them that match, unless there are more."""

    number: int
    keys: list[str] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    more: bool = False


def read_batch(reading: Reading, *, where: ReplayKey, through: int, limit_versions: int) -> ReplayBatch:
    """Read what follows a place, as much as makes about one message, at most through a version that is there.

    limit_versions  so many are looked through at most

    Raises CursorError where the cursor is not part of the past any more: the database was
    restored from an older backup, or has lost versions in a failover.
    """
    config, place, cursor = where.config, where.place, where.cursor
    is_whole = where.wanted == EVERYTHING
    taken_limit = _WHOLE_VERSIONS_LIMIT if is_whole else _VERSIONS_LIMIT
    # Where all is taken, there is no use in looking further than that.
    through = min(through, place.number - 1 + (min(limit_versions, taken_limit) if is_whole else limit_versions))
    changes = reading.changes(config, after=(place.number, place.key), through=through, wanted=where.wanted)
    parts, stopped_at = _take(changes, where.limit_bytes, taken_limit)
    last = parts[-1] if stopped_at is not None else None
    following = through + 1 if last is None or stopped_at is None else last.number if last.more else stopped_at
    done = following - 1
    needed = {done, cursor.number, *(part.number for part in parts)} - {0}
    headers = _headers(reading, config, needed)
    _check(reading, config, cursor, headers)
    begun = headers.get(place.number)
    if needed - headers.keys() or (place.hash and begun is not None and begun.hash != place.hash):
        text = "the database lost versions while they were read; watch on after your cursor"
        raise UnavailableError(Reason.STORE_UNAVAILABLE, text)
    place = ReplayPoint(following)
    if last is not None and last.more:
        place = ReplayPoint(last.number, last.keys[-1], headers[last.number].hash)
    messages = _encode(reading, config, parts, headers, where.limit_bytes)
    cursor = Cursor(done, headers[done].hash) if done else cursor
    return ReplayBatch(messages, place, cursor)


def _headers(reading: Reading, config: str, numbers: Collection[int]) -> Mapping[int, Version]:
    """Read headers, in one range where they lie together."""
    if not numbers or max(numbers) - min(numbers) > 2 * len(numbers):
        return reading.versions(config, numbers)
    span = max(numbers) - min(numbers) + 1
    log = reading.log(config, after=min(numbers) - 1, before=max(numbers) + 1, limit=span, newest_first=False)
    return {version.number: version for version in log}


def _check(reading: Reading, config: str, cursor: Cursor, headers: Mapping[int, Version]) -> None:
    """Refuse to go on where a cursor's version is another one by now, or gone."""
    found = headers.get(cursor.number)
    if cursor.number and found is None:
        raise CursorError.ahead(config, cursor.number, reading.head(config))
    if found is not None and found.hash != cursor.hash:
        raise CursorError.forked(config, cursor.number, reading.head(config))


def _take(
    changes: Iterable[tuple[int, Change]], limit_bytes: int, limit_versions: int
) -> tuple[list[_VersionPart], int | None]:
    """Group changes by version until they fill a message; tell the version of the first that was left, if any."""
    parts: list[_VersionPart] = []
    size = 0
    for number, change in changes:
        encoded = encode.stored_change(change)
        begins = not parts or parts[-1].number != number
        if parts and (size + len(encoded) > limit_bytes or (begins and len(parts) == limit_versions)):
            _close(parts, number)
            return parts, number
        if begins:
            parts.append(_VersionPart(number))
        parts[-1].keys.append(change.key)
        parts[-1].changes.append(encoded)
        size += len(encoded)
    return parts, None


def _close(parts: list[_VersionPart], left: int) -> None:
    """End the parts before a change of version `left`: a version is split only if it is too large by itself."""
    if parts[-1].number != left:
        return
    if len(parts) > 1:
        parts.pop()
    else:
        parts[-1].more = True


def _encode(
    reading: Reading, config: str, parts: Sequence[_VersionPart], headers: Mapping[int, Version], limit_bytes: int
) -> list[bytes]:
    """Encode parts, with their versions' headers, into messages that close before they pass the limit."""
    if not parts:
        return []
    # Where a part is its whole version, it has the keys in it.
    incomplete = [part.number for part in parts if headers[part.number].change_count != len(part.changes)]
    keys = dict(reading.changed_keys(config, incomplete)) if incomplete else {}
    messages: list[list[bytes]] = []
    room = 0
    for part in parts:
        header = headers[part.number]
        changed = keys.get(part.number) or part.keys
        encoded = encode.version_changes(header, changed, part.changes, more=part.more)
        if not messages or len(encoded) > room:
            messages.append([])
            room = limit_bytes
        messages[-1].append(encoded)
        room -= len(encoded)
    return [b"".join(message) for message in messages]
