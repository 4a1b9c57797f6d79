"""Our tables in an empty SQLite file, made at once by the models.

The migrations would make the same tables, and a test compares them. But they need Alembic, whose import takes longer,
and more memory, than all the rest of a first start. PostgreSQL goes through the migrations: its database may have
tables of ours in another schema, or be empty for two servers at a time.
"""

from sqlalchemy import Connection, Engine

from lamina_server.models.locking import lock_writers
from lamina_server.models.tables import METADATA
from lamina_server.store.sql import revision
from lamina_server.store.sql.revision import NEWEST, VERSION_TABLE

_MAKE_VERSION_TABLE = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
    f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
)
"""As Alembic makes it, which reads it at the next migration."""


def create_if_empty(engine: Engine) -> bool:
    """Make the tables of this release in a SQLite file that has none, in one transaction; return whether it did."""
    if engine.dialect.name != "sqlite":
        return False
    with engine.begin() as connection:
        lock_writers(connection)
        if revision.table_names(revision.asking(connection), "sqlite"):
            return False
        METADATA.create_all(connection)
        _write_revision(connection)
    return True


def _write_revision(connection: Connection) -> None:
    connection.exec_driver_sql(_MAKE_VERSION_TABLE)
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES (?)", (NEWEST,))  # noqa: S608 - our own name
