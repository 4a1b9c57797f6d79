"""PostgreSQL as a store's database, which several servers share. Knows no table.

Each writer takes the same advisory lock for its transaction. With the lock held, a new
statement under READ COMMITTED reads everything that was ever committed. So versions, and
the ids of each config, rise in the order of commits. (A large version takes its ids before
it has the lock: see staging. Other configs may have higher ids that are older.)
"""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.dialects.postgresql import Insert, insert

from lamina_server.models.locking import WRITE_LOCK_ID
from lamina_server.store.address import PostgresqlAddress
from lamina_server.store.contract import CommitUnknownError, StoreNotReadyError, StoreState, UnusableStoreError
from lamina_server.store.postgresql.errors import PostgresqlErrors, is_starting
from lamina_server.store.postgresql.exchange import Exchange
from lamina_server.store.postgresql.notices import PostgresqlNotices
from lamina_server.store.postgresql.sessions import (
    DRIVER_URL,
    Settings,
    connect_arguments,
    refuse_lossy_server,
    refuse_unsafe_settings,
    set_up_connections,
)
from lamina_server.store.postgresql.staging import BEGINNING, PostgresqlStaging
from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.database import connected, in_use, not_answered, opening, translated
from lamina_server.store.sql.pool import ClosingPool
from lamina_server.store.sql.prepared import Numbered, prepared

WRITER_CONNECTIONS = 4
"""For commits, keyframes, a large version that is staged, and trials whether commits can be: one each, all at once."""

SILENCE_SECONDS = 1.0
"""How long the first connection may take before the log says so. The attempt itself takes several seconds."""
UPGRADE_SILENCE_SECONDS = 3.0
"""How long the check and the upgrade of the tables may take before the log says so. To make them takes a second."""

LOCK_TIMEOUT_MS = 2_000
STATEMENT_TIMEOUT_MS = 5_000
IDLE_IN_TRANSACTION_MS = 3_000
"""A server that stops within a writing block must not keep the lock for longer than this."""
TRIAL_LOCK_TIMEOUT_MS = 1_000
"""How long a trial waits for a lock on a table. Commits themselves do not block each other there."""
KEYFRAME_TIMEOUT_MS = 60_000
"""Enough for a keyframe of the largest map. Nobody waits for it."""
MIGRATION_TIMEOUT_MS = 600_000
"""For one statement that changes the schema, and for the wait while another server does so."""

_CANCELLED_WAIT = ("WARNING", "01000")
"""The only warning of a COMMIT that we know of."""

INSERTED_AT_ONCE_BYTES = 1 << 20
"""INSERTs that are sent together. While they are made, the database hears nothing; it ends an idle transaction."""

# Another isolation level would read the state before the lock was taken.
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"

_LOCK = f"SELECT pg_advisory_xact_lock({WRITE_LOCK_ID})"

# The timeout counts for each statement. A COMMIT has none: if it is cancelled while it waits for a standby, it returns
# as if the standby had the rows.
_NO_TIMEOUT, _COMMIT = "SET LOCAL statement_timeout = 0", "COMMIT"

_NEW_IDS = "SELECT nextval(pg_get_serial_sequence($1, 'id')) FROM generate_series(1, $2)"

# It calls nextval only where that is refused, and the error then names the sequence.
_TRY_IDS = (
    "SELECT CASE WHEN NOT has_sequence_privilege(ids, 'USAGE, UPDATE') THEN nextval(ids) END"
    " FROM CAST(pg_get_serial_sequence(%(table)s, 'id') AS regclass) AS ids"
)


_log = structlog.get_logger(__name__)


class PostgresqlDatabase:
    """A Database on a PostgreSQL server.

    Raises UnusableStoreError if the server cannot be reached, or could lose what it has confirmed.
    """

    is_shared = True
    failure = ""  # a lost connection is replaced, and the next writer sees what became of its transaction

    def __init__(
        self,
        address: PostgresqlAddress,
        *,
        reader_connections: int,
        wait_seconds: float,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        idle_in_transaction_ms: int = IDLE_IN_TRANSACTION_MS,
    ) -> None:
        self._address = address
        self._lock_timeout_ms = lock_timeout_ms
        self._errors = PostgresqlErrors(address)
        self._is_closed = False
        timeouts_ms = {
            "lock_timeout": lock_timeout_ms,
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            "idle_in_transaction_session_timeout": idle_in_transaction_ms,
        }
        self._writer = _engine(
            address,
            timeouts_ms,
            isolation_level="AUTOCOMMIT",  # _begin sends BEGIN, and another statement in the same message
            prepares=False,
            pool_pre_ping=False,  # BEGIN notices a dead connection, and is sent again over another one
            pool_size=WRITER_CONNECTIONS,
            pool_timeout=wait_seconds,
        )
        self._readers = _engine(
            address,
            timeouts_ms,
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,  # a failover leaves dead connections in the pool
            pool_size=reader_connections,
            pool_timeout=wait_seconds,
        )
        try:
            silence = _logged_after(SILENCE_SECONDS, f"{address} has not answered yet")
            with silence, opening(self._errors), self._writer.connect():
                pass
        except UnusableStoreError as error:
            self.close()
            if is_starting(error.__cause__, make_conninfo(**connect_arguments(address))):
                raise StoreNotReadyError(str(error)) from error
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Lend a reader's connection."""
        with connected(self._readers, self._errors) as connection:
            yield connection

    @contextmanager
    def writing(self, beginning: Beginning | None = None) -> Iterator[Connection]:
        """Lend a connection in a transaction that has the advisory lock."""
        with self._transaction(_LOCK, beginning) as connection:
            yield connection

    @contextmanager
    def staging(self) -> Iterator[PostgresqlStaging]:
        """Lend a transaction that has the lock of those who stage, but not the write lock."""
        with self._begun(BEGINNING) as connection:
            staging = PostgresqlStaging(
                connection,
                self._errors,
                self._commit,
                lock_timeout_ms=self._lock_timeout_ms,
                statement_timeout_ms=STATEMENT_TIMEOUT_MS,
            )
            try:
                yield staging
            finally:
                staging.close()

    @contextmanager
    def side_transaction(self) -> Iterator[Connection]:
        """Lend a connection in a transaction that runs at the same time as a writer's."""
        timeouts = ("statement_timeout", "idle_in_transaction_session_timeout")  # it has no lock that others wait for
        with self._transaction(
            "; ".join(f"SET LOCAL {each} = {KEYFRAME_TIMEOUT_MS}" for each in timeouts)
        ) as connection:
            yield connection

    @contextmanager
    def trial(self) -> Iterator[Connection]:
        """Lend a connection in a transaction without the advisory lock, which commits need; roll it back."""
        with self._begun(f"SET LOCAL lock_timeout = {TRIAL_LOCK_TIMEOUT_MS}") as connection:
            yield connection

    def statement(self, operation: str = "select") -> AbstractContextManager[None]:  # noqa: ARG002 - for those who measure
        """Return a context that turns the driver's errors into ours."""
        return translated(self._errors)

    @contextmanager
    def migrating(self) -> Iterator[Engine]:
        """Lend an engine with long timeouts: another server may be changing the schema right now."""
        timeouts_ms = {"lock_timeout": MIGRATION_TIMEOUT_MS, "statement_timeout": MIGRATION_TIMEOUT_MS}
        engine = _engine(self._address, timeouts_ms, pool_size=1)
        reason = f"the tables in {self._address} are being upgraded, or another session has locked them"
        try:
            with _logged_after(UPGRADE_SILENCE_SECONDS, reason), opening(self._errors):
                yield engine
        finally:
            engine.dispose()

    def before_upgrade(self, before: str, after: str, *, is_asked: bool) -> None:
        """Refuse it unless the operator has asked for it: servers of the release before may be using the tables.

        It can wait, because the operator may be about to do so.
        """
        if not is_asked:
            text = (
                f"the tables in {self._address} have the schema {before!r}, and this release needs {after!r}: upgrade"
                " them by `lamina-server migrate` of this release, with a role that may change them; servers of the"
                " release before can go on meanwhile"
            )
            raise StoreNotReadyError(text)

    def new_ids(self, connection: Connection, table: str, count: int) -> list[int]:
        """Take ids from the table's sequence. While this transaction has the lock, nobody else takes any."""
        exchange = Exchange.of(connection)
        exchange.add(_NEW_IDS, (table, count))
        try:
            (answer,) = exchange.run()
        except psycopg.Error as error:
            raise self._errors.ours(error, _NEW_IDS)  # noqa: B904 - its cause is set
        return [id_ for (id_,) in answer.rows()]

    def try_ids(self, connection: Connection, table: str) -> None:
        """Check the right to use the table's sequence."""
        connection.exec_driver_sql(_TRY_IDS, {"table": table})

    def confirm_past(self, connection: Connection) -> None:
        """Write to the log, so that COMMIT waits until the standby has this and all that came before.

        An earlier COMMIT that lost its connection may have happened on the primary alone. A
        transaction that writes nothing would not wait for the standby.
        """
        connection.exec_driver_sql("SELECT pg_logical_emit_message(true, 'lamina', '')")

    def insert_new(self, table: Any) -> Insert:
        """Return an INSERT ON CONFLICT DO NOTHING: another server may be adding the same rows."""
        return insert(table).on_conflict_do_nothing()

    def insert(self, connection: Connection, statements: Iterable[Numbered], *, is_last: bool = False) -> None:
        """Run INSERTs. The last ones wait for the COMMIT, which is not done if one of them is refused."""
        exchange = Exchange.of(connection)
        try:
            for text, parameters in statements:
                if exchange.size > INSERTED_AT_ONCE_BYTES:
                    exchange.run()
                exchange.add(text, parameters)
            if not is_last:
                exchange.run()
        except psycopg.Error as error:
            raise self._errors.ours(error, "INSERT")  # noqa: B904 - its cause is set

    @contextmanager
    def _transaction(self, first: str, beginning: Beginning | None = None) -> Iterator[Connection]:
        """Lend a writer's connection in a transaction. It begins with the statements `first`; its end commits."""
        with self._begun(first, beginning) as connection:
            yield connection
            self._commit(connection)

    @contextmanager
    def _begun(self, first: str, beginning: Beginning | None = None) -> Iterator[Connection]:
        """Lend a writer's connection in a transaction, which is rolled back if it was not committed."""
        with ExitStack() as stack:
            connection = stack.enter_context(connected(self._writer, self._errors))
            if not self._begin(connection, first, beginning):
                # It died in the pool, and the other connections of the pool have probably died with it.
                connection.invalidate()
                self._writer.dispose()
                if self._is_closed:
                    self._writer.pool.dispose()
                connection = stack.enter_context(connected(self._writer, self._errors))
                if not self._begin(connection, first, beginning):
                    raise not_answered()
            yield connection

    def _begin(self, connection: Connection, first: str, beginning: Beginning | None) -> bool:
        """Begin a transaction, with one round trip; return whether the connection was still alive."""
        exchange = Exchange.of(connection)
        exchange.clear()  # of a transaction that was given up before its COMMIT
        begun = [_BEGIN, *first.split("; ")]
        for text in begun:
            exchange.add(text)
        questions = []
        if beginning is not None:
            questions = [(prepared(each, connection.dialect), each_of) for each, each_of in beginning.questions]
            for question, parameters in questions:
                exchange.add(*question.numbered(parameters))
            exchange.add(_NEW_IDS, beginning.ids)
        try:
            answers = exchange.run()[len(begun) :]
        except psycopg.Error as error:
            if _driver(connection).closed:
                return False
            raise self._errors.ours(error, exchange.refused or "")  # noqa: B904 - its cause is set
        if beginning is not None:
            *rows, ids = [each.rows() for each in answers]
            beginning.answers = [question.rows(each) for (question, _), each in zip(questions, rows, strict=True)]
            beginning.new_ids = [id_ for (id_,) in ids]
        return True

    def _commit(self, connection: Connection) -> None:
        """Commit, behind the last INSERTs; raise CommitUnknownError unless the server confirms it.

        The server answers ROLLBACK if the transaction has failed before. It answers COMMIT with a
        warning if somebody has cancelled its wait for the standby. If it says that it has refused
        a statement before the COMMIT, the COMMIT was not done.
        """
        exchange = Exchange.of(connection)
        exchange.add(_NO_TIMEOUT)
        exchange.add(_COMMIT)
        try:
            *_, answer = exchange.run()
        except psycopg.Error as error:
            if exchange.refused not in {None, _NO_TIMEOUT, _COMMIT}:
                raise self._errors.ours(error, "INSERT")  # noqa: B904 - its cause is set
            connection.invalidate()
            raise CommitUnknownError from error
        if answer.command != "COMMIT" or _CANCELLED_WAIT in exchange.warnings:
            connection.invalidate()
            raise CommitUnknownError

    def notices(self) -> PostgresqlNotices:
        """Return the notices to and from other servers, which use connections of their own."""
        return PostgresqlNotices(self._address)

    def state(self) -> StoreState:
        """Return which connections are in use."""
        return StoreState("postgresql", {"readers": in_use(self._readers), "writers": in_use(self._writer)})

    def close(self) -> None:
        """Close all connections. One that is in use is closed when it is given back."""
        self._is_closed = True  # first: a writer may be about to replace its pool
        for engine in (self._readers, self._writer):
            engine.pool.dispose()  # not the engine's `dispose`: a new pool would keep what is opened later


@contextmanager
def _logged_after(seconds: float, reason: str) -> Iterator[None]:
    """Log why the start waits, if the block takes longer than this."""
    timer = threading.Timer(seconds, _log.warning, ["waiting for the database"], {"reason": reason})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def _engine(address: PostgresqlAddress, settings: Settings, *, prepares: bool = True, **options: Any) -> Engine:
    """Make an engine. `prepares` says whether the driver keeps statements prepared by itself."""
    arguments = connect_arguments(address)
    if not prepares:
        arguments["prepare_threshold"] = None
    engine = create_engine(
        DRIVER_URL,
        connect_args=arguments,
        poolclass=ClosingPool,
        hide_parameters=True,  # they are people's values, and errors are logged
        max_overflow=0,  # the operator can then compute how many connections a server needs
        pool_use_lifo=True,  # the connections that are used most stay in use
        **options,
    )
    set_up_connections(engine, arguments, settings, refuse_lossy_server, refuse_unsafe_settings)
    return engine
