"""The throw-away PostgreSQL of the tests survives a kill, as tests of faults need it."""

import pytest
from sqlalchemy import create_engine, text

from tests.support.postgres import Postgres


@pytest.mark.postgres
def test_postgres_comes_back_after_a_kill_with_what_it_had() -> None:
    with Postgres.start(in_memory=True) as postgres:
        url = postgres.new_database()
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE marker AS SELECT 28 AS value"))
        engine.dispose()
        for _ in range(3):
            postgres.kill()
            postgres.restart()
            with engine.connect() as connection:
                assert connection.execute(text("SELECT value FROM marker")).scalar_one() == 28
            engine.dispose()
