"""The schema made by the migrations is that of the models, triggers and views included, on each database."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lamina_server.models import Base, ConfigData
from lamina_server.models.views import VIEWS
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql.creating import create_if_empty
from lamina_server.store.sql.migrations import SCRIPTS, migrate
from lamina_server.store.sql.revision import KNOWN, NEWEST, VERSION_TABLE, asking, recorded
from tests.server import databases

SQLITE_SCHEMA = (
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE '%schema_version%' AND name NOT LIKE 'sqlite%'"
)
POSTGRESQL_SCHEMA = """
SELECT 'column', table_name || '.' || column_name,
       concat_ws(' ', data_type, is_nullable, is_identity, identity_generation, collation_name, column_default)
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'lamina_schema_version'
UNION ALL SELECT 'index', indexname, indexdef
          FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'lamina_schema_version'
UNION ALL SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint
          WHERE connamespace = 'public'::regnamespace AND conname NOT LIKE 'lamina_schema_version%'
UNION ALL SELECT 'trigger', tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'view', viewname, definition FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'function', proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@pytest.fixture(params=databases.ALL)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with databases.fresh_engine(request.param, request) as engine:
        yield engine


def schema(engine: Engine) -> dict[tuple[str, str], list[str]]:
    """Return each object's definition; of a table its lines sorted, as the order of constraints means nothing."""
    query = SQLITE_SCHEMA if engine.dialect.name == "sqlite" else POSTGRESQL_SCHEMA
    with engine.connect() as connection:
        rows = connection.execute(text(query)).all()
    return {(kind, name): sorted(line.strip(" ,") for line in sql.splitlines()) for kind, name, sql in rows}


def test_migrations_make_what_the_models_describe(engine: Engine, request: pytest.FixtureRequest) -> None:
    migrate(engine)
    kind = request.node.callspec.params["engine"]
    if kind == databases.POSTGRESQL:
        migrated = schema(engine)
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        Base.metadata.create_all(engine)
        created = schema(engine)
    else:
        other = create_engine("sqlite://")
        Base.metadata.create_all(other)
        migrated, created = schema(engine), schema(other)
        other.dispose()
    assert migrated == created
    assert {kind for kind, _ in created} >= {"trigger", "index", "view"}


def rows_of(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_an_empty_file_gets_at_once_what_the_migrations_make(tmp_path: Path) -> None:
    """The version table is alike, too."""
    engines = [create_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("created", "migrated")]
    assert create_if_empty(engines[0])
    assert not create_if_empty(engines[0])
    migrate(engines[1])
    assert schema(engines[0]) == schema(engines[1])
    migrate(engines[0])  # Alembic finds its table, and nothing to do
    queries = (f"PRAGMA table_info({VERSION_TABLE})", f"SELECT * FROM {VERSION_TABLE}")
    columns, rows = ([rows_of(engine, query) for engine in engines] for query in queries)
    assert columns[0] == columns[1]
    assert rows == [[(NEWEST,)]] * 2


def test_alembic_finds_no_difference(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_without_views_gets_them(engine: Engine) -> None:
    databases.migrate_to(engine, "0001")
    assert not {kind for kind, _ in schema(engine)} & {"view"}
    migrate(engine)
    assert {name for kind, name in schema(engine) if kind == "view"} == set(VIEWS)


@pytest.mark.parametrize("begin", ["0001", "0002"])
def test_an_older_database_gets_the_same_schema_in_place(engine: Engine, begin: str) -> None:
    """The rows stay as they are, and secrets can be added."""
    databases.migrate_to(engine, begin)
    insert = "INSERT INTO config_value (config_name_id, version, originating_config_id, name, kind, deleted"
    version = (
        "INSERT INTO config (config_name_id, version, author, author_verified, message, commit_time_us, key_count,"
        " change_count, size_bytes, hash) VALUES (1, 1, '', false, '', 1, 1, 1, 1, :hash)"
    )
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO config_name (name) VALUES ('shop')"))
        connection.execute(text(version), {"hash": bytes(32)})
        old = text(f"{insert}, string_value, digest) VALUES (1, 1, 1, 'x', 4, false, 'v', :digest)")
        connection.execute(old, {"digest": bytes(32)})
    secret = text(f"{insert}, bytes_value, digest) VALUES (1, 1, 1, 'y', 7, false, :sealed, :digest)")
    unknown = text(f"{insert}, bytes_value, digest) VALUES (1, 1, 1, 'z', 8, false, :sealed, :digest)")
    cells = {"sealed": b"s", "digest": bytes(32)}
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(secret, cells)
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(secret, cells)
        rows = connection.execute(text("SELECT key, kind, value FROM lamina_head ORDER BY key")).all()
    assert [tuple(row) for row in rows] == [("x", "string", "v"), ("y", "secret", None)]
    with pytest.raises(IntegrityError), engine.begin() as connection:
        connection.execute(unknown, cells)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA integrity_check")).scalars().all() == ["ok"]
        other = create_engine("sqlite://")
        Base.metadata.create_all(other)
        assert schema(engine) == schema(other)
        other.dispose()


def test_drop_all_removes_what_create_all_made(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)  # the second call changes nothing
    Base.metadata.drop_all(engine)
    assert {kind for kind, _ in schema(engine)} <= {"function"}


def test_a_second_migration_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    before = schema(engine)
    migrate(engine)
    assert schema(engine) == before


def test_the_tables_of_create_all_are_adopted(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE theirs (id INTEGER PRIMARY KEY)"))
    before = schema(engine)
    with Session(engine) as session:
        session.add(ConfigData({"x": 27}, config="payments/prod"))
        session.commit()
    migrate(engine)
    assert schema(engine) == before
    with engine.connect() as connection:
        assert recorded(asking(connection), connection.dialect.name) == NEWEST
        assert connection.execute(text("SELECT value FROM lamina_head")).scalars().all() == ["27"]


@pytest.mark.parametrize("lack", ["VIEW lamina_head", "INDEX ix_config_value_config_name_id_version", "trigger"])
def test_the_tables_of_create_all_are_refused_if_anything_is_missing(engine: Engine, lack: str) -> None:
    Base.metadata.create_all(engine)
    if lack == "trigger":
        lack = "TRIGGER config_no_update" if engine.dialect.name == "sqlite" else "TRIGGER config_insert_only ON config"
    with engine.begin() as connection:
        connection.execute(text(f"DROP {lack}"))
    before = schema(engine)
    with pytest.raises(UnusableStoreError, match="not as this release makes them"):
        migrate(engine)
    assert schema(engine) == before


def test_a_table_of_another_application_is_left_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE config (id INTEGER PRIMARY KEY, theirs TEXT)"))
    before = schema(engine)
    with pytest.raises(UnusableStoreError, match="use another database"):
        migrate(engine)
    assert schema(engine) == before


def test_a_newer_schema_is_refused(engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE lamina_schema_version SET version_num = '9999'"))
    with pytest.raises(UnusableStoreError, match=r"'9999' is not known to this release"):
        migrate(engine)


def test_a_migration_that_fails_leaves_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no more room")

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_index", fail)  # after three of the five tables
        with pytest.raises(OSError, match="no more room"):
            migrate(engine)
    assert schema(engine) == {}
    migrate(engine)
    assert schema(engine)


def test_servers_that_start_together_migrate_once(postgres_url: str) -> None:
    engines = [create_engine(postgres_url) for _ in range(4)]
    with ThreadPoolExecutor(len(engines)) as threads:
        list(threads.map(migrate, engines))
    with engines[0].connect() as connection:
        assert recorded(asking(connection), connection.dialect.name) == NEWEST
    for engine in engines:
        engine.dispose()


def test_the_revisions_are_known_without_alembic() -> None:
    assert [script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions()] == list(reversed(KNOWN))
