"""The one write lock of a shared database: a writer holds it before it numbers a version. Knows no table."""

from sqlalchemy import Connection, text

WRITE_LOCK_ID = 0x6C61_6D69_6E61  # "lamina"
"""The key of PostgreSQL's advisory lock, the same for every writer there will ever be."""

STAGING_LOCK_ID = WRITE_LOCK_ID + 1
"""The key of another one: a server holds it while it stages a large version, before it holds the write lock."""

COMPACTION_LOCK_ID = WRITE_LOCK_ID + 2
"""The key of the one that a compaction holds from its begin to its end. No commit needs it."""

_ADVISORY_LOCK = text("SELECT pg_advisory_xact_lock(:id)")


def lock_writers(connection: Connection) -> None:
    """Wait until no other transaction writes, and keep it so until this one ends.

    On PostgreSQL look at heads in a *later* statement: under READ COMMITTED that sees
    what was committed during the wait. On SQLite this begins the transaction, unless one
    is open; it goes round SQLAlchemy as the driver's own BEGIN does.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_ADVISORY_LOCK, {"id": WRITE_LOCK_ID})
    elif connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        if driver is not None and not driver.in_transaction:
            driver.execute("BEGIN IMMEDIATE")
