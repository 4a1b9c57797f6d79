"""Whether the database takes commits, tried without writing anything. Knows no dialect."""

from sqlalchemy import Connection

from lamina_server.models.tables import CUTS, METADATA, POINTS
from lamina_server.store.sql.database import Database

_COMPACTED = {CUTS.name, POINTS.name}
"""The tables that compaction alone adds to, perhaps with rights that a server lacks."""
_INSERTS = [
    (f"INSERT INTO {table} SELECT * FROM {table} WHERE false", ())  # noqa: S608 - our names
    for table in METADATA.tables
    if table not in _COMPACTED
]
_TABLES_WITH_IDS = tuple(name for name, table in METADATA.tables.items() if "id" in table.c)


def try_inserts(connection: Connection, database: Database) -> None:
    """Insert no row into each table. So each lock is taken and each right is checked, as for a commit.

    Raises as a commit would.
    """
    with database.statement("trial"):
        database.insert(connection, _INSERTS)
    with database.statement("trial"):
        for table in _TABLES_WITH_IDS:
            database.try_ids(connection, table)
