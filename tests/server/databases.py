"""The databases for tests of the models and the migrations: real ones of each kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, Table, create_engine, text

from lamina_server.store.sql.migrations import _config

SQLITE_FILE, SQLITE_MEMORY, POSTGRESQL = "sqlite-file", "sqlite-memory", "postgresql"
_POSTGRESQL = pytest.param(POSTGRESQL, marks=pytest.mark.postgres)
ALL = (SQLITE_FILE, SQLITE_MEMORY, _POSTGRESQL)
ON_POSTGRESQL = pytest.mark.parametrize("engine", [_POSTGRESQL], indirect=True)
SHARED = (SQLITE_FILE, _POSTGRESQL)
"""The kinds to which several connections can be open."""
ONE = pytest.mark.parametrize("engine", [SQLITE_MEMORY], indirect=True)
"""For tests that do not depend on the kind of database."""


@contextmanager
def fresh_engine(kind: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Yield an engine without any setting of ours, over an empty database."""
    if kind == POSTGRESQL:
        url: str = request.getfixturevalue("postgres_url")
    elif kind == SQLITE_FILE:
        folder: Path = request.getfixturevalue("tmp_path")
        url = f"sqlite:///{folder / 'models.db'}"
    else:
        url = "sqlite://"
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


def migrate_to(engine: Engine, revision: str) -> None:
    """Make the tables that an older release would have made, in an empty database."""
    with engine.begin() as connection:
        command.upgrade(_config(connection), revision)


@contextmanager
def lawless(connection: Connection, table: Table) -> Iterator[None]:
    """Let rows be inserted into a table that its triggers would refuse."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield
        connection.execute(text("SET LOCAL session_replication_role = origin"))
        return
    found = text("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = :table")
    triggers = connection.execute(found, {"table": table.name}).all()
    for trigger in triggers:
        connection.execute(text(f"DROP TRIGGER {trigger.name}"))
    yield
    for trigger in triggers:
        connection.exec_driver_sql(trigger.sql)
