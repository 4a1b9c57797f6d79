"""The databases that tests of the models and migrations run on: real ones of each kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

SQLITE_FILE, SQLITE_MEMORY, POSTGRESQL = "sqlite-file", "sqlite-memory", "postgresql"
_POSTGRESQL = pytest.param(POSTGRESQL, marks=pytest.mark.postgres)
ALL = (SQLITE_FILE, SQLITE_MEMORY, _POSTGRESQL)
ON_POSTGRESQL = pytest.mark.parametrize("engine", [_POSTGRESQL], indirect=True)
SHARED = (SQLITE_FILE, _POSTGRESQL)
"""Those that several connections can be open to."""
ONE = pytest.mark.parametrize("engine", [SQLITE_MEMORY], indirect=True)
"""For tests of what is decided before a database hears of it, or after."""


@contextmanager
def fresh_engine(kind: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Give an engine, as plain as the recipe's, over an empty database."""
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
