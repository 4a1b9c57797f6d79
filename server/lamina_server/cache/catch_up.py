"""The versions that follow a known one, read together: for memory that is behind, and for watchers who are.

Knows no event loop. What is too much to be read at once is not read at all: who asks has a
way without it.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.domain.records import NO_VERSION, Change, HeadMark, Version, VersionChanges
from lamina_server.store.contract import Reading

LIMIT_VERSIONS = 1_000
LIMIT_CHANGES = 10_000
"""Read at once, so many take some tens of milliseconds; and no writer may be held up for longer."""
LIMIT_BYTES = 8 * 1024 * 1024
"""And no more than this, for values may be large: what one reading holds in memory."""


def read(reading: Reading, config: str, *, known: HeadMark, through: int) -> list[VersionChanges] | None:
    """Read the versions after a known one; None where they are too many, or it is not of their past."""
    found = _read(reading, config, known.number, through)
    if found is None or found[0] != known:
        return None
    return list(found[1])


def read_encoded(
    reading: Reading, config: str, *, after: int, through: int, codec: Codec
) -> tuple[HeadMark, list[EncodedChanges]] | None:
    """Read a version's mark, and what follows it, as wire bytes; None where it is too large, or not all there."""
    found = _read(reading, config, after, through)
    if found is None:
        return None
    before, versions = found
    made: list[EncodedChanges] = []
    size_bytes = 0
    for version in versions:
        made.append(EncodedChanges.of(version, codec))
        size_bytes += made[-1].size_bytes + len(made[-1].header)
        if size_bytes > LIMIT_BYTES:
            return None
    return before, made


def _read(reading: Reading, config: str, after: int, through: int) -> tuple[HeadMark, Iterator[VersionChanges]] | None:
    if through - after > LIMIT_VERSIONS:
        return None
    headers = reading.log(config, after=after - 1, before=through + 1, limit=through - after + 1, newest_first=False)
    first = min(after, 1)  # there is no version 0
    if [header.number for header in headers] != list(range(after + 1 - first, through + 1)):
        return None
    before = HeadMark(after, headers[0].hash) if after else NO_VERSION
    wanted = headers[first:]
    if sum(header.change_count for header in wanted) > LIMIT_CHANGES:
        return None
    return before, _together(wanted, reading.changes(config, after=(after + 1, ""), through=through))


def _together(headers: Iterable[Version], changes: Iterator[tuple[int, Change]]) -> Iterator[VersionChanges]:
    """Put headers and changes together; a version may have changed nothing."""
    groups = groupby(changes, itemgetter(0))
    number, group = next(groups, (0, None))
    for header in headers:
        if group is None or header.number != number:
            yield VersionChanges(header, ())
            continue
        yield VersionChanges(header, tuple(change for _, change in group))
        number, group = next(groups, (0, None))
