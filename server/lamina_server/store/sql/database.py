"""What a SQL store needs from its database: connections, one write lock, and errors in our words. Knows no table.

SQLite and PostgreSQL each have a module that provides this.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, QueuePool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from lamina_server.store.contract import Notices, StoreNotReadyError, StoreState, UnansweredError, UnusableStoreError
from lamina_server.store.sql.beginning import Beginning
from lamina_server.store.sql.prepared import Numbered


class Staging(Protocol):
    """A place for the rows of one version, which no other session can see.

    is_in_tables  whether the rows are in their tables, in a transaction without the write lock; else `copy` brings them
    """

    is_in_tables: bool

    def connection(self) -> AbstractContextManager[Connection]:
        """Lend the connection of that transaction. Only where the rows are in their tables."""

    def add(self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows of a table.

        Raises OvertakenError if another writer waits for this transaction.
        """

    def copy(self, connection: Connection, table: str, columns: Sequence[str], same: Mapping[str, Any]) -> int:
        """Copy the rows into their table, within `writing` and `statement()`; return how many they are.

        Only where they are not there already.

        same  columns that have the same value in each row
        """

    def wait(self) -> None:
        """Return when `writing` or `end` has ended, or when another writer waits for this transaction."""

    def writing(self) -> AbstractContextManager[Connection]:
        """Lend the connection with the write lock, as Database.writing does, once.

        Raises OvertakenError if another writer waited for this transaction.
        """

    def end(self) -> None:
        """Give up the rows, unless `writing` has them. Never blocks."""


class Database(Protocol):
    """Two kinds of connections to one database, and the differences between databases.

    Every method that lends a connection raises UnavailableError if it gets none in time.
    Run each statement within `statement()`.

    is_shared  whether other servers may have the database open
    failure    why it refuses all reads and writes until it is opened again; empty while it works
    """

    is_shared: bool
    failure: str

    def reading(self) -> AbstractContextManager[Connection]:
        """Lend a connection on which each statement is a transaction of its own.

        There is no common snapshot. A version never changes, so statements about it agree
        with each other. A long snapshot would keep SQLite from checkpointing, and would
        cost two more round trips on PostgreSQL.
        """

    def writing(self, beginning: Beginning | None = None) -> AbstractContextManager[Connection]:
        """Lend the connection whose transaction holds the write lock of all processes; its end commits.

        It may answer the questions of a beginning. Raises at the end DiskFullError or CommitUnknownError, or what the
        last inserts raise.
        """

    def staging(self) -> AbstractContextManager[Staging]:
        """Lend a place for the rows of one version; at its end it is gone.

        Waits while another server stages one.
        """

    def side_transaction(self) -> AbstractContextManager[Connection]:
        """Lend a connection in a transaction for rows that change no answer; its end commits.

        If the database can do so, it runs at the same time as a writer.
        """

    def trial(self) -> AbstractContextManager[Connection | None]:
        """Lend a connection in a transaction that may insert, and that is always rolled back.

        It does not have the write lock, or does not wait for it: None if a writer of this
        process holds what both need.
        """

    def statement(self, operation: str = "select") -> AbstractContextManager[None]:
        """Return the context of one statement: it waits for its turn, and turns the driver's errors into ours.

        operation  what it does, for those who measure
        """

    def migrating(self) -> AbstractContextManager[Engine]:
        """Lend an engine for a change of the schema, with long timeouts.

        Raises UnusableStoreError if a statement fails within.
        """

    def before_upgrade(self, before: str, after: str, *, is_asked: bool) -> Path | None:
        """Prepare to upgrade the schema from one revision to another, in the transaction that will.

        Return the file of a backup, where one was made.

        is_asked  whether the operator has asked for it: other servers may be using the database

        Raises UnusableStoreError where it must not be upgraded now.
        """

    def new_ids(self, connection: Connection, table: str, count: int) -> Sequence[int]:
        """Return rising ids for new rows of a table, above all ids in it. Needs the write lock."""

    def try_ids(self, connection: Connection, table: str) -> None:
        """Raise what `new_ids` would raise if the account may not take any; take none."""

    def insert(self, connection: Connection, statements: Iterable[Numbered], *, is_last: bool = False) -> None:
        """Run INSERTs, within `statement()`. The last ones of `writing` may be sent with the COMMIT."""

    def confirm_past(self, connection: Connection) -> None:
        """Make the end of this transaction confirm all earlier ones too, even if it inserts nothing."""

    def insert_new(self, table: Any) -> Any:
        """Return an INSERT into a table that skips the rows which are there already."""

    def notices(self) -> Notices | None:
        """Return the notices to and from other servers; None if no other server can have the database open."""

    def state(self) -> StoreState:
        """Return what is used now. Asks no database, but may ask the file system."""

    def close(self) -> None:
        """Close all connections, and let others open the database."""


class Errors(Protocol):
    """What a database's errors mean."""

    def translate(self, error: DBAPIError) -> Exception:
        """Return our error for a driver's, with its cause set; or the same, where it can only be a bug of ours."""

    def unusable(self, error: BaseException) -> UnusableStoreError:
        """Return what an error means for the operator, who wants to use the database."""


def caused(error: Exception, cause: BaseException | None) -> Exception:
    """Set what an error comes from, which a log may name. With None it hides what is handled at this moment."""
    error.__cause__ = cause  # which hides the context, too
    return error


def not_answered(why: str = "the connection was lost", *, lasts: bool = False) -> UnansweredError:
    """Return the error for a database that is locked, slow, gone or refuses, before any COMMIT."""
    return UnansweredError(why, lasts=lasts)


class translated:  # noqa: N801 - used as a function; a class is faster, and every statement goes through it
    """Raise our errors instead of a driver's, which stays as the cause."""

    __slots__ = ("_errors",)

    def __init__(self, errors: Errors) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DBAPIError):
            ours = self._errors.translate(error)
            if ours is not error:
                raise ours
        elif isinstance(error, PoolTimeoutError):  # no connection was given back in time
            raise not_answered("all connections to it are in use") from error
        elif isinstance(error, UnusableStoreError):  # it has become a database that must not be used
            raise not_answered(str(error), lasts=not isinstance(error, StoreNotReadyError)) from error


@contextmanager
def opening(errors: Errors) -> Iterator[None]:
    """Raise UnusableStoreError where the driver fails within."""
    try:
        yield
    except DBAPIError as error:
        raise errors.unusable(error) from error


@contextmanager
def connected(engine: Engine, errors: Errors) -> Iterator[Connection]:
    """Lend a connection, and roll back what was not committed.

    An error in the block is raised unchanged, even if the connection is too broken for a
    rollback. The database itself rolls back the transaction of a lost connection.
    """
    with translated(errors):
        connection = engine.connect()
    try:
        yield connection
    finally:
        _give_back(connection)


def in_use(engine: Engine) -> tuple[int, int]:
    """Return how many connections of an engine are in use, and how many there may be."""
    assert isinstance(engine.pool, QueuePool)
    return engine.pool.checkedout(), engine.pool.size()


def _give_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()
    connection.close()
