"""SQLite as a store's database: one file and one process, or in memory. Knows no table.

One connection writes and checkpoints; readers have connections of their own, opened after
it and closed before it. (So the bug of SQLite 3.7.0 to 3.51.2, in which a checkpoint that
races another connection's write corrupts the file, cannot be reached.) In memory there is
but the one connection, and a reader waits for the writing block to end.
"""

import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, Insert, QueuePool, StaticPool, create_engine, insert
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DiskFullError, Reason, UnavailableError
from lamina_server.store.contract import StoreFailedError, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sql.database import connected, not_answered, opening, translated
from lamina_server.store.sqlite.errors import SqliteErrors, code_of
from lamina_server.store.sqlite.sessions import BUSY_MS, open_reader, open_writer

TRIAL_BUSY_MS = 1_000
"""How long a trial waits for another program's lock. It answers with the reason before the caller gives up on it."""
TRIAL_TURN_SECONDS = 0.05
"""Longer than a transaction needs to begin, if no other program has the file locked."""

_SYNCHRONOUS_FULL = 2


class SqliteDatabase:
    """A Database in one file, or in memory where the path is None.

    Raises UnusableStoreError where the file cannot be opened, or is open in another server.
    """

    is_shared = False

    def __init__(self, path: Path | None, *, reader_connections: int, wait_seconds: float) -> None:
        self._path = path
        self._errors = SqliteErrors(path)
        self._lock_file = _lock(path) if path else None
        # Reentrant for the one connection in memory: a question within a writing block is part of it.
        self._turn = threading.RLock()
        self.has_failed = False
        self._writer = _engine(self._open_writer, poolclass=StaticPool)
        self._readers = self._reader_engine(reader_connections, wait_seconds)
        try:
            # Kept: taking it from its pool for each block would cost as much as the block.
            self._writing = self._writer.connect()
            # At once: an engine's first connection sets itself up, which ends a transaction that is open on it.
            self._readers.connect().close()
        except (sqlite3.Error, DBAPIError) as error:
            self.close()
            raise self._errors.unusable(error) from error
        except UnusableStoreError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a reader's connection."""
        self._check_not_stopped()
        with connected(self._readers, self._errors) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend the writing connection, in a transaction."""
        with self._turn, self._transaction() as driver:
            yield self._writing
            self._commit(driver)

    @contextmanager
    def trial(self) -> Iterator[Connection | None]:
        """Lend the writing connection, in a transaction that is rolled back; None while another transaction is open.

        Another block may only wait for one, because another program has the file locked. Then this one waits, too.
        """
        while not self._turn.acquire(timeout=TRIAL_TURN_SECONDS):
            if _driver(self._writing).in_transaction:
                yield None
                return
        driver = _driver(self._writing)
        try:
            self._execute(driver, f"PRAGMA busy_timeout={TRIAL_BUSY_MS}")
            with self._transaction():
                yield self._writing
        finally:
            self._execute(driver, f"PRAGMA busy_timeout={BUSY_MS}")
            self._turn.release()

    def side_transaction(self) -> AbstractContextManager[Connection]:
        """Lend the writing connection: there is but one."""
        return self.writing()

    def statement(self) -> AbstractContextManager[None]:
        """Run a statement; in memory, when the writing block of another thread has ended."""
        return translated(self._errors) if self._path is not None else self._statement_in_turn()

    @contextmanager
    def _statement_in_turn(self) -> Iterator[None]:
        with self._turn, translated(self._errors):
            yield

    @contextmanager
    def migrating(self) -> Iterator[Engine]:
        """Lend the engine of the one writing connection."""
        with self._turn, opening(self._errors):
            yield self._writer

    def new_ids(self, connection: Connection, table: str, count: int) -> range:
        """Return the ids after the highest, as SQLite would choose them itself: rows are never deleted."""
        question = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 - our name
        (highest,) = self._execute(_driver(connection), question).fetchone()
        return range(highest + 1, highest + 1 + count)

    def try_ids(self, connection: Connection, table: str) -> None:
        """Do nothing: SQLite has no right of its own for this."""

    def pipeline(self, connection: Connection) -> AbstractContextManager[object]:  # noqa: ARG002 - PostgreSQL's has a use for it
        """Do nothing: SQLite answers in this process, so there is no wait to save."""
        return nullcontext()

    def confirm_past(self, connection: Connection) -> None:
        """Do nothing: a commit that was not confirmed has stopped the database already."""

    def insert_new(self, table: Any) -> Insert:
        """Return a plain INSERT: no other process can have added rows."""
        return insert(table)

    def notices(self) -> None:
        """Return nothing: there are no other servers."""

    def close(self) -> None:
        """Close the readers' connections, then the writer's, then release the lock.

        Only what changes no answer can be under way, such as a keyframe: it is interrupted.
        """
        if not self._turn.acquire(blocking=False):
            _driver(self._writing).interrupt()
            self._turn.acquire()
        try:
            self._readers.dispose()
            self._writer.dispose()
        finally:
            self._turn.release()
        self._unlock()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction, and roll back what was not committed at its end. Needs the turn."""
        self._check_not_stopped()
        driver = _driver(self._writing)
        # At once, not at the first INSERT: a transaction that has read is not let in later.
        self._execute(driver, "BEGIN IMMEDIATE")
        try:
            yield driver
        finally:
            self._end(driver)

    def _commit(self, driver: sqlite3.Connection) -> None:
        if not driver.in_transaction:  # SQLite has rolled it back by itself; there would be nothing to commit
            raise not_answered("it has rolled the transaction back")
        try:
            self._writer.dialect.do_commit(driver)  # type: ignore[arg-type]  # it asks for no more than commit()
        except sqlite3.Error as error:
            if code_of(error) == sqlite3.SQLITE_FULL and _roll_back(driver):
                raise DiskFullError from error
            # After a failed fsync the rows may be on the disk, now or later: they were there after reopening.
            # So what this connection and its readers would read now may not be durable.
            self.has_failed = True
            raise StoreFailedError from error

    def _execute(self, driver: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        try:
            return driver.execute(statement)
        except sqlite3.Error as error:
            raise self._errors.ours(error)  # noqa: B904 - its cause is set

    def _end(self, driver: sqlite3.Connection) -> None:
        """Roll back what was not committed, on the driver and in SQLAlchemy."""
        if driver.in_transaction and not _roll_back(driver):
            self.has_failed = True
        if self._writing.in_transaction():
            self._writing.rollback()

    def _check_not_stopped(self) -> None:
        if self.has_failed:
            text = "a commit was not confirmed by the disk; the server must be restarted; nothing was written"
            raise UnavailableError(Reason.STORE_UNAVAILABLE, text)

    def _open_writer(self) -> sqlite3.Connection:
        connection = open_writer(self._path)
        if self._path is None:
            return connection
        # Readers go on beside the writer, and a commit is one fsync. It stays in the file.
        (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            connection.close()
            raise UnusableStoreError(f"{str(self._path)!r} cannot have a write-ahead log; it must be on a local disk")
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        if synchronous < _SYNCHRONOUS_FULL:  # built to know no better
            connection.close()
            raise UnusableStoreError("this SQLite does not wait for the disk: it would lose what it has confirmed")
        return connection

    def _reader_engine(self, connections: int, wait_seconds: float) -> Engine:
        if self._path is None:
            # Another engine over the same connection, which never rolls back: there may be a write open on it.
            return _engine(
                lambda: self._writer.raw_connection().driver_connection,
                poolclass=StaticPool,
                isolation_level="AUTOCOMMIT",
                pool_reset_on_return=None,
                skip_autocommit_rollback=True,
            )
        path = self._path
        return _engine(
            lambda: open_reader(path),
            poolclass=QueuePool,
            isolation_level="AUTOCOMMIT",
            pool_size=connections,
            max_overflow=0,
            pool_timeout=wait_seconds,
            pool_use_lifo=True,  # the warmest page cache first
        )

    def _unlock(self) -> None:
        if self._lock_file is not None:
            self._lock_file.close()


_MAGIC = b"SQLite format 3\0"


def _lock(path: Path) -> IO[bytes]:
    """Hold the file's lock until it is closed, or the process ends.

    On a file of its own: closing any descriptor of the data file would drop SQLite's locks.
    """
    lock_path = path.with_name(path.name + ".lock")
    try:
        if not lock_path.exists():  # else this process may have the file open, and to close it would drop its locks
            _check_place(path)
    except OSError as error:
        raise UnusableStoreError(f"cannot read {str(path)!r}: {error.strerror}") from error
    try:
        lock_file = lock_path.open("ab")
    except OSError as error:
        raise UnusableStoreError(f"cannot open {str(lock_path)!r}: {error.strerror}") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.close()
        text = f"{str(path)!r} is in use by another server. SQLite serves one; several can share a PostgreSQL"
        raise StoreNotReadyError(text) from error
    return lock_file


def _check_place(path: Path) -> None:
    """Refuse what can be no database of ours before a lock file is left beside it."""
    if not path.parent.is_dir():
        raise UnusableStoreError(f"there is no folder {str(path.parent)!r}")
    if path.is_dir():
        raise UnusableStoreError(f"{str(path)!r} is a folder: name a file in it")
    if not path.exists():
        return
    with path.open("rb") as file:
        begins = file.read(len(_MAGIC))
    if begins not in (b"", _MAGIC):  # an empty file is an empty database
        raise UnusableStoreError(f"{str(path)!r} is not a SQLite database")


def _engine(connect: Any, **options: Any) -> Engine:
    return create_engine("sqlite://", creator=connect, hide_parameters=True, **options)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _roll_back(driver: sqlite3.Connection) -> bool:
    """Roll back. Return whether the transaction is over."""
    try:
        driver.rollback()
    except sqlite3.Error:
        return False
    return not driver.in_transaction
