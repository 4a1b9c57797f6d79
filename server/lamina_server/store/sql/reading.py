"""A Reading over SQL: it runs the statements of queries/, and makes records of their rows. Knows no dialect.

A whole map is read at once, because its reader holds all of it anyway. Everything else
that may be long is read in two steps: first the ids of the wanted values, in order
(FIRST_CHUNK_ROWS, then eight times as many, up to LARGEST_CHUNK_ROWS), then the values,
VALUES_AT_ONCE at a time. So memory is bounded, and a reader of the first page reads little.

Compaction may take values away while they are read, after it has added a cut. So at the end of a block, the cut is
compared with the oldest version whose values were read: what was read below the cut is not answered.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection

from lamina_server.domain.errors import CompactedError, HashMismatchError
from lamina_server.domain.records import (
    Change,
    ConfigSummary,
    Entry,
    HeadMark,
    KeyChange,
    Reply,
    State,
    Version,
    live_values,
)
from lamina_server.domain.secrets import WrappedKey
from lamina_server.domain.selection import EVERYTHING, KeyFilter, KeyRange, Selection
from lamina_server.domain.values import Value
from lamina_server.models.keyframes import NO_KEYFRAME, live_entries, newest_keyframe, whole_map
from lamina_server.models.queries import Statement, cut, head
from lamina_server.models.rows import checked_value_of, version_of
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.prepared import Rows, driver_of, prepared
from lamina_server.store.sql.queries import keyframes as keyframe_queries
from lamina_server.store.sql.queries import versions as queries
from lamina_server.store.sql.queries.clauses import RangeShape

FIRST_CHUNK_ROWS = 1_024
LARGEST_CHUNK_ROWS = 65_536
"""Rows of a key and an id. Each chunk of entries costs a pass over the keyframe, so later chunks are larger."""

VALUES_AT_ONCE = 64
"""This bounds the memory of one reader, as a value may have 1 MiB. More values at once would hardly be faster."""

KEYS_AT_ONCE = 1_000
"""Keys, or version numbers, in one statement."""

_T = TypeVar("_T")


class SqlReading:
    """A Reading on one connection. Its block ends with `refuse_compacted`."""

    def __init__(self, connection: Connection, database: Database) -> None:
        self._connection = connection
        self._driver = driver_of(connection)
        self._database = database
        self._read_since: dict[str, int] = {}  # by config: the oldest version whose values were read

    def oldest(self, config: str) -> int:
        """Return the oldest version whose map can be read."""
        ((oldest,),) = self.ask(cut(), config=config)
        return int(oldest)

    def refuse_compacted(self) -> None:
        """Raise CompactedError if values were read that compaction may have taken away meanwhile."""
        since, self._read_since = self._read_since, {}
        for config, number in since.items():
            oldest = self.oldest(config)
            if number < oldest:
                raise CompactedError(config, number, oldest)

    def head(self, config: str) -> Version | None:
        """Return the newest header."""
        rows = self.ask(head(), config=config)
        return version_of(rows[0], config) if rows else None

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        """Return the heads' numbers and hashes."""
        return {row.name: HeadMark(row.version, row.hash, row.oldest) for row in self._head_rows(configs)}

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        """Return some headers by number."""
        rows = self._about_versions(queries.header(), queries.headers(), config, numbers)
        return {row.version: version_of(row, config) for row in rows}

    def log(self, config: str, *, after: int, before: int, limit: int, newest_first: bool) -> list[Version]:
        """Return headers in order of version."""
        rows = self.ask(queries.log(newest_first=newest_first), config=config, low=after, high=before, limit=limit)
        return [version_of(row, config) for row in rows]

    def newest_commit_time_us(self) -> int:
        """Return the time of the version that was written last."""
        rows = self.ask(queries.newest_commit_time())
        return int(rows[0].commit_time_us) if rows else 0

    def version_at(self, config: str, time_us: int) -> int:
        """Return the newest version by a time."""
        ((number,),) = self.ask(queries.version_at(), config=config, time_us=time_us)
        return int(number)

    def changed_keys(self, config: str, numbers: Collection[int]) -> Mapping[int, Sequence[str]]:
        """Return the first keys that versions changed."""
        keys: dict[int, dict[str, None]] = {}
        for row in self._about_versions(queries.changed_keys_of_one(), queries.changed_keys(), config, numbers):
            keys.setdefault(row.version, {})[row.name] = None
        return {number: list(names) for number, names in keys.items()}

    def configs(self, *, prefix: str, after: str, limit: int) -> list[ConfigSummary]:
        """Return configs by name."""
        names = Selection.of(KeyFilter(prefixes=(prefix,))).after(after)
        rows = self.ask(queries.configs(RangeShape.of(names)), limit=limit, **_bounds(names))
        return [ConfigSummary(row.name, version_of(row, row.name), row.create_time_us, row.oldest) for row in rows]

    def entries(self, config: str, number: int, wanted: KeyFilter = EVERYTHING, *, after: str = "") -> Iterator[Entry]:
        """Yield a version's entries in key order."""
        self._reads(config, number)
        selection = Selection.of(wanted)
        if selection.prefixes:
            return self._entries_in_range(config, number, selection, after)
        return self._entries_among(config, number, selection, after)

    def states(self, config: str, number: int, keys: Collection[str]) -> dict[str, State]:
        """Return what keys were at a version."""
        self._reads(config, number)
        found: dict[str, State] = {}
        for chunk in _batches(keys, KEYS_AT_ONCE):
            for row in self.ask(queries.states(), config=config, number=number, keys=_json(chunk)):
                found[row.name] = State(checked_value_of(row, config), row.version)
        return found

    def values(self, config: str, number: int, keys: Collection[str]) -> dict[str, Value]:
        """Return what keys held at a version."""
        return live_values(self.states(config, number, keys))

    def changed_between(
        self, config: str, low: int, high: int, wanted: KeyFilter = EVERYTHING, *, after: str = ""
    ) -> Iterator[str]:
        """Yield changed keys in order."""
        self._reads(config, low, high)
        selection = Selection.of(wanted)
        if not selection.prefixes:
            rows = self.ask(queries.changed_among(), config=config, low=low, high=high, keys=_json(selection.keys))
            yield from sorted(row.name for row in rows if row.name > after)
            return
        for row in self._by_key(queries.changed, selection, after, config=config, low=low, high=high):
            yield row.name

    def key_history(
        self, config: str, key: str, *, after: int, before: int, limit: int, newest_first: bool
    ) -> list[KeyChange]:
        """Return changes of a key in order of version.

        A value that compaction takes away between the two statements is in the answers of both.
        """
        parameters: dict[str, Any] = {"config": config, "key": key, "low": after, "high": before, "limit": limit}
        kept = self.ask(queries.key_history(newest_first=newest_first), **parameters)
        left = self.ask(queries.compacted_key_history(newest_first=newest_first), **parameters)
        changes = {row.version: _compacted_change(row) for row in left}
        changes |= {row.version: _key_change(row, config) for row in kept}
        return [changes[number] for number in sorted(changes, reverse=newest_first)][:limit]

    def changes(
        self, config: str, *, after: tuple[int, str], through: int, wanted: KeyFilter = EVERYTHING
    ) -> Iterator[tuple[int, Change]]:
        """Yield changes in order of version, then key."""
        self._reads(config, after[0])
        for row in self._changes(config, after, through, Selection.of(wanted)):
            yield row.version, Change(row.name, checked_value_of(row, config))

    def replies(self, caller: str, request_ids: Collection[str]) -> dict[str, tuple[bytes, Reply]]:
        """Return remembered outcomes."""
        found = {}
        for request_id in self._known_among(caller, request_ids):
            for row in self.ask(queries.reply(), caller=caller, request_id=request_id):
                found[request_id] = (row.digest, _reply(row))
        return found

    def secret_keys(self) -> list[WrappedKey]:
        """Return all data keys as they were added."""
        return [
            WrappedKey(row.number, bool(row.is_foreign), row.check_digest, row.outer_key, row.wrapped)
            for row in self.ask(queries.secret_keys())
        ]

    def ask(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement and return all its rows."""
        with self._database.statement():
            return prepared(statement, self._connection.dialect).ask(self._connection, self._driver, parameters)

    def _reads(self, config: str, *numbers: int) -> None:
        """Note that values of versions are read. There are none before version 1."""
        for number in (each for each in numbers if each > 0):
            self._read_since[config] = min(number, self._read_since.get(config, number))

    def _known_among(self, caller: str, request_ids: Collection[str]) -> Collection[str]:
        """Return the request ids that may have an outcome: of many, one statement finds those that have."""
        if len(request_ids) == 1:
            return request_ids
        chunks = _batches(request_ids, KEYS_AT_ONCE)
        rows = (row for chunk in chunks for row in self.ask(queries.known_requests(), caller=caller, keys=_json(chunk)))
        return dict.fromkeys(row.request_id for row in rows)

    def _head_rows(self, configs: Collection[str]) -> Iterator[Any]:
        for chunk in _batches(configs, KEYS_AT_ONCE):
            yield from self.ask(queries.heads(), keys=_json(chunk))

    def _about_versions(
        self, of_one: Statement, of_many: Statement, config: str, numbers: Collection[int]
    ) -> Iterator[Any]:
        """Ask about versions. There is a statement for one of them, which is the usual case."""
        for chunk in _batches(numbers, KEYS_AT_ONCE):
            if len(chunk) == 1:
                yield from self.ask(of_one, config=config, number=chunk[0])
            else:
                yield from self.ask(of_many, config=config, numbers=chunk)

    def _entries_among(self, config: str, number: int, selection: Selection, after: str) -> Iterator[Entry]:
        states = self.states(config, number, [key for key in selection.keys if key > after])
        for key, state in sorted(states.items()):
            if state.value is not None:
                yield Entry(key, state.value, state.origin)

    def _entries_in_range(self, config: str, number: int, selection: Selection, after: str) -> Iterator[Entry]:
        header = self.versions(config, [number]).get(number)
        if header is None:
            return
        if selection.is_everything and not after:
            yield from whole_map(self.ask, header)
            return
        yield from live_entries(self._values(config, self._live_places(config, number, selection, after)), config)

    def _live_places(self, config: str, number: int, selection: Selection, after: str) -> Iterator[Any]:
        """Yield where a version's entries stand, in key order.

        Compaction may take away the lines of a keyframe below the cut meanwhile. Then the answer is read again without
        a keyframe: of each key there is a value since version 1.
        """
        keyframe = newest_keyframe(self.ask, config, number)

        def ask(place: str, limit: int) -> Rows:
            nonlocal keyframe
            parameters = {"config": config, "keyframe": keyframe.id, "low": keyframe.version, "high": number}
            rows = self._in_range(keyframe_queries.live, selection.after(place), limit=limit, **parameters)
            if 0 < keyframe.version < self.oldest(config):
                keyframe = NO_KEYFRAME
                return ask(place, limit)
            return rows

        return _chosen(ask, selection, after)

    def _changes(self, config: str, after: tuple[int, str], through: int, selection: Selection) -> Iterator[Any]:
        """Yield rows of changes. Of small versions, one statement reads VALUES_AT_ONCE whole changes."""
        is_small = selection.is_everything
        while is_small:
            parameters = {"after_version": after[0], "after_key": after[1], "high": through, "limit": VALUES_AT_ONCE}
            rows = self.ask(queries.changed_values(), config=config, **parameters)
            yield from rows
            if len(rows) < VALUES_AT_ONCE:
                return
            after = rows[-1].version, rows[-1].name
            # If one version fills all rows, each statement would sort its changes by key again.
            is_small = rows[0].version != rows[-1].version
        yield from self._values(config, self._places_of_changes(config, after, through, selection))

    def _places_of_changes(
        self, config: str, after: tuple[int, str], through: int, selection: Selection
    ) -> Iterator[Any]:
        keys = selection.after("")
        parameters: dict[str, Any] = {"config": config, "high": through}
        if selection.prefixes:
            statement, parameters = queries.changes(RangeShape.of(keys)), parameters | _bounds(keys)
        else:
            statement, parameters = queries.changes_among(), parameters | {"keys": _json(selection.keys)}

        def ask(place: tuple[int, str], limit: int) -> Rows:
            number, key = place
            return self.ask(statement, after_version=number, after_key=key, limit=limit, **parameters)

        rows = _chunks(ask, after, lambda row: (row.version, row.name))
        return (row for row in rows if selection.matches(row.name))

    def _by_key(
        self, query: Callable[[RangeShape], Statement], selection: Selection, after: str, **parameters: Any
    ) -> Iterator[Any]:
        """Yield the rows of a query that is ordered by key, if their keys are wanted."""

        def ask(place: str, limit: int) -> Rows:
            return self._in_range(query, selection.after(place), limit=limit, **parameters)

        return _chosen(ask, selection, after)

    def _in_range(self, query: Callable[[RangeShape], Statement], keys: KeyRange, **parameters: Any) -> Rows:
        return self.ask(query(RangeShape.of(keys)), **_bounds(keys), **parameters)

    def _values(self, config: str, places: Iterable[Any]) -> Iterator[Any]:
        """Yield the values with the ids of some rows, in the order of the rows."""
        for batch in _batches(places, VALUES_AT_ONCE):
            rows = {row.id: row for row in self.ask(queries.values(), ids=[place.id for place in batch])}
            for place in batch:
                if place.id not in rows:
                    raise HashMismatchError(f"{place.name!r} of {config!r}")
                yield rows[place.id]


def _chosen(ask: Callable[[str, int], Rows], selection: Selection, after: str) -> Iterator[Any]:
    """Ask for rows in key order, in chunks; yield those whose keys are wanted."""
    rows = _chunks(ask, after, lambda row: row.name)
    return (row for row in rows if selection.matches(row.name))


def _chunks(ask: Callable[[_T, int], Rows], place: _T, place_of: Callable[[Any], _T]) -> Iterator[Any]:
    """Ask for rows after a place, in chunks. Each begins where the one before it ended."""
    limit = FIRST_CHUNK_ROWS
    while rows := ask(place, limit):
        yield from rows
        if len(rows) < limit:
            return
        place, limit = place_of(rows[-1]), min(limit * 8, LARGEST_CHUNK_ROWS)


def _batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _bounds(keys: KeyRange) -> dict[str, str]:
    bounds = {"first_key": keys.low}
    return bounds if keys.high is None else bounds | {"end_key": keys.high}


def _json(keys: Iterable[str]) -> str:
    return json.dumps(list(keys), ensure_ascii=False)


def _reply(row: Any) -> Reply:
    version = None if row.config_id is None else version_of(row, row.config_name)
    return Reply(row.config_name, version, created=bool(row.created), merged=bool(row.merged))


def _compacted_change(row: Any) -> KeyChange:
    digest = b"" if row.deleted else row.digest
    return KeyChange(row.name, None, row.version, row.author, row.message, row.commit_time_us, digest)


def _key_change(row: Any, config: str) -> KeyChange:
    value = checked_value_of(row, config)
    return KeyChange(row.name, value, row.version, row.author, row.message, row.commit_time_us)
