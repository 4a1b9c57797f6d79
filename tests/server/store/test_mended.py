"""A database that takes rights or tables away from a running server: it says what is missing, and works when mended."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from structlog.testing import capture_logs

from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG
from tests.server.bare_client import Refusal, Watching, Wire, refusal, running
from tests.support.postgres import Postgres

NO_TABLE = "Lamina's tables were dropped or changed, or the database was made anew"


def run(engine: Engine, *statements: str) -> None:
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def operator(postgres_url: str) -> Iterator[Engine]:
    """The owner of the tables."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def url(postgres: Postgres, postgres_url: str, operator: Engine) -> Iterator[str]:
    """The address for a role that owns nothing, and has the rights that the README names."""
    open_store(postgres_url).close()
    run(
        operator,
        "CREATE ROLE app LOGIN",
        "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO app",
        "REVOKE INSERT ON lamina_schema_version FROM app",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app",
    )
    yield make_url(postgres_url).set(username="app").render_as_string(hide_password=False)
    run(operator, "DROP OWNED BY app", "DROP ROLE app")


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[Wire]:
    """Run a server; see that it calls nothing a bug, and tells of each outage of its questions once."""
    with closing(open_store(url)) as store, capture_logs() as logged:
        async with running(store, news_interval_seconds=0.1) as wire:
            yield wire
    events = [each["event"] for each in logged]
    assert "bug" not in events
    assert events.count("news not read") <= 1 + events.count("news read again")


async def bookmarks(watching: Watching) -> None:
    """Read to the end, if there are no more changes."""
    while not (await watching.message()).changes:
        pass


def check(refused: Refusal, words: str) -> None:
    assert refused.reason.startswith("STORE_"), refused
    assert words in refused.text
    assert "nothing was written" in refused.text


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("broken", "mended", "words", "is_read"),
    [
        (
            "REVOKE INSERT ON config FROM app",
            "GRANT INSERT ON config TO app",
            "the role lacks a right: permission denied for table config (the server tried to INSERT)",
            True,
        ),
        (
            "REVOKE SELECT ON config FROM app",
            "GRANT SELECT ON config TO app",
            "the role lacks a right: permission denied for table config (the server tried to SELECT)",
            False,
        ),
        (
            "REVOKE USAGE ON SEQUENCE config_id_seq FROM app",
            "GRANT USAGE ON SEQUENCE config_id_seq TO app",
            "the role lacks a right: permission denied for sequence config_id_seq",
            True,
        ),
        (
            "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE ON SCHEMA public TO PUBLIC",
            "or the role lacks the right USAGE on their schema",
            False,
        ),
        ("ALTER TABLE config RENAME TO gone", "ALTER TABLE gone RENAME TO config", NO_TABLE, False),
        ("ALTER TABLE config RENAME author TO gone", "ALTER TABLE config RENAME gone TO author", NO_TABLE, True),
    ],
    ids=["insert", "select", "sequence", "schema", "table", "column"],
)
async def test_what_is_missing_has_words_and_is_mended(
    url: str, operator: Engine, broken: str, mended: str, words: str, is_read: bool
) -> None:
    async with serving(url) as wire:
        watching = wire.watch(CONFIG, after=0)
        await wire.commit(CONFIG, {"x": 1})
        assert await watching.numbers(1) == [1]
        assert await wire.map(CONFIG) == {"x": 1}  # which memory has from now on
        run(operator, broken)
        check(await refusal(wire.commit(CONFIG, {"x": 2})), words)
        if is_read:
            assert await wire.map(CONFIG) == {"x": 1}
        else:
            check(await refusal(wire.get(CONFIG)), words)
        run(operator, mended)
        assert (await wire.commit(CONFIG, {"x": 3})).version.version == 2
        assert await wire.map(CONFIG) == {"x": 3}
        assert await watching.numbers(2) == [2]


@pytest.mark.postgres
async def test_a_database_that_is_made_anew(postgres: Postgres, postgres_url: str) -> None:
    """P10, P13: no cursor is refused before there are tables again, which show that it is of another past."""
    async with serving(postgres_url) as wire:
        watching = wire.watch(CONFIG, after=0)
        version = [await wire.commit(CONFIG, {"x": number}) for number in (1, 2)][-1].version
        assert await watching.numbers(2) == [1, 2]
        name = make_url(postgres_url).database
        with postgres.connect() as operator:
            operator.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            check(await refusal(wire.commit(CONFIG, {"x": 3})), "there is no such database")
            operator.execute(f"CREATE DATABASE {name}".encode())
        check(await refusal(wire.commit(CONFIG, {"x": 3})), NO_TABLE)
        check(await refusal(wire.get(CONFIG, min_version=2)), NO_TABLE)
        open_store(postgres_url).close()  # as another server's start does
        assert (await refusal(wire.get(CONFIG, min_version=2))).reason == "CURSOR_AHEAD"
        base = {"base_version": version.version, "base_hash": version.hash}
        assert (await refusal(wire.commit(CONFIG, {"x": 3}, **base))).reason == "CURSOR_AHEAD"
        assert (await refusal(bookmarks(watching))).reason == "CURSOR_AHEAD"
        assert (await wire.commit(CONFIG, {"x": 4})).version.version == 1
        assert await wire.map(CONFIG) == {"x": 4}


@pytest.mark.parametrize(
    ("broken", "mended", "words"),
    [
        (
            "ALTER TABLE config_request RENAME TO gone",
            "ALTER TABLE gone RENAME TO config_request",
            "config_request",
        ),
        (
            "ALTER TABLE config_value RENAME kind TO gone",
            "ALTER TABLE config_value RENAME gone TO kind",
            "",
        ),
    ],
    ids=["table", "column"],
)
async def test_tables_that_another_program_changes(tmp_path: Path, broken: str, mended: str, words: str) -> None:
    """A SQLite file serves one server alone, so it stops; it is no bug, and a restart has definite words, too."""
    url = f"sqlite:///{tmp_path / 'lamina.db'}"
    with closing(sqlite3.connect(tmp_path / "lamina.db", isolation_level=None)) as operator:
        async with serving(url) as wire:
            await wire.commit(CONFIG, {"x": 1})
            operator.execute(broken)
            check(await refusal(wire.commit(CONFIG, {"x": 2})), "the server must be restarted, and its log says why")
            assert "another program wrote to" in await wire.application.failed
        if words:
            with pytest.raises(UnusableStoreError, match=words):
                open_store(url)
        operator.execute(mended)
    async with serving(url) as wire:
        assert (await wire.commit(CONFIG, {"x": 3})).version.version == 2
