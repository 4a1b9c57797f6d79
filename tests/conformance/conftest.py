"""One `store` fixture for all kinds of stores, and the operator's own connection to PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, create_engine

from lamina_server.models import Base
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from lamina_server.store.postgresql.sessions import connect_arguments
from tests.conformance.places import Capability, Place
from tests.support.postgres import Postgres, postgresql_address

MEMORY, SQLITE_FILE, SQLITE_MEMORY, POSTGRESQL = "memory", "sqlite-file", "sqlite-memory", "postgresql"

EMPTY = "; ".join(
    [
        "SET LOCAL session_replication_role = replica",  # past the triggers that refuse it
        *(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)),
    ]
)
"""One message, because every test on PostgreSQL begins with it."""


@pytest.fixture(scope="session")
def shared_database_url(postgres: Postgres) -> str:
    """The URL of the one PostgreSQL database of this suite: making one for each test would take most of its time."""
    url = postgres.new_database()
    open_store(url).close()
    return url


@pytest.fixture
def database_url(shared_database_url: str) -> str:
    """The URL of a PostgreSQL database with our tables, and nothing in them."""
    with psycopg.connect(**connect_arguments(postgresql_address(shared_database_url))) as connection:
        connection.execute(EMPTY)
    return shared_database_url


@pytest.fixture(params=[MEMORY, SQLITE_FILE, SQLITE_MEMORY, pytest.param(POSTGRESQL, marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place for a store of each kind."""
    rows, keeps, beside = Capability.ROWS, Capability.KEEPS, Capability.READS_BESIDE_WRITER
    match request.param:
        case "memory":
            return Place(MemoryStore, frozenset({beside}))
        case "sqlite-file":
            return Place(lambda: open_store(f"sqlite:///{tmp_path}/lamina.db"), frozenset({rows, keeps, beside}))
        case "sqlite-memory":
            return Place(lambda: open_store("sqlite://"), frozenset({rows}))
        case _:
            url: str = request.getfixturevalue("database_url")
            return Place(lambda: open_store(url), frozenset({rows, keeps, beside, Capability.SHARED}))


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    """An empty store of each kind."""
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def operator(database_url: str) -> Iterator[Engine]:
    """The operator's own connection to the database."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()
