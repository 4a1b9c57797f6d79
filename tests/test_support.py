"""The throw-away PostgreSQL is what the tests take it for."""

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from tests.support.postgres import Postgres


def _read(url: str, statement: str) -> object:
    engine = create_engine(url)
    with engine.connect() as connection:
        value: object = connection.execute(text(statement)).scalar_one()
    engine.dispose()
    return value


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_postgres_is_as_durable_as_in_production(postgres_url: str, setting: str) -> None:
    assert _read(postgres_url, f"SHOW {setting}") == "on"


def test_postgres_database_is_utf8_and_empty(postgres_url: str) -> None:
    assert _read(postgres_url, "SHOW server_encoding") == "UTF8"
    assert _read(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_postgres_copies_a_database_and_drops_it_under_a_connection(postgres: Postgres, postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE marker AS SELECT 28 AS value"))
    engine.dispose()  # a database that somebody is connected to cannot be copied

    copy = postgres.new_database(template_url=postgres_url)
    assert _read(copy, "SELECT value FROM marker") == 28

    url = make_url(copy)
    with psycopg.connect(host=str(url.query["host"]), user=url.username, dbname=url.database) as left_open:
        postgres.drop_database(copy)
        with pytest.raises(psycopg.OperationalError):
            left_open.execute("SELECT 1")
