"""The kinds of stores under test: how each is opened, what it can do, and how its rows are damaged."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lamina_server.store.contract import Store
from lamina_server.store.sql.store import SqlStore


class Capability(Enum):
    """What a kind of store can do. The text is the reason why a test of it is skipped on other stores."""

    KEEPS = "what is in memory goes when it is closed"
    ROWS = "there are no rows that could be damaged"
    READS_BESIDE_WRITER = "over one connection a reader waits until the writing block has ended"
    SHARED = "one server alone has this store"


@dataclass(frozen=True)
class Place:
    """Where a store is. When it is opened again, it has the same data if it KEEPS."""

    open: Callable[[], Store]
    capabilities: frozenset[Capability]

    def need(self, *capabilities: Capability) -> None:
        """Skip the test if the store lacks one of these capabilities."""
        for capability in capabilities:
            if capability not in self.capabilities:
                pytest.skip(capability.value)


@contextmanager
def rows_of(store: Store) -> Iterator[Connection]:
    """Lend a connection without triggers and constraints: a failing disk does not obey them."""
    assert isinstance(store, SqlStore)
    with store._database.migrating() as engine, engine.begin() as connection:
        lawless = _lawless_postgresql if connection.dialect.name == "postgresql" else _lawless_sqlite
        with lawless(connection):
            yield connection


@contextmanager
def _lawless_postgresql(connection: Connection) -> Iterator[None]:
    connection.execute(text("SET LOCAL session_replication_role = replica"))
    checks = connection.execute(
        text(
            "SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
            " WHERE conrelid = 'config_value'::regclass AND contype = 'c'"
        )
    ).all()
    for check in checks:
        connection.execute(text(f"ALTER TABLE config_value DROP CONSTRAINT {check.name}"))
    yield
    for check in checks:
        definition = check.definition.removesuffix(" NOT VALID")
        connection.execute(text(f"ALTER TABLE config_value ADD CONSTRAINT {check.name} {definition} NOT VALID"))


@contextmanager
def _lawless_sqlite(connection: Connection) -> Iterator[None]:
    triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
    for trigger in triggers:
        connection.execute(text(f"DROP TRIGGER {trigger.name}"))
    connection.execute(text("PRAGMA foreign_keys = OFF"))
    connection.execute(text("PRAGMA ignore_check_constraints = ON"))
    yield
    connection.execute(text("PRAGMA ignore_check_constraints = OFF"))
    connection.execute(text("PRAGMA foreign_keys = ON"))
    for trigger in triggers:
        connection.exec_driver_sql(trigger.sql)


def damage(store: Store, statement: str, **parameters: Any) -> None:
    """Change rows of a store by SQL; at least one must change."""
    with rows_of(store) as connection:
        assert connection.execute(text(statement), parameters).rowcount > 0
