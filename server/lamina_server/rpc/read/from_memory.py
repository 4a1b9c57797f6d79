"""Answers to GetVersion from the maps in memory, where headers and entries are encoded already.

An answer is in parts, as memory holds them: the header first, then an entry each. Joined they are the whole answer.

Knows bytes and records, and no message. What memory does not hold (the header or some keys of
an old version, the headers that values originated in) is left to the store.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from heapq import merge
from itertools import chain, islice

from lamina_server.cache.heads import Heads
from lamina_server.cache.maps import HeadMap, MapSnapshot
from lamina_server.domain.errors import CompactedError, HashMismatchError
from lamina_server.domain.selection import EVERYTHING, Selection, successor
from lamina_server.rpc.read import from_store
from lamina_server.rpc.read.resolve import resolve
from lamina_server.store.contract import Reading
from lamina_server.store.readers import Readers
from lamina_server.wire import encode
from lamina_server.wire.paging import Position, cut
from lamina_server.wire.requests import GetVersionRequest


async def get_version(
    heads: Heads, readers: Readers, request: GetVersionRequest, limit_bytes: int
) -> list[bytes] | None:
    """Return the answer from memory, in parts; None if the store must be asked."""
    try:
        snapshot = await _snapshot(heads, readers, request)
    except HashMismatchError:  # the store says where, and still answers for what is intact
        return None
    if snapshot is None:
        return None
    if isinstance(snapshot, bytes):
        return [snapshot]
    if request.with_origins and request.with_entries:
        return [await _page_with_origins(readers, snapshot, request, limit_bytes)]
    return page(snapshot, request, limit_bytes)


def page(snapshot: MapSnapshot, request: GetVersionRequest, limit_bytes: int) -> list[bytes]:
    """Return one page of a map, in parts."""
    if not request.with_entries:
        return [snapshot.header]
    after = _after(request)
    entries, keys = snapshot.entries, snapshot.keys
    fits = len(keys) <= request.page.size and snapshot.size_bytes <= limit_bytes
    if fits and request.wanted == EVERYTHING and not after:
        return [snapshot.header, *map(entries.__getitem__, keys)]
    wanted = _wanted(snapshot, Selection.of(request.wanted), after)
    weighed = ((key, len(entries[key])) for key in wanted)
    taken, more = cut(weighed, size=request.page.size, limit_bytes=limit_bytes)
    parts = [snapshot.header, *map(entries.__getitem__, taken)]
    if more:
        parts.append(encode.version_end(request.page.token_after(Position((snapshot.number,), taken[-1]))))
    return parts


async def _page_with_origins(
    readers: Readers, snapshot: MapSnapshot, request: GetVersionRequest, limit_bytes: int
) -> bytes:
    """Join one page of a map, and the headers of the versions that its values originated in, which the store has."""
    entries, header = snapshot.entries, snapshot.header
    wanted = _wanted(snapshot, Selection.of(request.wanted), _after(request))
    some = [(key, entries[key]) for key in islice(wanted, request.page.size + 1)]  # before the map may change
    number = snapshot.number

    def answer(reading: Reading) -> bytes:
        encoded = (from_store.EncodedEntry(key, encode.origin_of(each), each) for key, each in some)
        return from_store.page_of_version(reading, request, limit_bytes, number=number, header=header, entries=encoded)

    return await readers.read(answer)


async def _snapshot(heads: Heads, readers: Readers, request: GetVersionRequest) -> MapSnapshot | bytes | None:
    """Return the map that is asked for, or the whole answer if it is empty; None if the store must be asked."""
    is_whole = request.with_entries and request.wanted == EVERYTHING
    if not is_whole and heads.peek(request.config) is None:
        heads.warm(request.config)
        return None
    head = await heads.head(request.config)
    number = resolve(head.version if head else None, request)
    if number is None:
        assert request.time_us is not None
        number = await readers.read(partial(_version_at, config=request.config, time_us=request.time_us))
        await heads.wait_until_current(request.config)
    if head is None or number == 0:
        return encode.empty_map(request.config)
    if number == head.number:
        return head
    if request.with_entries and number < (oldest := heads.oldest(request.config)):
        raise CompactedError(request.config, number, oldest)
    if is_whole:
        return await heads.snapshot(request.config, number)
    return _part(head, number, request) if head.reaches(number) and not request.wanted.prefixes else None


def _part(head: HeadMap, number: int, request: GetVersionRequest) -> MapSnapshot:
    """Return the header, and the wanted keys, of a recent version."""
    version, header = head.version_at(number), head.header_at(number)
    assert version is not None
    assert header is not None
    found = ((key, head.entry_at(key, number)) for key in sorted(request.wanted.keys))
    entries = {key: encoded for key, encoded in found if encoded is not None}
    return MapSnapshot(version, header, entries, list(entries))


def _after(request: GetVersionRequest) -> str:
    return request.page.resume.key if request.page.resume else ""


def _version_at(reading: Reading, config: str, time_us: int) -> int:
    return reading.version_at(config, time_us)


def _wanted(snapshot: MapSnapshot, selection: Selection, after: str) -> Iterator[str]:
    """Yield the wanted keys after one, in order: some by name, others by prefix."""
    keys = snapshot.keys
    named = sorted(key for key in selection.keys if key > after and key in snapshot.entries)
    ranges = (_range(keys, prefix, after) for prefix in selection.prefixes)
    last = after
    for key in merge(named, chain.from_iterable(ranges)):
        if key != last:
            yield key
        last = key


def _range(keys: list[str], prefix: str, after: str) -> Iterator[str]:
    end = successor(prefix)
    first = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    return islice(keys, first, len(keys) if end is None else bisect_left(keys, end))
