"""Stores and servers for the tests of the server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url

from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from tests.server.bare_client import Wire, running
from tests.server.sessions import Operator
from tests.support.postgres import Postgres


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A PostgreSQL database with our tables, as a template: to make the tables takes longer than most tests."""
    url = postgres.new_database()
    open_store(url).close()
    return url


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of each kind."""
    match request.param:
        case "memory":
            yield MemoryStore()
        case "sqlite":
            opened = open_store(f"sqlite:///{tmp_path}/lamina.db")
            yield opened
            opened.close()
        case "postgresql":
            postgres: Postgres = request.getfixturevalue("postgres")
            url = postgres.new_database(template_url=request.getfixturevalue("postgres_template"))
            opened = open_store(url)
            yield opened
            opened.close()
            postgres.drop_database(url)


@pytest.fixture
async def wire(store: Store) -> AsyncIterator[Wire]:
    """A connection to a server over the store, with default settings."""
    async with running(store) as wire:
        yield wire


@pytest.fixture
def operator(postgres_url: str) -> Iterator[Operator]:
    """The operator of the cluster and of the test's database."""
    url = make_url(postgres_url)
    engine = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    yield Operator(engine, str(url.database))
    engine.dispose()
