"""The versions that follow a known one, read together: for memory that is behind, and for watches that are.

Knows no event loop. Reads that would exceed a limit return None; every caller has a fallback.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.limits import CacheLimits
from lamina_server.domain.errors import CompactedError
from lamina_server.domain.records import NO_VERSION, Change, HeadMark, Version, VersionChanges
from lamina_server.store.contract import Reading

T = TypeVar("T")


def read_changes(
    reading: Reading, config: str, *, known: HeadMark, through: int, limits: CacheLimits
) -> list[VersionChanges] | None:
    """Return the versions after a known one.

    None if they exceed a limit or are compacted, or if the store holds another epoch.
    """
    found = _read(reading, config, known.number, through, limits)
    if found is None or found[0] != known:
        return None
    return _if_kept(reading, partial(list, found[1]))


def read_encoded_changes(
    reading: Reading, config: str, *, after: int, through: int, codec: Codec, limits: CacheLimits
) -> tuple[HeadMark, list[EncodedChanges]] | None:
    """Return the mark of version `after`, and the versions that follow it as wire bytes.

    None if they exceed a limit or are compacted, or if the store lacks one of them.
    """
    found = _read(reading, config, after, through, limits)
    if found is None:
        return None
    before, versions = found
    made = _if_kept(reading, partial(_encoded, versions, codec, limits.catch_up_bytes))
    return None if made is None else (before, made)


def _encoded(versions: Iterable[VersionChanges], codec: Codec, limit_bytes: int) -> list[EncodedChanges] | None:
    """Encode versions; None if they exceed the limit."""
    made: list[EncodedChanges] = []
    size_bytes = 0
    for version in versions:
        made.append(EncodedChanges.of(version, codec))
        size_bytes += made[-1].size_bytes + len(made[-1].header)
        if size_bytes > limit_bytes:
            return None
    return made


def _if_kept(reading: Reading, read: Callable[[], T]) -> T | None:
    """Return what was read; None if compaction has taken away some of it, whatever was found then.

    A block may read of many configs, so its end would be too late to learn this of one.
    """
    try:
        try:
            return read()
        finally:
            reading.refuse_compacted()
    except CompactedError:
        return None


def _read(
    reading: Reading, config: str, after: int, through: int, limits: CacheLimits
) -> tuple[HeadMark, Iterator[VersionChanges]] | None:
    if through - after > limits.catch_up_versions:
        return None
    headers = reading.log(config, after=after - 1, before=through + 1, limit=through - after + 1, newest_first=False)
    first = min(after, 1)  # there is no version 0
    if [header.number for header in headers] != list(range(after + 1 - first, through + 1)):
        return None
    before = HeadMark(after, headers[0].hash) if after else NO_VERSION
    wanted = headers[first:]
    if sum(header.change_count for header in wanted) > limits.catch_up_changes:
        return None
    return before, _with_changes(wanted, reading.changes(config, after=(after + 1, ""), through=through))


def _with_changes(headers: Iterable[Version], changes: Iterator[tuple[int, Change]]) -> Iterator[VersionChanges]:
    """Yield each header with its version's changes, of which there may be none."""
    groups = groupby(changes, itemgetter(0))
    number, group = next(groups, (0, None))
    for header in headers:
        if group is None or header.number != number:
            yield VersionChanges(header, ())
            continue
        yield VersionChanges(header, tuple(change for _, change in group))
        number, group = next(groups, (0, None))
