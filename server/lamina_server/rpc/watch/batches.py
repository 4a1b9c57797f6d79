"""One reading of the versions that a watch gets next. Knows records and bytes, no message and no event loop.

Whole versions go together into messages of about a mebibyte. A version that is larger alone
is split into parts, and every part but the last says that there are more.

Worked example, with a limit that fits two changes: version 4 changes a, version 5 changes
a, b, c. The first reading holds version 4 alone: both do not fit, and a version is not split
just because another came before it. The second reading holds a and b of version 5 with `more`,
the third c of version 5.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lamina_server.domain.errors import CursorError, Reason, UnavailableError, cursor_lost
from lamina_server.domain.records import Change, Version
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.store.contract import Reading
from lamina_server.wire import encode
from lamina_server.wire.requests import Cursor

_VERSIONS_LIMIT = 100
"""Versions of one reading with a filter: their headers are read together, and each may list 100 keys of 512 bytes."""
_WHOLE_VERSIONS_LIMIT = 1_000
"""Versions of one reading without a filter: the keys are those of the changes, which fill a message sooner."""


@dataclass(frozen=True, slots=True)
class ReplayPoint:
    """Where a watch continues: within version `number`, after the key; "" is before its first key.

    hash  of the version if a part of it was sent, so that the rest comes from the same version
    """

    number: int
    key: str = ""
    hash: bytes = b""


@dataclass(frozen=True, slots=True)
class ReplayKey:
    """All that a reading depends on: two watches with equal keys get the same messages.

    point        where the watch continues
    cursor       the last version of which everything was sent
    epoch        of the feed: what was read in another epoch is not valid in this one
    limit_bytes  of one message
    """

    config: str
    wanted: KeyFilter
    point: ReplayPoint
    cursor: Cursor
    epoch: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class ReplayBatch:
    """The result of one reading.

    messages  to be sent, in order
    point     where the next reading continues
    cursor    the last version of which everything that matches is in these messages or before them
    """

    messages: Sequence[bytes]
    point: ReplayPoint
    cursor: Cursor


@dataclass(slots=True)
class _VersionPart:
    """Encoded changes of one version and their keys: all that match, unless `more` says that others follow."""

    number: int
    keys: list[str] = field(default_factory=list)
    changes: list[bytes] = field(default_factory=list)
    more: bool = False


def read_batch(reading: Reading, *, key: ReplayKey, through: int, limit_versions: int) -> ReplayBatch:
    """Read about one message of what follows a point.

    through         the last version to read, which must exist
    limit_versions  the number of versions to look through at most

    Raises CursorError if the cursor is no longer part of the history: the database was
    restored from an older backup, or has lost versions in a failover.
    """
    config, point, cursor = key.config, key.point, key.cursor
    is_whole = key.wanted == EVERYTHING
    taken_limit = _WHOLE_VERSIONS_LIMIT if is_whole else _VERSIONS_LIMIT
    # Without a filter a reading takes no more versions than this, so it looks no further.
    through = min(through, point.number - 1 + (min(limit_versions, taken_limit) if is_whole else limit_versions))
    changes = reading.changes(config, after=(point.number, point.key), through=through, wanted=key.wanted)
    parts, stopped_at = _take(changes, key.limit_bytes, taken_limit)
    last = parts[-1] if stopped_at is not None else None
    following = through + 1 if last is None or stopped_at is None else last.number if last.more else stopped_at
    done = following - 1
    needed = {done, cursor.number, *(part.number for part in parts)} - {0}
    headers = _headers(reading, config, needed)
    _check(reading, config, cursor, headers)
    begun = headers.get(point.number)
    if needed - headers.keys() or (point.hash and begun is not None and begun.hash != point.hash):
        text = "the database lost versions while they were read; watch again after your cursor"
        raise UnavailableError(Reason.STORE_UNAVAILABLE, text)
    point = ReplayPoint(following)
    if last is not None and last.more:
        point = ReplayPoint(last.number, last.keys[-1], headers[last.number].hash)
    messages = _encode(reading, config, parts, headers, key.limit_bytes)
    cursor = Cursor(done, headers[done].hash) if done else cursor
    return ReplayBatch(messages, point, cursor)


def _headers(reading: Reading, config: str, numbers: Collection[int]) -> Mapping[int, Version]:
    """Read headers, in one range if they lie close together."""
    if not numbers or max(numbers) - min(numbers) > 2 * len(numbers):
        return reading.versions(config, numbers)
    span = max(numbers) - min(numbers) + 1
    log = reading.log(config, after=min(numbers) - 1, before=max(numbers) + 1, limit=span, newest_first=False)
    return {version.number: version for version in log}


def _check(reading: Reading, config: str, cursor: Cursor, headers: Mapping[int, Version]) -> None:
    """Raise CursorError if a cursor's version has another hash by now, or is gone."""
    found = headers.get(cursor.number)
    if cursor.number and found is None:
        raise cursor_lost(config, cursor.number, reading.head(config))
    if found is not None and found.hash != cursor.hash:
        raise CursorError.forked(config, cursor.number, reading.head(config))


def _take(
    changes: Iterable[tuple[int, Change]], limit_bytes: int, limit_versions: int
) -> tuple[list[_VersionPart], int | None]:
    """Group changes by version until they fill a message; also return the version of the first change left, if any."""
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
    """End the parts before a change of version `left`; split that version only if it is too large alone."""
    if parts[-1].number != left:
        return
    if len(parts) > 1:
        parts.pop()
    else:
        parts[-1].more = True


def _encode(
    reading: Reading, config: str, parts: Sequence[_VersionPart], headers: Mapping[int, Version], limit_bytes: int
) -> list[bytes]:
    """Encode parts, with their versions' headers, into messages that end before they exceed the limit."""
    if not parts:
        return []
    # A part that is a whole version has the changed keys in it; those of other parts are read.
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
