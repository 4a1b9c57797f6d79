"""Triggers that let a table take INSERTs and nothing else, from any program that connects. Knows no session.

Two tables also let rows go that compaction takes away: see compaction_only.py.

They are made with the tables, by create_all and by the migrations alike. What each database refuses:

    SQLite       UPDATE and DELETE of a row; INSERT over a row, as INSERT OR REPLACE and ON CONFLICT
                 DO UPDATE would do it, which no DELETE trigger notices unless recursive_triggers is on
    PostgreSQL   UPDATE (so ON CONFLICT DO UPDATE as well), DELETE and TRUNCATE, even of no row;
                 there is no REPLACE, and an INSERT over a row meets its UNIQUE

Either way the driver raises an IntegrityError.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, PrimaryKeyConstraint, Table, UniqueConstraint, event, text

from lamina_server.models.compaction_only import compaction_only

Keys = Sequence[Sequence[str]]

_POSTGRESQL_FUNCTION = """\
CREATE OR REPLACE FUNCTION lamina_insert_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE restrict_violation USING MESSAGE = 'lamina: ' || TG_OP || ' on ' || TG_TABLE_NAME || ', which is insert-only';
END
$$"""


def insert_only(dialect: str, table: str, keys: Keys) -> Iterator[str]:
    """Yield the statements that make a table insert-only.

    Migrations call this too. So once released, what it yields never changes: databases that
    exist would keep the old triggers. A change is a new function and a new migration.

    keys  the columns of its primary key and of each UNIQUE
    """
    if dialect == "postgresql":
        yield _POSTGRESQL_FUNCTION
        yield (
            f"CREATE TRIGGER {table}_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION lamina_insert_only()"
        )
    elif dialect == "sqlite":
        yield _sqlite_trigger(table, "UPDATE")
        yield _sqlite_trigger(table, "DELETE")
        same = (" AND ".join(f"{column} = NEW.{column}" for column in key) for key in keys)
        # One lookup in one index for each key; a rowid that SQLite is still to choose is -1 here, which no row has.
        over = " OR ".join(f"EXISTS (SELECT 1 FROM {table} WHERE {condition})" for condition in same)  # noqa: S608 - our names
        yield _sqlite_trigger(table, "INSERT", f" WHEN {over}", " over a row")


def attach(table: Table) -> None:
    """Make a table insert-only whenever it is created."""
    event.listen(table, "after_create", _create)


def statements(dialect: str, table: Table) -> Iterator[str]:
    """Yield the statements that make all triggers of a table, as this release has them."""
    yield from insert_only(dialect, table.name, keys_of(table))
    yield from compaction_only(dialect, table.name)


def keys_of(table: Table) -> Keys:
    """Return the columns of a table's primary key and of each UNIQUE."""
    constraints = [one for one in table.constraints if isinstance(one, PrimaryKeyConstraint | UniqueConstraint)]
    return sorted(one.columns.keys() for one in constraints)


def _create(table: Table, connection: Connection, **_options: Any) -> None:
    for statement in statements(connection.dialect.name, table):
        connection.execute(text(statement))


def _sqlite_trigger(table: str, verb: str, when: str = "", over: str = "") -> str:
    return (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table}{when}"
        f" BEGIN SELECT RAISE(ABORT, 'lamina: {verb}{over} on {table}, which is insert-only'); END"
    )
