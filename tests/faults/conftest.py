"""A PostgreSQL that may be killed, apart from the one that the other tests share."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import absent
from tests.support.postgres import Postgres, PostgresAbsentError
from tests.support.server import ServerProcess

# Other tests fork their servers. A server that is broken here is a program of its own, as in production.
ServerProcess.forks = False


@pytest.fixture(scope="package")
def mortal_postgres() -> Iterator[Postgres]:
    """One cluster for this folder alone."""
    try:
        cluster = Postgres.start(in_memory=True)
    except PostgresAbsentError as error:
        absent("PostgreSQL", f"{error} (Debian: apt install postgresql)")
    with cluster:
        yield cluster


@pytest.fixture
def seed() -> int:
    """A new seed for each run; a failure prints it."""
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    return seed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the histories of a run go."""
    histories = tmp_path / "histories"
    histories.mkdir()
    return histories
