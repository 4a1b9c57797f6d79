"""Answers of the reading methods, each from one reading of the store. Knows records and bytes, no message.

Each function resolves what the request leaves open ("the head") once, on its first page;
the page token carries it to the next pages. An answer is a page: an iterator yields lazily
everything that could be on it, and `cut` takes as much as fits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias, TypeVar

from lamina_server.domain.errors import NotFoundError
from lamina_server.domain.records import ConfigSummary, Difference, KeyChange, State, Version
from lamina_server.domain.values import Value
from lamina_server.rpc.read.resolve import resolve
from lamina_server.store.contract import Reading, changed_keys_of
from lamina_server.wire import encode
from lamina_server.wire.paging import PageRequest, Position, cut
from lamina_server.wire.requests import (
    DiffVersionsRequest,
    GetKeyHistoryRequest,
    GetVersionRequest,
    ListConfigsRequest,
    ListSecretKeysRequest,
    ListVersionsRequest,
)

_BATCH_LEAST, _BATCH_MOST = 8, 256
"""Items read at once: few at first, because one value of a mebibyte may fill a page, then twice as many each time."""

_PASSED_LIMIT = 1_000
"""Configs that one reading passes over, because the caller may not read them: then the thread serves other calls."""
Same: TypeAlias = Callable[[str, str, Value | None, Value | None], bool]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Item:
    """One item of a page: its bytes, and the position of the next page if it is the last."""

    encoded: bytes
    position: Position


class EncodedEntry(NamedTuple):
    """An entry as wire bytes, its key, and the version that it originated in."""

    key: str
    origin: int
    encoded: bytes


def get_version(reading: Reading, request: GetVersionRequest, limit_bytes: int) -> bytes:
    """Read a map, or some of its keys, as it was at one version."""
    head = reading.head(request.config)
    number = resolve(head, request)
    if number is None:
        assert request.time_us is not None
        number = reading.version_at(request.config, request.time_us)
    if number == 0:
        return encode.empty_map(request.config)
    header = encode.version(*_with_keys(reading, request.config, [number])[0])
    if not request.with_entries:
        return header  # which is kept when the map is not
    after = request.page.resume.key if request.page.resume else ""
    entries = reading.entries(request.config, number, request.wanted, after=after)
    encoded = (EncodedEntry(entry.key, entry.origin, encode.entry(entry)) for entry in entries)
    return page_of_version(reading, request, limit_bytes, number=number, header=header, entries=encoded)


def page_of_version(
    reading: Reading,
    request: GetVersionRequest,
    limit_bytes: int,
    *,
    number: int,
    header: bytes,
    entries: Iterator[EncodedEntry],
) -> bytes:
    """Join a version's header, as many entries as fit into a page, and their origins if they are wanted."""
    origins = _Origins(reading, request.config) if request.with_origins else None
    taken, more = cut(_weigh(entries, origins), size=request.page.size, limit_bytes=limit_bytes)
    parts = [header, *(entry.encoded for entry in taken)]
    if origins:
        parts += origins.of(taken)
    if more:
        parts.append(encode.version_end(request.page.token_after(Position((number,), taken[-1].key))))
    return b"".join(parts)


def list_versions(reading: Reading, request: ListVersionsRequest, limit_bytes: int) -> bytes:
    """List versions, newest first."""
    before = _head(reading, request.config).number + 1
    if request.page.resume:
        (before,) = request.page.resume.numbers
    elif request.before is not None:
        before = min(before, request.before)
    items = (
        _Item(encode.listed_version(version, keys), Position((version.number,)))
        for version, keys in _log(reading, request.config, before)
    )
    page = _page(items, request.page, limit_bytes, encode.versions_end)
    return page + encode.oldest_version(reading.oldest(request.config))


def diff_versions(reading: Reading, request: DiffVersionsRequest, limit_bytes: int, *, same: Same) -> bytes:
    """List the keys whose values differ between two versions, as `same` says of a config, a key and two values."""
    head = _head(reading, request.config).number
    if request.page.resume:
        old, new = request.page.resume.numbers
        after = request.page.resume.key
    else:
        old = head if request.old is None else request.old
        new = head if request.new is None else request.new
        after = ""
    if max(old, new) > head:
        raise NotFoundError.version(request.config, max(old, new), head)
    keys = reading.changed_between(request.config, min(old, new), max(old, new), request.wanted, after=after)
    items = (
        _Item(encode.difference(difference), Position((old, new), difference.key))
        for difference in _differences(reading, request.config, old, new, keys, same=same)
    )
    return _page(items, request.page, limit_bytes, encode.differences_end)


def key_history(reading: Reading, request: GetKeyHistoryRequest, limit_bytes: int) -> bytes:
    """List the changes of a key up to the version that was the head at the first page."""
    head, last = _head(reading, request.config).number, None
    if request.page.resume:
        head, last = request.page.resume.numbers
    items = (
        _Item(encode.key_change(change), Position((head, change.version)))
        for change in _key_changes(reading, request, head, last)
    )
    page = _page(items, request.page, limit_bytes, encode.key_history_end)
    return encode.key_history(request.config, request.key) + page


class ConfigsPage:
    """A page of configs, by name. It takes more than one reading if many configs are passed over.

    A config that the caller may not read leaves no trace: the page is what it would be without it.
    """

    def __init__(self, request: ListConfigsRequest, limit_bytes: int) -> None:
        self._request = request
        self._limit_bytes = limit_bytes
        self._after = after = request.page.resume.key if request.page.resume else ""
        prefixes = request.visible.within(request.prefix) if request.visible else (request.prefix,)
        self._prefixes = [prefix for prefix in prefixes if prefix >= after or after.startswith(prefix)]
        self._items: list[_Item] = []
        self._size_bytes = 0

    def read(self, reading: Reading) -> bytes | None:
        """Look through more configs. Return the page; None if its end was not found yet."""
        passed = 0
        while self._prefixes:
            for summary in _batches(partial(self._more, reading)):
                if passed == _PASSED_LIMIT:
                    return None
                if self._request.visible is None or summary.name in self._request.visible:
                    if self._is_full:
                        return self._encode(is_last=False)
                    self._add(reading, summary)
                else:
                    passed += 1
                self._after = summary.name
            del self._prefixes[0]
        return self._encode(is_last=True)

    def _more(self, reading: Reading, last: ConfigSummary | None, limit: int) -> list[ConfigSummary]:
        return reading.configs(prefix=self._prefixes[0], after=last.name if last else self._after, limit=limit)

    @property
    def _is_full(self) -> bool:
        return len(self._items) >= self._request.page.size or self._size_bytes > self._limit_bytes

    def _add(self, reading: Reading, summary: ConfigSummary) -> None:
        encoded = encode.config(summary, changed_keys_of(reading, summary.head))
        self._items.append(_Item(encoded, Position((), summary.name)))
        self._size_bytes += len(encoded)

    def _encode(self, *, is_last: bool) -> bytes:
        parts = [item.encoded for item in self._items]
        if not is_last:
            parts.append(encode.configs_end(self._request.page.token_after(self._items[-1].position)))
        return b"".join(parts)


def list_secret_keys(reading: Reading, request: ListSecretKeysRequest, _limit_bytes: int) -> bytes:
    """List the data keys of all secrets, for who may read a config. They are few, and sealed themselves."""
    _head(reading, request.config)
    return encode.secret_keys(reading.secret_keys())


def _page(items: Iterable[_Item], request: PageRequest, limit_bytes: int, end: Callable[[str], bytes]) -> bytes:
    taken, more = cut(((item, len(item.encoded)) for item in items), size=request.size, limit_bytes=limit_bytes)
    parts = [item.encoded for item in taken]
    if more:
        parts.append(end(request.token_after(taken[-1].position)))
    return b"".join(parts)


def _head(reading: Reading, config: str) -> Version:
    head = reading.head(config)
    if head is None:
        raise NotFoundError.config(config)
    return head


class _Origins:
    """The headers of the versions that set entries, encoded, and read a batch at a time."""

    def __init__(self, reading: Reading, config: str) -> None:
        self._reading = reading
        self._config = config
        self._encoded: dict[int, bytes] = {}

    def add(self, entries: Iterable[EncodedEntry]) -> None:
        """Read the origins of these entries that are not known yet."""
        numbers = {entry.origin for entry in entries} - self._encoded.keys()
        for version, keys in _with_keys(self._reading, self._config, sorted(numbers)):
            self._encoded[version.number] = encode.origin(version, keys)

    def size(self, number: int) -> int:
        """Return how many bytes an origin adds to a page."""
        return len(self._encoded[number])

    def of(self, entries: Iterable[EncodedEntry]) -> list[bytes]:
        """Return the origins of these entries, once each, in version order."""
        return [self._encoded[number] for number in sorted({entry.origin for entry in entries})]


def _weigh(entries: Iterator[EncodedEntry], origins: _Origins | None) -> Iterator[tuple[EncodedEntry, int]]:
    """Yield entries, each with the bytes that it adds to a page; the first entry of an origin adds the origin too."""
    seen: set[int] = set()
    for batch in _grouped(entries):
        if origins:
            origins.add(batch)
        for entry in batch:
            weight = len(entry.encoded)
            if origins and entry.origin not in seen:
                seen.add(entry.origin)
                weight += origins.size(entry.origin)
            yield entry, weight


def _with_keys(reading: Reading, config: str, numbers: Sequence[int]) -> list[tuple[Version, Sequence[str]]]:
    versions, keys = reading.versions(config, numbers), reading.changed_keys(config, numbers)
    return [(versions[number], keys.get(number, ())) for number in numbers]


def _grouped(items: Iterator[T]) -> Iterator[list[T]]:
    """Yield the items of an iterator in groups that grow."""
    size = _BATCH_LEAST
    while group := list(islice(items, size)):
        yield group
        size = min(2 * size, _BATCH_MOST)


def _batches(more: Callable[[T | None, int], list[T]]) -> Iterator[T]:
    """Yield the items of `more(last, limit)`, called again after the last item until it returns fewer than `limit`."""
    last: T | None = None
    limit = _BATCH_LEAST
    while batch := more(last, limit):
        yield from batch
        if len(batch) < limit:
            return
        last, limit = batch[-1], min(2 * limit, _BATCH_MOST)


def _log(reading: Reading, config: str, before: int) -> Iterator[tuple[Version, Sequence[str]]]:
    def more(last: tuple[Version, Sequence[str]] | None, limit: int) -> list[tuple[Version, Sequence[str]]]:
        bound = last[0].number if last else before
        versions = reading.log(config, after=0, before=bound, limit=limit, newest_first=True)
        keys = reading.changed_keys(config, [version.number for version in versions])
        return [(version, keys.get(version.number, ())) for version in versions]

    return _batches(more)


def _differences(
    reading: Reading, config: str, old: int, new: int, changed: Iterator[str], *, same: Same
) -> Iterator[Difference]:
    for keys in _grouped(changed):
        old_states, new_states = reading.states(config, old, keys), reading.states(config, new, keys)
        for key in keys:
            before, after = _value(old_states.get(key)), _value(new_states.get(key))
            if not same(config, key, before, after):
                yield Difference(key, before, after)


def _value(state: State | None) -> Value | None:
    return state.value if state else None


def _key_changes(reading: Reading, request: GetKeyHistoryRequest, head: int, last: int | None) -> Iterator[KeyChange]:
    def more(change: KeyChange | None, limit: int) -> list[KeyChange]:
        since = change.version if change else last
        after, before = 0, head + 1
        if since is not None:
            after, before = (0, since) if request.newest_first else (since, before)
        return reading.key_history(
            request.config,
            request.key,
            after=after,
            before=before,
            limit=limit,
            newest_first=request.newest_first,
        )

    return _batches(more)
