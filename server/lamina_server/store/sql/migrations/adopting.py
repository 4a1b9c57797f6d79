"""Tables of ours that no migration has made: those that `create_all` has made are taken over, and no others."""

import re
from collections.abc import Sequence

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from lamina_server.models.tables import METADATA
from lamina_server.models.triggers import statements
from lamina_server.models.views import VIEWS

_TRIGGERS = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'trigger'",
    "postgresql": (
        "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE NOT tgisinternal AND relnamespace = to_regnamespace(quote_ident(current_schema()))"
    ),
}

# The session looks in `public` unless the address names another schema.
_OTHER_SCHEMAS = text(
    "SELECT nspname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid"
    " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
    " WHERE tgname = 'config_value_insert_only' AND relname = 'config_value' AND nspname <> 'public'"
    " AND coalesce(current_schema(), 'public') = 'public' ORDER BY nspname"
)


def other_schemas(connection: Connection) -> Sequence[str]:
    """Return the other schemas of a PostgreSQL database that have tables of ours, if this session uses `public`."""
    return connection.execute(_OTHER_SCHEMAS).scalars().all() if connection.dialect.name == "postgresql" else ()


def is_newest(connection: Connection) -> bool:
    """Return whether all our tables, triggers and views are there, as this release's create_all makes them."""
    return (
        _triggers(connection) >= _expected_triggers(connection.dialect.name)
        and set(inspect(connection).get_view_names()) >= set(VIEWS)
        and not _differences(connection)
    )


def _differences(connection: Connection) -> list[object]:
    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in METADATA.tables

    context = MigrationContext.configure(connection, opts={"include_name": is_ours})
    return list(compare_metadata(context, METADATA))


def _triggers(connection: Connection) -> set[str]:
    return set(connection.execute(text(_TRIGGERS[connection.dialect.name])).scalars())


def _expected_triggers(dialect: str) -> set[str]:
    made: set[str] = set()
    for statement in (each for table in METADATA.tables.values() for each in statements(dialect, table)):
        made |= set(re.findall(r"^CREATE TRIGGER (\w+)", statement))
        made -= set(re.findall(r"^DROP TRIGGER (\w+)", statement))
    return made
