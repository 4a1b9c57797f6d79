"""Opens a database for looking at it beside its server, and leaves it as it is: no lock file, no checkpoint, no schema.

Each statement is a transaction of its own, so that a look of an hour keeps neither SQLite's log nor PostgreSQL's dead
rows from being cleared away. What it reads agrees all the same: rows are only ever added.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from lamina_server.domain.errors import HashMismatchError, Reason, UnavailableError
from lamina_server.models.queries import Statement
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.postgresql import sessions
from lamina_server.store.sql.migrations import current, newest
from lamina_server.store.sql.prepared import Rows

BUSY_SECONDS = 5.0
"""How long a statement waits for SQLite's lock; in WAL mode only recovery after a crash ever holds one."""

STATEMENT_TIMEOUT_MS = 600_000
"""No statement here holds up anybody; this is for a server that has gone."""

_PRAGMAS = (
    "trusted_schema=OFF",
    "cell_size_check=ON",
    f"busy_timeout={BUSY_SECONDS * 1000:.0f}",
    "query_only=ON",
    "wal_autocheckpoint=0",  # the server's connection alone checkpoints
)

_POSTGRESQL = {"default_transaction_read_only": "on", "statement_timeout": STATEMENT_TIMEOUT_MS}

_PRIMARY_CODE = 0xFF  # SQLite's extended error codes hold the primary one in their lowest byte
_SQLITE_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_POSTGRESQL_DAMAGED = ("XX001", "XX002")


class Inspection:
    """A database that is looked at."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, statement: Statement, **parameters: Any) -> Rows:
        """Run a statement and return all its rows.

        Raises HashMismatchError where the database finds itself damaged, UnavailableError where it does not answer.
        """
        try:
            return self._connection.execute(statement, parameters).all()
        except DBAPIError as error:
            if _is_damage(error):
                raise HashMismatchError("what the database stored") from error
            if isinstance(error, OperationalError):
                raise UnavailableError(Reason.STORE_UNAVAILABLE, "the database did not answer in time") from error
            raise


@contextmanager
def inspecting(url: str) -> Iterator[Inspection]:
    """Open the database with a SQLAlchemy URL, as `open_store` takes it, for reading alone.

    A PostgreSQL may be a standby, and its account one that may only read.

    Raises UnusableStoreError where there is none, or not with this release's tables.
    """
    engine = _engine(url)
    try:
        try:
            connection = engine.connect()
        except (DBAPIError, sqlite3.Error) as error:
            raise UnusableStoreError("the database cannot be opened for reading") from error
        with connection:
            if connection.dialect.name == "postgresql":
                sessions.refuse_unsafe_settings(connection)
            _check_schema(connection)
            yield Inspection(connection)
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UnusableStoreError("the database's address is not a URL such as sqlite:///lamina.db") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed)
        case "postgresql" | "postgres":
            return _postgresql(parsed)
        case name:
            raise UnusableStoreError(f"{name!r} is not a database that is known here: sqlite or postgresql")


def _sqlite(url: URL) -> Engine:
    if url.database in {None, "", ":memory:"}:
        raise UnusableStoreError("a database in memory is its server's alone, and gone with it")
    path = Path(str(url.database)).resolve()
    if not path.is_file():
        raise UnusableStoreError(f"there is no database {str(path)!r}")

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return connection

    return create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        sessions.driver_url(url),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args=sessions.connect_arguments(name=f"{sessions.APPLICATION_NAME} verify", standby_allowed=True),
    )
    sessions.set_up_connections(engine, _POSTGRESQL)
    return engine


def _check_schema(connection: Connection) -> None:
    try:
        revision = current(connection)
    except DatabaseError as error:
        raise UnusableStoreError("this is not a database that can be read") from error
    if revision is None:
        raise UnusableStoreError("the database has no tables of Lamina's")
    if revision != newest():
        raise UnusableStoreError(f"the tables are those of another release ({revision}): see `lamina-server migrate`")


def _is_damage(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        code: int | None = getattr(error.orig, "sqlite_errorcode", None)  # none where a text is not UTF-8
        return code is None or code & _PRIMARY_CODE in _SQLITE_DAMAGED
    return getattr(error.orig, "sqlstate", None) in _POSTGRESQL_DAMAGED
