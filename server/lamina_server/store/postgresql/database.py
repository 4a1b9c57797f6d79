"""PostgreSQL as a store's database, shared with other servers. Knows no table.

All writers of one database take one advisory lock, each for its transaction. So a writer
that reads after it has the lock reads everything that was ever committed (under READ
COMMITTED, and in a new statement), and ids and versions rise in the order of commits.
"""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg.errors import Diagnostic
from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DiskFullError, HashMismatchError
from lamina_server.models.locking import WRITE_LOCK_ID
from lamina_server.store.contract import CommitUnknownError, HistoryBrokenError, UnusableStoreError
from lamina_server.store.postgresql.notices import PostgresqlNotices
from lamina_server.store.postgresql.sessions import (
    Settings,
    connect_arguments,
    driver_url,
    refuse_unsafe_settings,
    set_up_connections,
)
from lamina_server.store.sql.database import connected, not_answered, translated

WRITER_CONNECTIONS = 2
"""One for commits, one for keyframes beside them."""

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 3_000
"""A server that stops within a writing block must not keep the lock from the others."""
KEYFRAME_TIMEOUT_MS = 60_000
"""For a keyframe of the largest map: nobody waits for it."""
MIGRATION_TIMEOUT_MS = 600_000
"""For one statement that changes the schema, and for waiting while another server does it."""

OLDEST_VERSION = 140_000
"""Oldest release that is maintained. Before 13 the statement timeout could not be lifted for a COMMIT."""

_CANCELLED_WAIT = ("WARNING", "01000")
"""Severity and SQLSTATE of the only warning of a COMMIT that we know of. Its text depends on lc_messages."""

_DISK_FULL = "53100"
_CORRUPTED = ("XX001", "XX002")

# One message, so one round trip; the timeout counts for each statement of it. Cancelled, a COMMIT that waits for a
# standby would return as if it had been replicated.
_COMMIT = "SET LOCAL statement_timeout = 0; COMMIT"

_LOCK = f"SELECT pg_advisory_xact_lock({WRITE_LOCK_ID})"

_NEW_IDS = "SELECT nextval(pg_get_serial_sequence(%(table)s, 'id')) FROM generate_series(1, %(count)s)"

_STATE = text(
    "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS in_recovery,"
    " current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,"
    " current_setting('full_page_writes') AS full_page_writes"
)


class PostgresqlDatabase:
    """A Database on a PostgreSQL server.

    Raises UnusableStoreError where it cannot be reached, or would not keep what it confirms.
    """

    is_shared = True
    has_failed = False  # a lost connection is replaced; who has the lock next sees what became of its transaction

    def __init__(
        self,
        url: URL,
        *,
        reader_connections: int,
        wait_seconds: float,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        idle_in_transaction_ms: int = IDLE_IN_TRANSACTION_MS,
    ) -> None:
        self._url = url
        self._write_turn = threading.Lock()  # so that our own threads wait here, not on connections
        timeouts_ms = {
            "lock_timeout": lock_timeout_ms,
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            "idle_in_transaction_session_timeout": idle_in_transaction_ms,
        }
        self._writer = _engine(
            url,
            timeouts_ms,
            isolation_level="AUTOCOMMIT",  # we say BEGIN ourselves, and more with it in the same message
            pool_pre_ping=False,  # BEGIN is the first to notice, and is said again on another connection
            pool_size=WRITER_CONNECTIONS,
            pool_timeout=wait_seconds,
        )
        self._readers = _engine(
            url,
            timeouts_ms,
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,  # a failover leaves dead connections behind
            pool_size=reader_connections,
            pool_timeout=wait_seconds,
        )
        try:
            with self._writer.connect() as connection:
                _check(connection.execute(_STATE).one())
                refuse_unsafe_settings(connection)
        except DBAPIError as error:
            self.close()
            raise UnusableStoreError("the PostgreSQL database cannot be reached, or lets nobody write") from error
        except UnusableStoreError:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a reader's connection."""
        with connected(self._readers, _translate) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Lend a connection in a transaction that has the advisory lock."""
        with self._write_turn, self._transaction(_LOCK) as connection:
            yield connection

    @contextmanager
    def side_transaction(self) -> Iterator[Connection]:
        """Lend a connection in a transaction beside the writers'."""
        with self._transaction(f"SET LOCAL statement_timeout = {KEYFRAME_TIMEOUT_MS}") as connection:
            yield connection

    def asking(self) -> AbstractContextManager[None]:
        """Run a statement."""
        return translated(_translate)

    @contextmanager
    def migrating(self) -> Iterator[Engine]:
        """Lend an engine with more patience: another server may be changing the schema right now."""
        timeouts_ms = {"lock_timeout": MIGRATION_TIMEOUT_MS, "statement_timeout": MIGRATION_TIMEOUT_MS}
        engine = _engine(self._url, timeouts_ms, pool_size=1)
        try:
            yield engine
        finally:
            engine.dispose()

    def new_ids(self, connection: Connection, table: str, count: int) -> list[int]:
        """Take ids from the table's sequence, which nobody else draws from while this transaction has the lock."""
        return [id_ for (id_,) in connection.exec_driver_sql(_NEW_IDS, {"table": table, "count": count})]

    def confirm_past(self, connection: Connection) -> None:
        """Write to the log, so that COMMIT waits for it, and for all before it, to reach the standby.

        A COMMIT that was cut off may have happened here and not there, and without a write
        of its own this transaction would wait for nothing.
        """
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'lamina', '')")

    def insert_new(self, table: Any) -> Insert:
        """Return an INSERT ON CONFLICT DO NOTHING: another server may be adding the same rows."""
        return insert(table).on_conflict_do_nothing()

    @contextmanager
    def together(self, connection: Connection) -> Iterator[None]:
        """Send what is said within without waiting for each answer; the end waits for all."""
        try:
            with _driver(connection).pipeline():
                yield
        except psycopg.Error as error:
            # What a constraint refused is quoted, values and all.
            raise _ours(error) from (None if isinstance(error, psycopg.IntegrityError) else error)

    @contextmanager
    def _transaction(self, first: str) -> Iterator[Connection]:
        """Lend a writer's connection, in a transaction that begins with a statement; its end commits."""
        with ExitStack() as stack:
            connection = stack.enter_context(connected(self._writer, _translate))
            if not _begin(connection, first):
                # It died while it lay in the pool, and so did all of its age.
                connection.invalidate()
                self._writer.dispose()
                connection = stack.enter_context(connected(self._writer, _translate))
                if not _begin(connection, first):
                    raise not_answered()
            yield connection
            _commit(connection)

    def notices(self) -> PostgresqlNotices:
        """Speak to the other servers, over connections apart from these."""
        return PostgresqlNotices(self._url)

    def close(self) -> None:
        """Close all connections."""
        self._readers.dispose()
        self._writer.dispose()


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _begin(connection: Connection, first: str) -> bool:
    """Begin a transaction; tell whether the connection was still alive."""
    driver = _driver(connection)
    try:
        # One message, so one round trip. The level whatever the database's default is: another one would read what
        # was there before the lock.
        driver.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {first}", prepare=False)
    except psycopg.Error as error:
        if driver.closed:
            return False
        raise _ours(error) from error
    return True


def _commit(connection: Connection) -> None:
    """Commit; raise CommitUnknownError unless the server confirms it.

    The server answers ROLLBACK if the transaction has failed before. It answers COMMIT with a
    warning if somebody has cancelled its wait for the standby.
    """
    driver = _driver(connection)
    warnings: list[Diagnostic] = []

    def note(message: Diagnostic) -> None:
        if (message.severity_nonlocalized, message.sqlstate) == _CANCELLED_WAIT:
            warnings.append(message)

    driver.add_notice_handler(note)
    try:
        cursor = driver.execute(_COMMIT, prepare=False)  # a prepared statement is one statement
        while cursor.nextset():
            pass
        confirmed = cursor.statusmessage == "COMMIT" and not warnings
    except psycopg.Error as error:
        connection.invalidate()
        raise CommitUnknownError from error
    finally:
        driver.remove_notice_handler(note)
    if not confirmed:
        connection.invalidate()
        raise CommitUnknownError


def _engine(url: URL, settings: Settings, **options: Any) -> Engine:
    engine = create_engine(
        driver_url(url),
        connect_args=connect_arguments(),
        hide_parameters=True,  # they are people's values, and errors are logged
        max_overflow=0,  # so that the database's own limit on connections can be reckoned with
        pool_use_lifo=True,  # the rest of the pool may fall idle, and be closed by what lies between
        **options,
    )
    set_up_connections(engine, settings)
    return engine


def _check(state: Any) -> None:
    """Refuse a database that could lose what it has confirmed, or change what it stores."""
    off = [name for name in ("fsync", "full_page_writes") if getattr(state, name) == "off"]
    if state.version < OLDEST_VERSION:
        raise UnusableStoreError(f"PostgreSQL {OLDEST_VERSION // 10_000} or newer is needed")
    if state.in_recovery:
        raise UnusableStoreError("this PostgreSQL server is a standby: name the primary")
    if state.encoding != "UTF8":
        raise UnusableStoreError(f"the database's encoding is {state.encoding}; it must be UTF8")
    if off:
        raise UnusableStoreError(f"PostgreSQL has {' and '.join(off)} off: it would lose what it has confirmed")


def _translate(error: DBAPIError) -> Exception:
    ours = _ours(error.orig) if isinstance(error.orig, psycopg.Error) else not_answered()
    return error if ours is error.orig else ours


def _ours(error: psycopg.Error) -> Exception:
    if error.sqlstate == _DISK_FULL:
        return DiskFullError()
    if error.sqlstate in _CORRUPTED:
        return HashMismatchError("the database")
    if isinstance(error, psycopg.IntegrityError):
        return HistoryBrokenError("the database refused rows that do not continue its history")
    if isinstance(error, psycopg.ProgrammingError | psycopg.DataError | psycopg.NotSupportedError):
        return error
    return not_answered()
