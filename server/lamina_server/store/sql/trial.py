"""Whether the database takes commits, tried without writing anything. Knows no dialect."""

from sqlalchemy import Connection

from lamina_server.models.tables import METADATA
from lamina_server.store.sql.database import Database

_INSERTS = [(f"INSERT INTO {table} SELECT * FROM {table} WHERE false", ()) for table in METADATA.tables]  # noqa: S608 - our names
_TABLES_WITH_IDS = tuple(name for name, table in METADATA.tables.items() if "id" in table.c)


def try_inserts(connection: Connection, database: Database) -> None:
    """Insert no row into each table. So each lock is taken and each right is checked, as for a commit.

    Raises as a commit would.
    """
    with database.statement():
        database.insert(connection, _INSERTS)
    with database.statement():
        for table in _TABLES_WITH_IDS:
            database.try_ids(connection, table)
