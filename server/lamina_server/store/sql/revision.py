"""Which revision a database's schema has. Does not use Alembic, whose import takes longer than opening the database.

The revision is in a table with a name of our own. Alembic's usual name may be taken: by another application that has
its tables in the same schema. Development versions of Lamina used that name, too. So the table of that name is read
only beside all of our tables, and believed only if it names one of our revisions.
"""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from lamina_server.models.tables import CUTS, METADATA, POINTS, SECRET_KEYS
from lamina_server.store.contract import UnusableStoreError

VERSION_TABLE = "lamina_schema_version"
OLD_VERSION_TABLE = "alembic_version"

KNOWN = ("0001", "0002", "0003", "0004")
"""The revisions that this release can serve or upgrade, in order. A test compares them with the migrations."""
NEWEST = KNOWN[-1]

OURS = frozenset(METADATA.tables)
_FIRST = OURS - {SECRET_KEYS.name, CUTS.name, POINTS.name}
"""The tables that the first revision has."""

Ask: TypeAlias = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement and returns its rows."""

_TABLE_NAMES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, 7) <> 'sqlite_'",
    "postgresql": (
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
        " AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
    ),
}

_REVISIONS = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - our own name
_OLD_REVISIONS = f"SELECT * FROM {OLD_VERSION_TABLE} LIMIT 2"  # noqa: S608 - its columns may be anything

# No row is read, but a table that is missing is an error.
_ALL_TABLES = f"SELECT 1 FROM {', '.join(sorted(OURS))} WHERE 1 = 0"  # noqa: S608 - our own names
_REVISIONS_AND_TABLES = f"{_REVISIONS} WHERE NOT EXISTS ({_ALL_TABLES})"


def is_newest(engine: Engine) -> bool:
    """Return whether there is nothing to migrate, and all our tables are there."""
    try:
        with engine.connect() as connection:
            return list(connection.exec_driver_sql(_REVISIONS_AND_TABLES).scalars()) == [NEWEST]
    except DBAPIError:  # no such table; the migration reports any other problem
        return False


def recorded(ask: Ask, dialect: str) -> str | None:
    """Return the revision of a database's schema; None if no migration has made it.

    Raises UnusableStoreError if this release does not know the revision, or if there are several.
    """
    names = table_names(ask, dialect)
    return own(ask, names) or old(ask, names)


def asking(connection: Connection) -> Ask:
    """Return what runs statements on a connection."""
    return lambda statement: connection.exec_driver_sql(statement).all()


def table_names(ask: Ask, dialect: str) -> AbstractSet[str]:
    """Return the names of all tables in the session's schema, whoever made them."""
    return {name for (name,) in ask(_TABLE_NAMES[dialect])}


def own(ask: Ask, names: AbstractSet[str]) -> str | None:
    """Return the revision in our version table, if it is among the tables with these names."""
    revisions = [row[0] for row in ask(_REVISIONS)] if VERSION_TABLE in names else []
    if len(revisions) > 1:
        text = (
            f"the table {VERSION_TABLE} must have one row, and has the revisions {', '.join(sorted(revisions))}:"
            " restore a backup, or delete the rows of the revisions that the tables do not have"
        )
        raise UnusableStoreError(text)
    if revisions and revisions[0] not in KNOWN:
        text = (
            f"the database's schema {revisions[0]!r} is not known to this release, whose newest is {NEWEST!r}: use a"
            " newer release, or restore a backup from before the upgrade"
        )
        raise UnusableStoreError(text)
    return revisions[0] if revisions else None


def old(ask: Ask, names: AbstractSet[str]) -> str | None:
    """Return the revision in the version table of a development version; None if it is another application's."""
    if OLD_VERSION_TABLE not in names or not names >= _FIRST:
        return None
    rows = ask(_OLD_REVISIONS)
    return rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 and rows[0][0] in KNOWN else None
