"""The schema's revision is in a table of our own, and nothing that another application keeps is taken for it."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, inspect, text

from lamina_server.models import Base
from lamina_server.models.views import drop_views
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sql.migrations import migrate
from lamina_server.store.sql.revision import NEWEST, OURS
from lamina_server.store.sqlite.backup import back_up
from lamina_server.store.verify.inspection import inspecting
from tests.conformance.commits import CONFIG, commit, map_at, values
from tests.server import databases

VERSION_TABLE = "CREATE TABLE alembic_version (version_num VARCHAR({width}) NOT NULL PRIMARY KEY)"
AS_OURS = [VERSION_TABLE.format(width=32), "INSERT INTO alembic_version VALUES ('0002')"]

FOREIGN = {
    "same revision": AS_OURS,
    "other revision": [VERSION_TABLE.format(width=32), "INSERT INTO alembic_version VALUES ('ae1027a6acf')"],
    "two rows": [*AS_OURS, "INSERT INTO alembic_version VALUES ('0001')"],
    "no row": AS_OURS[:1],
    "wider column": [VERSION_TABLE.format(width=255), f"INSERT INTO alembic_version VALUES ('{'x' * 200}')"],
    "other columns": ["CREATE TABLE alembic_version (id INTEGER, revision TEXT)"],
    "view": ["CREATE VIEW alembic_version AS SELECT '0002' AS version_num"],
}
"""What another application may have under Alembic's usual name."""


@pytest.fixture(params=databases.SHARED)
def url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database."""
    if request.param == databases.POSTGRESQL:
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{request.getfixturevalue('tmp_path') / 'lamina.db'}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """An operator's own connections to it."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def run(engine: Engine, statements: Iterable[str]) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def rows(engine: Engine, table: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))]


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def make_as_before(engine: Engine, revision: str = NEWEST) -> None:
    """Make the tables as a development version did, whose revision was in Alembic's usual table."""
    migrate(engine)
    run(engine, ["DROP TABLE lamina_schema_version", AS_OURS[0]])
    run(engine, [f"INSERT INTO alembic_version VALUES ('{revision}')"])


def refusal(url: str) -> str:
    with pytest.raises(UnusableStoreError) as refused:
        open_store(url)
    return str(refused.value)


@pytest.mark.parametrize("url", [databases.POSTGRESQL], indirect=True)
@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_another_applications_table_is_left_alone(url: str, engine: Engine, statements: Sequence[str]) -> None:
    run(engine, ["CREATE TABLE theirs (id INTEGER PRIMARY KEY)", *statements])
    before = rows(engine, "alembic_version")
    for number in (1, 2):
        with closing(open_store(url)) as store:
            commit(store, {"x": number})
            with store.read() as reading:
                assert map_at(reading, number) == values({"x": number})
    assert rows(engine, "alembic_version") == before
    assert rows(engine, "lamina_schema_version") == [(NEWEST,)]
    with inspecting(url):
        pass


def test_another_applications_sqlite_file_is_refused(tmp_path: Path) -> None:
    """A schema can be shared, but not a file: only one program can write to a file that Lamina serves."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        theirs.execute("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        theirs.execute("CREATE TABLE alembic_version (version_num TEXT)")
    refused = refusal(f"sqlite:///{path}")
    assert refused == (
        "the SQLite file is another application's: it has tables (alembic_version, users), and none of Lamina's"
    )
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (2,)


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=FOREIGN)
def test_also_beside_tables_that_create_all_has_made(url: str, engine: Engine, statements: Sequence[str]) -> None:
    """Nothing but the tables themselves says there that they are ours."""
    Base.metadata.create_all(engine)
    run(engine, ["CREATE TABLE theirs (id INTEGER PRIMARY KEY)", *statements])
    before = rows(engine, "alembic_version")
    with closing(open_store(url)) as store:
        assert store.upgrade is None
    assert rows(engine, "alembic_version") == before
    assert rows(engine, "lamina_schema_version") == [(NEWEST,)]


class TestDevelopmentVersions:
    """Their revision was in the table with Alembic's usual name."""

    @pytest.mark.parametrize("revision", ["0001", "0002"])
    def test_their_revision_is_moved(self, url: str, engine: Engine, revision: str) -> None:
        databases.migrate_to(engine, revision)
        run(engine, ["DROP TABLE lamina_schema_version", AS_OURS[0]])
        run(engine, [f"INSERT INTO alembic_version VALUES ('{revision}')"])
        open_store(url, upgrades_shared=True).close()
        assert rows(engine, "lamina_schema_version") == [(NEWEST,)]
        assert tables(engine) == OURS | {"lamina_schema_version"}
        assert rows(engine, "lamina_head") == []

    def test_it_is_copied_beside_other_tables(self, url: str, engine: Engine) -> None:
        """It may be the table of their application, which happens to have the same revision."""
        make_as_before(engine)
        run(engine, ["CREATE TABLE theirs (id INTEGER PRIMARY KEY)", "CREATE INDEX added ON config (author)"])
        open_store(url).close()
        assert rows(engine, "lamina_schema_version") == rows(engine, "alembic_version") == [(NEWEST,)]

    def test_verify_reads_it(self, url: str, engine: Engine) -> None:
        make_as_before(engine)
        with inspecting(url):
            pass
        assert "lamina_schema_version" not in tables(engine)

    def test_such_a_server_takes_the_tables_over_again(self, url: str, engine: Engine) -> None:
        """It finds no revision, and the tables as its own create_all would make them; so it adds its table."""
        open_store(url).close()
        run(engine, AS_OURS)
        with closing(open_store(url)) as store:
            commit(store, {"x": 1})
        assert rows(engine, "lamina_schema_version") == [(NEWEST,)]

    def test_two_servers_that_start_at_once_both_come_up(self, postgres_url: str) -> None:
        engine = create_engine(postgres_url)
        make_as_before(engine)
        with ThreadPoolExecutor(4) as threads:
            stores = list(threads.map(open_store, [postgres_url] * 4))
        commit(stores[0], {"x": 1})
        with stores[-1].read() as reading:
            assert reading.head(CONFIG) is not None
        for store in stores:
            store.close()
        assert rows(engine, "lamina_schema_version") == [(NEWEST,)]
        assert "alembic_version" not in tables(engine)
        engine.dispose()

    def test_a_backup_may_be_made_of_them(self, tmp_path: Path) -> None:
        path = tmp_path / "lamina.db"
        engine = create_engine(f"sqlite:///{path}")
        make_as_before(engine)
        engine.dispose()
        back_up(f"sqlite:///{path}", tmp_path / "copy.db", lambda *_: None)
        open_store(f"sqlite:///{tmp_path / 'copy.db'}").close()


Use = Callable[[str], str]


def refused_by_verify(url: str) -> str:
    with pytest.raises(UnusableStoreError) as refused, inspecting(url):
        pass
    return str(refused.value)


@pytest.mark.parametrize("refused", [refusal, refused_by_verify])
def test_two_revisions_are_refused(url: str, engine: Engine, refused: Use) -> None:
    migrate(engine)
    run(engine, ["INSERT INTO lamina_schema_version VALUES ('0001')"])
    assert refused(url) == (
        "the table lamina_schema_version must have one row, and has the revisions 0001, 0004: restore a backup, or"
        " delete the rows of the revisions that the tables do not have"
    )


@pytest.mark.parametrize("refused", [refusal, refused_by_verify])
def test_a_newer_revision_is_refused(url: str, engine: Engine, refused: Use) -> None:
    migrate(engine)
    run(engine, ["UPDATE lamina_schema_version SET version_num = '0042'"])
    assert refused(url) == (
        "the database's schema '0042' is not known to this release, whose newest is '0004': use a newer release, or"
        " restore a backup from before the upgrade"
    )


@pytest.mark.parametrize("lost", [["config_value_association"], sorted(OURS)], ids=["one", "all"])
def test_a_revision_without_the_tables_is_refused(url: str, engine: Engine, lost: Sequence[str]) -> None:
    migrate(engine)
    run(engine, drop_views())
    order = [each.name for each in reversed(Base.metadata.sorted_tables) if each.name in lost]
    run(engine, [f"DROP TABLE {name}" for name in order])
    assert f"some are missing ({', '.join(sorted(lost))}): restore a backup" in refusal(url)


def test_an_empty_version_table_is_filled(url: str, engine: Engine) -> None:
    migrate(engine)
    run(engine, ["DELETE FROM lamina_schema_version"])
    open_store(url).close()
    assert rows(engine, "lamina_schema_version") == [(NEWEST,)]
