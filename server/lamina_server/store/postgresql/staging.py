"""The rows of a large version in a transaction that takes the write lock at its very end. Knows none of our tables.

PostgreSQL checks a foreign key row by row, so 100,000 rows take seconds. Other sessions see nothing of them before
COMMIT, and commit meanwhile. Only a writer that inserts the same version (another one of the same config and number)
has to wait for this transaction, and it has the write lock meanwhile. So this transaction

- never waits for the write lock for longer than LOCK_TRY_MS at once, and gives up after some tries;
- looks after each batch, and every POLL_SECONDS while it has nothing to do, whether anybody waits for it. Then it
  gives way: it rolls back.

Two transactions that stage the same version would give way to each other for ever. So there is a lock for them, and
there is one at a time, of all servers.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection

from lamina_server.models.locking import STAGING_LOCK_ID, WRITE_LOCK_ID
from lamina_server.store.contract import OvertakenError
from lamina_server.store.postgresql.errors import PostgresqlErrors

POLL_SECONDS = 0.05
LOCK_TRY_MS = 500
"""Much shorter than `deadlock_timeout`, which is 1 s by default, after which PostgreSQL would end the other writer. As
long as some transactions of others take: each try begins at the end of the queue.
"""
STAGING_LOCK_MS = 30_000
"""How long it waits while others stage."""

BEGINNING = (
    f"SET LOCAL lock_timeout = {STAGING_LOCK_MS}; SET LOCAL statement_timeout = {STAGING_LOCK_MS};"
    f" SELECT pg_advisory_xact_lock({STAGING_LOCK_ID}); SET LOCAL lock_timeout = {LOCK_TRY_MS}"
)

_IS_AWAITED = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted"
    " AND transactionid = CAST(pg_current_xact_id() AS xid))"
)


class PostgresqlStaging:
    """A Staging in a transaction that was begun with BEGINNING.

    commit                commits on a connection
    lock_timeout_ms       how long it tries to get the write lock, and how long a statement waits for a lock then
    statement_timeout_ms  how long a statement may take when it has the write lock
    """

    is_in_tables = True

    def __init__(
        self,
        connection: Connection,
        errors: PostgresqlErrors,
        commit: Callable[[Connection], None],
        *,
        lock_timeout_ms: int,
        statement_timeout_ms: int,
    ) -> None:
        self._connection = connection
        driver = connection.connection.driver_connection  # now: an invalidated connection lends it no more
        assert isinstance(driver, psycopg.Connection)
        self._driver: psycopg.Connection[Any] = driver
        self._errors = errors
        self._commit = commit
        self._lock_tries = max(lock_timeout_ms // LOCK_TRY_MS, 1)
        self._try_lock = (
            f"SAVEPOINT without_lock; SELECT pg_advisory_xact_lock({WRITE_LOCK_ID});"
            f" SET LOCAL lock_timeout = {lock_timeout_ms}; SET LOCAL statement_timeout = {statement_timeout_ms}"
        )
        self._turn = threading.Lock()
        self._ended = threading.Event()

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend the connection."""
        with self._turn:
            yield self._connection

    def add(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows."""
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
        with self._turn:
            try:
                with self._driver.cursor().copy(statement) as copy:
                    for row in rows:
                        copy.write_row(row)
                self._give_way()
            except psycopg.Error as error:
                raise self._errors.ours(error, statement)  # noqa: B904 - its cause is set

    def copy(self, connection: Connection, table: str, columns: Sequence[str], same: Mapping[str, Any]) -> int:
        """Refuse: the rows are in their table already."""
        raise NotImplementedError

    def wait(self) -> None:
        """Wait for the end, and give way to others."""
        with suppress(OvertakenError, psycopg.Error):
            while not self._ended.wait(POLL_SECONDS):
                with self._turn:
                    if not self._ended.is_set():
                        self._give_way()
        self.close()

    def close(self) -> None:
        """Let nobody write any more, whyever it ends; wait for the writer that has the connection."""
        with self._turn:
            self._ended.set()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend the connection with the write lock, and commit at the end."""
        with self._turn:
            if self._ended.is_set():
                raise OvertakenError
            try:
                self._lock_writers()
                yield self._connection
                self._commit(self._connection)
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._ended.set()

    def end(self) -> None:
        """End the wait."""
        self._ended.set()

    def _lock_writers(self) -> None:
        """Take the write lock. Raises OvertakenError if others keep it for too long, or the connection is lost."""
        try:
            for _ in range(self._lock_tries):
                try:
                    self._driver.execute(self._try_lock, prepare=False)
                except psycopg.errors.LockNotAvailable:
                    self._driver.execute("ROLLBACK TO without_lock")
                    self._give_way()
                else:
                    return
        except psycopg.Error as error:
            if self._driver.closed:  # the rows are lost; another connection may be had
                raise OvertakenError from error
            raise self._errors.ours(error)  # noqa: B904 - its cause is set
        raise OvertakenError

    def _give_way(self) -> None:
        """Roll back if another writer waits for this transaction."""
        row = self._driver.execute(_IS_AWAITED).fetchone()
        if row is not None and row[0]:
            self._roll_back()
            self._ended.set()
            raise OvertakenError

    def _roll_back(self) -> None:
        """Roll back at once: what others wait for must not wait for another thread."""
        with suppress(psycopg.Error):
            if not self._driver.closed:
                self._driver.execute("ROLLBACK")
