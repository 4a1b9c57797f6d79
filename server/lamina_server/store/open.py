"""Open a store by its address."""

from pathlib import Path

from sqlalchemy import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from lamina_server.models import queries as shared
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql import revision
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.prepared import prepared
from lamina_server.store.sql.queries import versions as queries
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sql.writing import INSERTS
from lamina_server.store.sqlite.database import SqliteDatabase

READER_CONNECTIONS = 4


WAIT_SECONDS = 5.0


_POSTGRESQL = ("postgresql", "postgresql+psycopg", "postgres")


def open_store(
    url: str, *, reader_connections: int = READER_CONNECTIONS, wait_seconds: float = WAIT_SECONDS
) -> SqlStore:
    """Open the database with a SQLAlchemy URL, and bring its tables up to date.

    `sqlite:///relative.db`, `sqlite:////absolute.db`, `sqlite://` (in memory) or
    `postgresql://…`.

    reader_connections  how many reading blocks there can be at once
    wait_seconds        how long another one waits for its turn

    Raises UnusableStoreError.
    """
    database = _open_database(_parse(url), reader_connections=reader_connections, wait_seconds=wait_seconds)
    try:
        with database.migrating() as engine:
            if not revision.is_newest(engine):
                from lamina_server.store.sql.migrations import migrate  # noqa: PLC0415 - and Alembic with it

                migrate(engine)
            _compile(engine)
    except DBAPIError as error:
        database.close()
        raise UnusableStoreError("the database's tables could not be brought up to date") from error
    except BaseException:
        database.close()
        raise
    return SqlStore(database)


def _compile(engine: Engine) -> None:
    """Compile what the first requests will ask, so that they need not wait for it."""
    asked = (shared.head(), queries.header(), queries.heads(), queries.changed_keys_of_one(), queries.known_requests())
    read = (
        shared.keyframe(),
        shared.lines_with_values(),
        shared.line_ids(),
        shared.younger(),
        shared.younger_ids(),
    )
    for statement in (*asked, *read, *INSERTS):
        prepared(statement, engine.dialect)


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        # Its text stays with the cause: a URL may hold a password.
        raise UnusableStoreError("the database's address is not a URL such as sqlite:///lamina.db") from error


def _open_database(url: URL, *, reader_connections: int, wait_seconds: float) -> Database:
    if url.drivername == "sqlite":
        if url.query:
            raise UnusableStoreError("a sqlite:// URL takes no options here: how the file is used is not left open")
        in_memory = url.database in (None, "", ":memory:")
        path = None if in_memory else Path(str(url.database)).resolve()
        return SqliteDatabase(path, reader_connections=reader_connections, wait_seconds=wait_seconds)
    if url.drivername in _POSTGRESQL:
        from lamina_server.store.postgresql.database import PostgresqlDatabase  # noqa: PLC0415 - and its driver with it

        return PostgresqlDatabase(url, reader_connections=reader_connections, wait_seconds=wait_seconds)
    raise UnusableStoreError(f"{url.drivername!r} is not a database that is known here: sqlite or postgresql")
