"""The databases for tests of the models and the migrations: real ones of each kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Engine, create_engine

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
