"""What a SQL store needs of a database, whichever it is: connections, one write lock, and our words for its errors.

Knows no table. SQLite and PostgreSQL each have a module of their own that provides this.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.store.contract import Notices


class Database(Protocol):
    """Two kinds of connections to one database, and what differs between databases.

    Every method that lends a connection raises UnavailableError where there is none to be
    had. Statements are to be run within `asking`.

    is_shared   whether other servers may have it open
    has_failed  whether it takes nothing any more, until it is opened anew
    """

    is_shared: bool
    has_failed: bool

    def reading(self) -> AbstractContextManager[Connection]:
        """Lend a connection on which each statement is a transaction of its own.

        No snapshot is held: what lies below a head never changes, so that statements about
        a version agree with each other anyway; a long one would keep SQLite from
        checkpointing, and cost two round trips on PostgreSQL.
        """

    def writing(self) -> AbstractContextManager[Connection]:
        """Lend the connection whose transaction holds the write lock of all processes; its end commits.

        Raises at the end DiskFullError or CommitUnknownError.
        """

    def side_transaction(self) -> AbstractContextManager[Connection]:
        """Lend a connection with a transaction for what changes no answer; its end commits.

        Where the database lets it, beside a writer rather than in its way.
        """

    def asking(self) -> AbstractContextManager[None]:
        """Run a statement within this: it waits for its turn, and its errors become ours."""

    def migrating(self) -> AbstractContextManager[Engine]:
        """Lend an engine for a change of the schema, which may take its time."""

    def new_ids(self, connection: Connection, table: str, count: int) -> Sequence[int]:
        """Return ids for new rows of a table, rising above all that are there; under the write lock alone."""

    def together(self, connection: Connection) -> AbstractContextManager[object]:
        """Let INSERTs within this wait for their answers together; run it within `asking`."""

    def confirm_past(self, connection: Connection) -> None:
        """Make the end of this transaction confirm all earlier ones too, also where it inserts nothing."""

    def insert_new(self, table: Any) -> Any:
        """Return an INSERT into a table that passes over rows which are there already."""

    def notices(self) -> Notices | None:
        """Return a way to tell and hear of commits; None where no other server can have it open."""

    def close(self) -> None:
        """Close all connections, and let others open the database."""


class Translate(Protocol):
    """A dialect's table of errors."""

    def __call__(self, error: DBAPIError) -> Exception:
        """Return our error for a driver's, or the same where it can only be a bug of ours."""


def not_answered() -> UnavailableError:
    """Make the error for a database that is locked, slow or gone, before any COMMIT."""
    return UnavailableError(Reason.STORE_UNAVAILABLE, "the database did not answer in time; nothing was written")


class translated:  # noqa: N801 - it is used as a function; a class because every statement goes through it
    """Raise our errors instead of a driver's, whose words stay with the cause."""

    __slots__ = ("_translate",)

    def __init__(self, translate: Translate) -> None:
        self._translate = translate

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, DBAPIError):
            ours = self._translate(error)
            if ours is not error:
                # What a constraint refused is quoted by PostgreSQL, values and all: that may not get into a log.
                raise ours from (None if isinstance(error, IntegrityError) else error)
        elif isinstance(error, PoolTimeoutError):  # all connections are lent, and stayed so
            raise not_answered() from error


@contextmanager
def connected(engine: Engine, translate: Translate) -> Iterator[Connection]:
    """Lend a connection, and roll back what was not committed.

    An error in the block goes on as it is, even where the connection is too broken to be
    rolled back: what a lost connection had not committed is rolled back by the database.
    """
    with translated(translate):
        connection = engine.connect()
    try:
        yield connection
    finally:
        _give_back(connection)


def _give_back(connection: Connection) -> None:
    try:
        connection.rollback()
    except DBAPIError:
        connection.invalidate()
    connection.close()
