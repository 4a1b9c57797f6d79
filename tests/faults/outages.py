"""How a PostgreSQL goes away for a while, and comes back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import make_url

from tests.support.postgres import Postgres


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection[Any]]:
    database = make_url(url)
    host = str(database.query["host"])
    with psycopg.connect(host=host, user=database.username, dbname=database.database, autocommit=True) as connection:
        yield connection


@contextmanager
def frozen(postgres: Postgres, _: str) -> Iterator[None]:
    with postgres.frozen():
        yield


@contextmanager
def stopped(postgres: Postgres, _: str) -> Iterator[None]:
    postgres.kill()
    try:
        yield
    finally:
        postgres.restart()
