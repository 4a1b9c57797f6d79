"""The compaction of one config, in steps that may each be the last one: the next run goes on.

    1. a keyframe at the cut, so that its map can be read in few statements ever after
    2. the cut itself, with the write lock: from now on nobody gets an answer from below it, so it is the point of no
       return, and every command that was decided on older versions was decided before
    3. for some versions at a time, below the cut: the lines of their keyframes go; each value that a newer one up to
       the cut supersedes goes, and its change point comes, in one transaction

Worked example, the config of models/tables.py, with 1 version to keep: the cut is at version 3, whose keyframe has x of
version 2. Values 1 and 2 become change points. Value 3 stays, because x is still that; so does value 4, because y has
no newer one.

On PostgreSQL the steps of 3 hold no lock that commits need.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, insert, text

from lamina_server.domain.errors import UnavailableError
from lamina_server.domain.record import record
from lamina_server.models.keyframes import newest_keyframe
from lamina_server.models.locking import COMPACTION_LOCK_ID
from lamina_server.models.tables import CUTS, POINTS
from lamina_server.store.address import parse
from lamina_server.store.compaction import queries
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_database
from lamina_server.store.sql import revision
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.keyframes import MAX_NUMBER, lines_to_write, write_lines
from lamina_server.store.sql.prepared import Rows, prepared_insert
from lamina_server.store.sql.reading import SqlReading

ROWS_AT_ONCE = 500
"""Rows of one step, which then takes some milliseconds."""
PAUSES_SECONDS = (0.1, 1.0, 5.0, 15.0)
"""Before each new try, when the database does not answer: it may be busy, or be failing over to another one."""
PORTIONS = 8
"""In so many steps, at most, goes a version that has more rows: each step looks through all of them."""

_LOCK = text("SELECT pg_try_advisory_lock(:id)")
_UNLOCK = text("SELECT pg_advisory_unlock(:id)")


@record
class Keep:
    """What is to stay readable.

    versions  so many of the newest versions; None: no number is given
    since_us  every map that was the newest one at this time or later, in µs since 1970; None: no time is given
    """

    versions: int | None = None
    since_us: int | None = None


@record
class Target:
    """A config, and what it would be compacted to.

    id, name  of the config
    head      its newest version
    oldest    the oldest version whose map can be read now
    cut       the oldest version whose map can be read afterwards
    """

    id: int
    name: str
    head: int
    oldest: int
    cut: int


@dataclass(slots=True)
class Freed:
    """What has gone, or would go: values, and the bytes of their contents.

    oldest  the oldest version whose map can be read afterwards
    """

    oldest: int
    values: int = 0
    size_bytes: int = 0

    def count(self, gone: Rows) -> None:
        """Add values."""
        self.values += len(gone)
        self.size_bytes += sum(row.size_bytes for row in gone)


@record
class _Span:
    """Some versions below the cut: those in (low, high].

    keyframes  the ids of those that have lines
    changes    how many values they had, all together
    """

    low: int
    high: int
    keyframes: tuple[int, ...]
    changes: int


Advance = Callable[[int], object]
"""Called with how many more versions are done."""


class Compaction:
    """Compacts the configs of a database that is open for it.

    rows_at_once  of one transaction
    rest          how long to pause after a step, as a part of the time that it took: others use the database, too
    """

    def __init__(self, database: Database, *, rows_at_once: int = ROWS_AT_ONCE, rest: float = 0.0) -> None:
        self._database = database
        self._rows_at_once = rows_at_once
        self._rest = rest

    def targets(self, is_wanted: Callable[[str], bool], keep: Keep) -> list[Target]:
        """Return the wanted configs, by name, each with its cut."""
        with self._reading() as reading:
            configs = [config for config in reading.ask(queries.configs()) if config.head and is_wanted(config.name)]
            return [self._target(reading, config, keep) for config in configs]

    def measure(self, target: Target, advance: Advance) -> Freed:
        """Count what would go, and change nothing."""
        freed = Freed(target.cut)
        for span in self._spans(target):
            for rows in self._values(target, span):
                freed.count(_superseded(rows))
            advance(span.high - span.low)
        return freed

    def compact(self, target: Target, reason: str, now_us: int, advance: Advance) -> Freed:
        """Compact a config; go on with what an earlier run has left.

        Raises HashMismatchError if the map at the cut is damaged; then nothing was changed.
        """
        if target.cut > target.oldest:
            target = self._with_keyframe(target)
            self._add_cut(target, reason, now_us)
        freed = Freed(target.cut)
        for span in self._spans(target):
            self._compact_span(target, span, freed)
            advance(span.high - span.low)
        return freed

    def _target(self, reading: SqlReading, config: Any, keep: Keep) -> Target:
        if keep.since_us is not None:
            cut = reading.version_at(config.name, keep.since_us)
        else:
            cut = config.head - (keep.versions or config.head) + 1
        return Target(config.id, config.name, config.head, config.oldest, max(cut, config.oldest))

    # --- 1 and 2 ----------------------------------------------------------------------------

    def _with_keyframe(self, target: Target) -> Target:
        """Return a target whose cut has a valid keyframe.

        Where there is a damaged one, none can be written: then the version before is the cut, and stays whole, too.
        """
        while target.cut > target.oldest and not self._has_keyframe(target.name, target.cut):
            target = replace(target, cut=target.cut - 1)
        return target

    def _has_keyframe(self, config: str, number: int) -> bool:
        """Write a keyframe, if there is none; return whether it is valid, or the version has no keys."""
        with self._reading() as reading:
            lines = lines_to_write(reading.ask, config, number)
        if lines:
            with self._database.side_transaction() as connection:
                write_lines(connection, self._database, lines)
        with self._reading() as reading:
            header = reading.versions(config, [number])[number]
            return not header.key_count or newest_keyframe(reading.ask, config, number).version == number

    def _add_cut(self, target: Target, reason: str, now_us: int) -> None:
        row = {"config_name_id": target.id, "version": target.cut, "cut_time_us": now_us, "reason": reason}
        with self._database.writing() as connection:
            if SqlReading(connection, self._database).oldest(target.name) < target.cut:
                with self._database.statement():
                    connection.execute(insert(CUTS), row)

    # --- 3 ----------------------------------------------------------------------------------

    def _spans(self, target: Target) -> Iterator[_Span]:
        """Yield the versions below the cut, some at a time."""
        low, high = 0, target.cut - 1
        while low < high:
            with self._reading() as reading:
                span = {"config_id": target.id, "low": low, "high": high, "limit": self._rows_at_once}
                versions = reading.ask(queries.versions(), **span)
            if not versions:  # the last one is damaged
                return
            taken = _taken(versions, self._rows_at_once)
            keyframes = tuple(version.id for version in taken if version.has_lines)
            yield _Span(low, taken[-1].version, keyframes, sum(version.change_count for version in taken))
            low = taken[-1].version

    def _values(self, target: Target, span: _Span) -> Iterator[Rows]:
        """Yield the values of a span, some at a time: of one large version, in a bounded number of statements."""
        position = {"low": span.low, "after_id": MAX_NUMBER}  # all of version `low` is done
        limit = max(self._rows_at_once, span.changes // PORTIONS)
        while True:
            with self._reading() as reading:
                parameters = {"config_id": target.id, "cut": target.cut, "high": span.high, "limit": limit}
                rows = reading.ask(queries.values(), **parameters, **position)
            if rows:
                yield rows
            if len(rows) < limit:
                return
            position = {"low": rows[-1].version, "after_id": rows[-1].id}

    def _compact_span(self, target: Target, span: _Span, freed: Freed) -> None:
        """Compact some versions. If the database does not answer, begin again with what is left of them."""
        for pause in (*PAUSES_SECONDS, None):
            try:
                for keyframe in span.keyframes:
                    self._delete_keyframe(keyframe)
                for rows in self._values(target, span):
                    if gone := _superseded(rows):
                        self._move(gone)
                        freed.count(gone)
            except UnavailableError:
                if pause is None:
                    raise
                time.sleep(pause)
            else:
                return

    def _delete_keyframe(self, version_id: int) -> None:
        parameters = {"keyframe": version_id, "limit": self._rows_at_once}
        deleted = self._rows_at_once
        while deleted == self._rows_at_once:
            with self._step() as connection, self._database.statement():
                deleted = connection.execute(queries.delete_lines(), parameters).rowcount

    def _move(self, gone: Rows) -> None:
        """Replace values by their change points."""
        with self._step() as connection, self._database.statement():
            insert_points = prepared_insert(POINTS, queries.POINT_COLUMNS, connection.dialect)
            rows = [tuple(getattr(row, name) for name in queries.POINT_COLUMNS) for row in gone]
            self._database.insert(connection, insert_points.statements(rows))
            connection.execute(queries.delete_values(), {"keys": json.dumps([row.id for row in gone])})

    # --- the database -----------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[SqlReading]:
        with self._database.reading() as connection:
            yield SqlReading(connection, self._database)

    @contextmanager
    def _step(self) -> Iterator[Connection]:
        """Lend a connection in a transaction, for rows whose absence changes no answer that is given by now."""
        begun = time.monotonic()
        with self._database.side_transaction() as connection:
            yield connection
        time.sleep(self._rest * (time.monotonic() - begun))


def _taken(versions: Rows, rows: int) -> Rows:
    """Return the first versions that have so many changes together, or the first one alone."""
    count = changes = 0
    for version in versions:
        changes += version.change_count
        if count and changes > rows:
            break
        count += 1
    return versions[:count]


def _superseded(rows: Rows) -> Rows:
    return [row for row in rows if row.superseded_by is not None]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open the database at an address for a compaction: its account needs no other rights than that.

    Raises DatabaseAddressError or UnusableStoreError.
    """
    database = open_database(parse(url))
    try:
        with database.migrating() as engine:
            if not revision.is_newest(engine):
                raise UnusableStoreError("the tables are not this release's: see `lamina-server migrate`")
        with _alone(database):
            yield database
    finally:
        database.close()


@contextmanager
def _alone(database: Database) -> Iterator[None]:
    """Keep other compactions of a shared database away for the duration of the block."""
    if not database.is_shared:
        yield
        return
    with database.reading() as connection:
        with database.statement():
            (is_free,) = connection.execute(_LOCK, {"id": COMPACTION_LOCK_ID}).one()
        if not is_free:
            raise UnusableStoreError("another compaction of this database is under way: wait until it has ended")
        try:
            yield
        finally:
            with database.statement():
                connection.execute(_UNLOCK, {"id": COMPACTION_LOCK_ID})
