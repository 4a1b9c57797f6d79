"""The store in a SQL database, for SQLite and PostgreSQL. `Database` hides the differences between them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from sqlalchemy import Connection

from lamina_server.domain.errors import CompactedError
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark
from lamina_server.store.contract import Expected, Notices, StoreState, Upgrade
from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.bulk import StagedPlan
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.keyframes import lines_to_write, originated_since_keyframe, write_lines
from lamina_server.store.sql.known import KnownRows
from lamina_server.store.sql.reading import SqlReading
from lamina_server.store.sql.trial import try_inserts
from lamina_server.store.sql.writing import SqlWriting


class SqlStore:
    """A Store in a database. Make one with `open_store`.

    upgrade  what was done to the schema when it was opened; None if it had this release's already
    """

    def __init__(self, database: Database, upgrade: Upgrade | None = None) -> None:
        self._database = database
        self.upgrade = upgrade
        self._known = KnownRows()
        self._write_turn = threading.Lock()

    @property
    def is_shared(self) -> bool:
        """Whether other servers may have the database open."""
        return self._database.is_shared

    @property
    def failure(self) -> str:
        """Why it must be opened again; empty while it works."""
        return self._database.failure

    @contextmanager
    def read(self) -> Iterator[SqlReading]:
        """Open a reading block."""
        with self._database.reading() as connection:
            reading = SqlReading(connection, self._database)
            try:
                yield reading
            except CompactedError:
                raise
            except Exception:  # whatever it is, it may come of values that were taken away meanwhile
                reading.refuse_compacted()
                raise
            reading.refuse_compacted()

    def write(self, expected: Expected | None = None) -> AbstractContextManager[SqlWriting]:
        """Open the writing block."""
        # A store of this process alone knows the heads, and asks the rest without a round trip.
        beginning = Beginning(expected) if expected and self._database.is_shared else None
        return self._block(self._database.writing(beginning), partial(SqlWriting, beginning=beginning))

    @contextmanager
    def stage(self, plan: Plan, parent: HeadMark | None) -> Iterator[StagedPlan]:
        """Stage a large version."""
        with self._database.staging() as staging:
            staged = StagedPlan(plan, parent, staging, self._block)
            staged.stage(self._database)
            yield staged

    @contextmanager
    def _block(
        self,
        lent: AbstractContextManager[Connection],
        writing_on: Callable[[Connection, Database, KnownRows], SqlWriting],
    ) -> Iterator[SqlWriting]:
        """Open a writing block on a connection that is lent."""
        known = self._known
        # Other threads wait, without a connection, until what a lost block has added to `known` is forgotten.
        with self._write_turn:
            try:
                with lent as connection:
                    if self._database.is_shared:  # others may have written since
                        known.forget()
                    writing = writing_on(connection, self._database, known)
                    yield writing
                    writing.finish()
            except BaseException:
                known.forget()
                raise
            known.bound()

    def state(self) -> StoreState:
        """Return what the database uses."""
        return self._database.state()

    def check_writable(self) -> None:
        """Try a transaction that inserts nothing."""
        with self._database.trial() as connection:
            if connection is not None:
                try_inserts(connection, self._database)

    def originated_since_keyframe(self, config: str) -> int:
        """Count the values after the newest valid keyframe."""
        with self.read() as reading:
            return originated_since_keyframe(reading.ask, config)

    def write_keyframe(self, config: str) -> None:
        """Write a keyframe at the head."""
        with self.read() as reading:
            lines = lines_to_write(reading.ask, config)
        if lines:
            with self._database.side_transaction() as connection:
                write_lines(connection, self._database, lines)

    def notices(self) -> Notices | None:
        """Return the notices to and from other servers; None if no other server can have the database open."""
        return self._database.notices()

    def close(self) -> None:
        """Close the database."""
        self._database.close()
