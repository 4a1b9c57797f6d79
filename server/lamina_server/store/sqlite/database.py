"""SQLite as a store's database: one file and one process, or in memory. Knows no table.

One connection writes and checkpoints; readers have connections of their own, opened after
it and closed before it. (So the bug of SQLite 3.7.0 to 3.51.2, in which a checkpoint that
races another connection's write corrupts the file, cannot be reached.) In memory there is
but the one connection, and a reader waits for the writing block to end.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, Insert, insert
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DamagedError, DiskFullError, Reason, ServerError, UnavailableError
from lamina_server.store.contract import StoreFailedError, StoreState
from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.database import connected, in_use, not_answered, opening, translated
from lamina_server.store.sql.prepared import Numbered
from lamina_server.store.sqlite.errors import DAMAGED, SqliteErrors, code_of
from lamina_server.store.sqlite.file import DataFile, files_of
from lamina_server.store.sqlite.open_files import OpenFiles
from lamina_server.store.sqlite.sessions import BUSY_MS, memory_reader_engine, reader_engine, writer_engine
from lamina_server.store.sqlite.staging import SqliteStaging

TRIAL_BUSY_MS = 1_000
"""How long a trial waits for another program's lock. It answers with the reason before the caller gives up on it."""
TRIAL_TURN_SECONDS = 0.05
"""Longer than a transaction needs to begin, if no other program has the file locked."""

LOOK_SECONDS = 0.1
"""Shorter than an idle server is asked whether it takes commits, longer than a busy one's transactions take."""

_DRIVER_ERRORS = (sqlite3.Error, MemoryError)
"""What SQLite's driver raises: MemoryError is Python's own, and stands for SQLITE_NOMEM."""

_UNCONFIRMED = "the disk did not confirm a commit; after a restart, the same request id shows whether it happened"
_NOT_ENDED = "SQLite could not roll back a transaction; start the server again"
_AFTER_OTHERS = "a SQLite file serves one server alone; start it again, after lamina-server verify"

_log = structlog.get_logger(__name__)


class SqliteDatabase:
    """A Database in one file, or in memory where the path is None.

    look_seconds  how long a transaction may begin without another look at the file; its end always looks

    Raises UnusableStoreError where the file cannot be opened, or is open in another server.
    """

    is_shared = False

    def __init__(
        self, path: Path | None, *, reader_connections: int, wait_seconds: float, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self._file = DataFile(path) if path else None
        self._path = self._file.path if self._file else None
        self._open_files: OpenFiles | None = None
        self._errors = SqliteErrors(self._path, on_damage=self._fail_damaged)
        # Reentrant for the one connection in memory: a question within a writing block is part of it.
        self._turn = threading.RLock()
        self._failing = threading.Lock()
        self.failure = ""
        self._is_damaged = False
        self._seen_version: int | None = None
        self._look_seconds = look_seconds
        self._looked_at = -look_seconds
        self._writer = writer_engine(self._path)
        self._readers = (
            reader_engine(self._path, connections=reader_connections, wait_seconds=wait_seconds)
            if self._path
            else memory_reader_engine(self._writer)
        )
        try:
            self._open()
        except (sqlite3.Error, DBAPIError) as error:
            self.close()
            raise self._errors.unusable(error) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        # Kept: taking it from its pool for each block would cost as much as the block.
        self._writing = self._writer.connect()
        if self._file is not None:
            self._open_files = self._file.open_files()
        # At once: an engine's first connection sets itself up, which ends a transaction that is open on it.
        with self._readers.connect() as reader:
            reader.exec_driver_sql("SELECT count(*) FROM sqlite_schema")  # which opens the log

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a reader's connection."""
        self._check_not_stopped()
        with connected(self._readers, self._errors) as connection:
            yield connection

    @contextmanager
    def writing(self, beginning: Beginning | None = None) -> Iterator[Connection]:  # noqa: ARG002 - for other databases
        """Lend the writing connection, in a transaction."""
        with self._turn, self._transaction() as driver:
            yield self._writing
            self._commit(driver)
            self._confirm_file()

    @contextmanager
    def trial(self) -> Iterator[Connection | None]:
        """Lend the writing connection, in a transaction that is rolled back; None while another transaction is open.

        Another block may only wait for one, because another program has the file locked. Then this one waits, too.
        """
        while not self._turn.acquire(timeout=TRIAL_TURN_SECONDS):
            if _driver(self._writing).in_transaction:
                yield None
                return
        try:
            with self._short_wait(), self._transaction():
                yield self._writing
        finally:
            self._turn.release()

    @contextmanager
    def staging(self) -> Iterator[SqliteStaging]:
        """Lend a table of the writing connection alone."""
        staging = SqliteStaging(self._between_transactions, self.writing)
        try:
            yield staging
        finally:
            # Of a database that has failed: the table is gone with the connection. Else the next version drops it.
            with suppress(ServerError, *_DRIVER_ERRORS):
                staging.drop()

    @contextmanager
    def _between_transactions(self) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection between two transactions."""
        with self._turn:
            self._check_not_stopped()
            driver = _driver(self._writing)
            try:
                yield driver
            except sqlite3.Error as error:
                raise self._errors.ours(error)  # noqa: B904 - its cause is set

    @contextmanager
    def _short_wait(self) -> Iterator[None]:
        """Wait as long as a trial may for another program's lock. Needs the turn."""
        driver = _driver(self._writing)
        self._execute(driver, f"PRAGMA busy_timeout={TRIAL_BUSY_MS}")
        try:
            yield
        finally:
            self._execute(driver, f"PRAGMA busy_timeout={BUSY_MS}")

    def side_transaction(self) -> AbstractContextManager[Connection]:
        """Lend the writing connection: there is but one."""
        return self.writing()

    def statement(self, operation: str = "select") -> AbstractContextManager[None]:  # noqa: ARG002 - for those who measure
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

    def before_upgrade(self, before: str, after: str, *, is_asked: bool) -> Path | None:  # noqa: ARG002 - no other server uses the file
        """Back the file up beside itself."""
        from lamina_server.store.sqlite.before_upgrade import back_up_before  # noqa: PLC0415 - once in a release

        return back_up_before(self._path, after) if self._path is not None else None

    def new_ids(self, connection: Connection, table: str, count: int) -> range:
        """Return the ids after the highest, as SQLite would choose them itself: rows are never deleted."""
        question = f"SELECT coalesce(max(id), 0) FROM {table}"  # noqa: S608 - our name
        (highest,) = self._execute(_driver(connection), question).fetchone()
        return range(highest + 1, highest + 1 + count)

    def try_ids(self, connection: Connection, table: str) -> None:
        """Do nothing: SQLite has no right of its own for this."""

    def insert(self, connection: Connection, statements: Iterable[Numbered], *, is_last: bool = False) -> None:  # noqa: ARG002 - COMMIT costs no round trip
        """Run INSERTs."""
        execute = _driver(connection).execute
        try:
            for text, parameters in statements:
                execute(text, parameters)
        except sqlite3.Error as error:
            raise self._errors.ours(error)  # noqa: B904 - its cause is set

    def confirm_past(self, connection: Connection) -> None:
        """Do nothing: a commit that was not confirmed has stopped the database already."""

    def insert_new(self, table: Any) -> Insert:
        """Return a plain INSERT: no other process can have added rows."""
        return insert(table)

    def notices(self) -> None:
        """Return nothing: there are no other servers."""

    def state(self) -> StoreState:
        """Return which readers' connections are in use, and the sizes of the files."""
        if self._path is None:
            return StoreState("sqlite", {})
        return StoreState("sqlite", {"readers": in_use(self._readers)}, files_of(self._path))

    def close(self) -> None:
        """Close the readers' connections, then the writer's, then release the lock.

        Only what changes no answer can be under way, such as a keyframe: it is interrupted.
        """
        if not self._turn.acquire(blocking=False):
            _driver(self._writing).interrupt()
            self._turn.acquire()
        file, self._file = self._file, None
        files, self._open_files = self._open_files, None
        try:
            if files is not None:
                self._look_last(files)
            self._readers.pool.dispose()  # not the engine's `dispose`: a new pool would keep what is opened later
            self._writer.dispose()
        finally:
            self._turn.release()
        if file is not None:
            file.close()

    def _look_last(self, files: OpenFiles) -> None:
        """Save what SQLite would lose or destroy if it closed files that others have touched."""
        if changed := files.overwritten():
            # The last connection that may write moves the log into the file, where it would destroy what is there now.
            self._writer.dispose()
            self._fail(changed)
        elif changed := files.moved():
            # What was committed goes into the file that is open, wherever that is; its log may be found no more.
            with suppress(sqlite3.Error):
                _driver(self._writing).execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._fail(changed)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction, and roll back what was not committed at its end. Needs the turn."""
        self._check_not_stopped()
        self._check_file()
        driver = _driver(self._writing)
        # At once, not at the first INSERT: a transaction that has read is not let in later.
        self._execute(driver, "BEGIN IMMEDIATE")
        try:
            self._check_alone(driver)
            yield driver
        except BaseException:
            self._end(driver)
            self._seen_version = None
            # SQLite counts failures of its own as it counts others' commits. What others have committed since the
            # rollback, some microseconds ago, is not noticed; but the store has forgotten the heads, and reads them.
            with suppress(Exception):
                self._seen_version = self._data_version(driver)
            raise
        else:
            self._end(driver)

    def _commit(self, driver: sqlite3.Connection) -> None:
        if not driver.in_transaction:  # SQLite has rolled it back by itself; there would be nothing to commit
            raise not_answered("it has rolled the transaction back")
        try:
            self._writer.dialect.do_commit(driver)  # type: ignore[arg-type]  # it asks for no more than commit()
        except _DRIVER_ERRORS as error:
            if code_of(error) == sqlite3.SQLITE_FULL and _roll_back(driver):
                raise DiskFullError from error
            # After a failed fsync the rows may be on the disk, now or later: they were there after reopening.
            # So what this connection and its readers would read now may not be durable.
            self._fail(_UNCONFIRMED)
            raise StoreFailedError from error

    def _check_file(self) -> None:
        """Take no more writes if the file is not as it was, or not where it was. Look only so often."""
        now = time.monotonic()
        if self._open_files is None or now < self._looked_at + self._look_seconds:
            return
        self._looked_at = now
        if changed := self._open_files.changed():
            self._fail(changed)
            self._check_not_stopped()

    def _confirm_file(self) -> None:
        """Raise StoreFailedError if what was just committed may be in another file than the one at the path."""
        if self._open_files is not None and (endangered := self._open_files.endangered()):
            self._fail(endangered)
            raise StoreFailedError

    def _check_alone(self, driver: sqlite3.Connection) -> None:
        """Take no more writes if another program has written: what is in memory here is not what is in the file."""
        version = self._data_version(driver)
        if self._seen_version not in {None, version}:
            self._fail(f"another program wrote to {str(self._path)!r} while the server ran: {_AFTER_OTHERS}")
            self._check_not_stopped()
        self._seen_version = version

    def _data_version(self, driver: sqlite3.Connection) -> int:
        """Return SQLite's number of what other connections have committed, and of its own failures."""
        version: int
        (version,) = self._execute(driver, "PRAGMA data_version").fetchone()
        return version

    def _end(self, driver: sqlite3.Connection) -> None:
        """Roll back what was not committed, on the driver and in SQLAlchemy."""
        if driver.in_transaction and not _roll_back(driver):
            self._fail(_NOT_ENDED)
        if self._writing.in_transaction():
            self._writing.rollback()

    def _fail(self, failure: str) -> None:
        """Take no more writes and reads, for a reason that is told to the operator: the first one."""
        with self._failing:  # readers may find damage at the same time
            if self.failure:
                return
            self.failure = failure
        _log.error("database given up", reason=failure)

    def _fail_damaged(self, failure: str) -> None:
        self._is_damaged = True
        self._fail(failure)

    def _execute(self, driver: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        try:
            return driver.execute(statement)
        except sqlite3.Error as error:
            raise self._errors.ours(error)  # noqa: B904 - its cause is set

    def _check_not_stopped(self) -> None:
        if self._is_damaged:
            raise DamagedError(DAMAGED)
        if self.failure:
            text = "the server must be restarted, and its log says why; nothing was written"
            raise UnavailableError(Reason.STORE_UNAVAILABLE, text, wrote_nothing=True)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _roll_back(driver: sqlite3.Connection) -> bool:
    """Roll back. Return whether the transaction is over."""
    try:
        driver.rollback()
    except _DRIVER_ERRORS:
        return False
    return not driver.in_transaction
