"""Opens a database beside its server for reading, and changes nothing: no checkpoint, no schema.

Each statement is a transaction of its own, so that an hour of reading does not keep SQLite's log or PostgreSQL's dead
rows from being cleared away. What it reads still agrees: rows are only ever added.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Executable, NullPool, create_engine

from lamina_server.store.address import PostgresqlAddress, SqliteAddress, parse, resolved
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.postgresql.errors import PostgresqlErrors
from lamina_server.store.postgresql.sessions import (
    DRIVER_URL,
    connect_arguments,
    refuse_unsafe_settings,
    set_up_connections,
)
from lamina_server.store.sql.database import Errors, opening, translated
from lamina_server.store.sql.prepared import Rows
from lamina_server.store.sql.revision import NEWEST, asking, recorded
from lamina_server.store.sqlite.errors import SqliteErrors
from lamina_server.store.sqlite.sessions import lend_reader

STATEMENT_TIMEOUT_MS = 600_000
"""No statement here blocks another session. This is for a PostgreSQL that no longer answers."""

_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": STATEMENT_TIMEOUT_MS}


class Inspection:
    """A database that is open for reading.

    dialect  `sqlite` or `postgresql`
    """

    def __init__(self, connection: Connection, errors: Errors) -> None:
        self._connection = connection
        self._errors = errors
        self.dialect = connection.dialect.name

    def ask(self, statement: Executable, **parameters: Any) -> Rows:
        """Run a statement and return all its rows.

        Raises HashMismatchError where the database finds itself damaged, UnavailableError where it does not answer.
        """
        with translated(self._errors):
            return self._connection.execute(statement, parameters).all()


@contextmanager
def inspecting(url: str) -> Iterator[Inspection]:
    """Open the database at an address for reading alone.

    A PostgreSQL may be a standby, and its account one that may only read.

    Raises DatabaseAddressError, or UnusableStoreError where there is no database with this release's tables.
    """
    address = parse(url)
    with _sqlite(address) if isinstance(address, SqliteAddress) else _postgresql(address) as (connection, errors):
        with opening(errors):
            _check_schema(connection)
        yield Inspection(connection, errors)


@contextmanager
def _sqlite(address: SqliteAddress) -> Iterator[tuple[Connection, Errors]]:
    if address.path is None:
        raise UnusableStoreError("a database in memory is its server's alone, and gone with it")
    path = resolved(address.path)
    if not path.is_file():
        raise UnusableStoreError(f"there is no database {str(path)!r}")
    with lend_reader(path) as driver, _engine("sqlite://", creator=lambda: driver).connect() as connection:
        yield connection, SqliteErrors(path)


@contextmanager
def _postgresql(address: PostgresqlAddress) -> Iterator[tuple[Connection, Errors]]:
    arguments = connect_arguments(address, purpose="verify", standby_allowed=True)
    engine = _engine(DRIVER_URL, connect_args=arguments)
    set_up_connections(engine, arguments, _SETTINGS, refuse_unsafe_settings)
    errors = PostgresqlErrors(address)
    with opening(errors):
        connection = engine.connect()
    with connection:
        yield connection, errors


def _engine(driver_url: str, **options: Any) -> Engine:
    return create_engine(driver_url, poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True, **options)


def _check_schema(connection: Connection) -> None:
    revision = recorded(asking(connection), connection.dialect.name)
    if revision is None:
        raise UnusableStoreError("the database has no tables of Lamina's")
    if revision != NEWEST:
        raise UnusableStoreError(f"the tables are those of another release ({revision}): see `lamina-server migrate`")
