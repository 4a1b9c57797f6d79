"""On a PostgreSQL whose role has set every parameter to something harmful, nothing is lost, changed or refused."""

import asyncio
import io
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from lamina_server.domain.errors import UnavailableError
from lamina_server.models import Base
from lamina_server.restore.restore import restore
from lamina_server.settings import Settings
from lamina_server.store.contract import CommitUnknownError, Store, UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.postgresql.notices import PostgresqlNotices
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.verify.inspection import inspecting
from lamina_server.store.verify.walk import Verification
from tests.conformance import test_keyframes, test_values
from tests.conformance.commits import CONFIG, commit, map_at, values
from tests.server.bare_client import running
from tests.support import bundles
from tests.support.postgres import Postgres, postgresql_address
from tests.support.standby import MissingStandby

pytestmark = pytest.mark.postgres

ROLE = "hostile"

DECOY = """
CREATE SCHEMA decoy;
CREATE TABLE decoy.lamina_schema_version (version_num text);
INSERT INTO decoy.lamina_schema_version VALUES ('0002');
CREATE TABLE decoy.config_name (id bigint, name text);
CREATE TABLE decoy.config (id bigint, config_name_id bigint, version bigint);
CREATE TABLE decoy.config_value (id bigint, name text);
CREATE FUNCTION decoy.wrong(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'the decoy was used'; END $$;
CREATE OPERATOR decoy.= (LEFTARG = text, RIGHTARG = text, FUNCTION = decoy.wrong);
CREATE OPERATOR decoy.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = decoy.wrong);
CREATE FUNCTION decoy.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE 'the decoy was used'; END $$;
GRANT USAGE ON SCHEMA decoy TO PUBLIC;
"""
"""Tables, operators and functions with the names of those that are used, in a schema that the role looks at first."""

BY_HAND = {
    "bytea_output": "escape",
    "client_encoding": "latin1",
    "client_min_messages": "debug5",
    "datestyle": "German, DMY",
    "default_transaction_isolation": "serializable",
    "extra_float_digits": "-15",
    "idle_in_transaction_session_timeout": "5s",
    "idle_session_timeout": "5s",
    "intervalstyle": "iso_8601",
    "lock_timeout": "1ms",
    "search_path": "decoy, pg_catalog, public",
    "statement_timeout": "5s",
    "synchronous_commit": "off",
    "timezone": "Asia/Kathmandu",
    "transaction_timeout": "5s",
}

# The first three belong to one transaction; the rest cannot be set for a role, or names a file or a language.
LEFT_OUT = {
    "transaction_isolation",
    "transaction_read_only",
    "transaction_deferrable",
    "application_name",
    "default_table_access_method",
    "default_tablespace",
    "default_text_search_config",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "local_preload_libraries",
    "restrict_nonsystem_relation_kind",
    "temp_tablespaces",
    "timezone_abbreviations",
    # Sizes that a plan allocates at once, or a log of every statement's trees.
    "debug_print_parse",
    "debug_print_plan",
    "debug_print_rewritten",
    "temp_buffers",
}

TCP_SETTINGS = {"tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout"}
SET_FOR_TCP = "SELECT name FROM pg_settings WHERE name LIKE 'tcp\\_%' AND source = 'session'"
"""Over a Unix socket they have no effect, and read as 0."""

USER_SETTINGS = (
    "SELECT lower(name) AS name, vartype, boot_val, min_val, max_val, enumvals FROM pg_settings WHERE context = 'user'"
)


def hostile_value(row: Any) -> str:
    """Return a value for a setting that is as far from its default as can be."""
    if row.name in BY_HAND:
        return BY_HAND[row.name]
    match row.vartype:
        case "bool":
            return "off" if row.boot_val == "on" else "on"
        case "enum":
            return str(next(each for each in row.enumvals if each != row.boot_val))
        case _:
            return str(row.max_val if row.boot_val == row.min_val else row.min_val)


def hostile_settings(operator: Engine) -> dict[str, str]:
    """Return a harmful value for each setting that a role may have, whichever the server's release has."""
    with operator.connect() as connection:
        rows = connection.execute(text(USER_SETTINGS)).all()
    return {row.name: hostile_value(row) for row in rows if row.name not in LEFT_OUT}


@contextmanager
def operating(url: str) -> Iterator[Engine]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def run(operator: Engine, *statements: str) -> None:
    with operator.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def url_of(url: str, role: str) -> str:
    return make_url(url).set(username=role).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def owners_url(postgres: Postgres) -> Iterator[str]:
    """The cluster's owner at the database of the hostile role."""
    url = postgres.new_database()
    with operating(url) as operator:
        run(operator, f"CREATE ROLE {ROLE} LOGIN", f"ALTER DATABASE {make_url(url).database} OWNER TO {ROLE}", DECOY)
        for name, value in hostile_settings(operator).items():
            run(operator, f"ALTER ROLE {ROLE} SET {name} = {value if name == 'search_path' else repr(value)}")
    yield url
    postgres.drop_database(url)
    with operating(postgres.url) as operator:
        run(operator, f"DROP ROLE {ROLE}")


@pytest.fixture(scope="module")
def made_url(owners_url: str) -> str:
    """The hostile role's database with our tables, which were made over the hostile role's connection."""
    url = url_of(owners_url, ROLE)
    open_store(url).close()
    return url


@pytest.fixture
def url(made_url: str, owners_url: str) -> str:
    """The same, without rows."""
    deletions = [f"DELETE FROM public.{table.name}" for table in reversed(Base.metadata.sorted_tables)]
    with operating(owners_url) as operator:
        run(operator, "SET session_replication_role = replica", *deletions)  # past the triggers that refuse it
    return made_url


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    with closing(open_store(url)) as store:
        yield store


def test_values_of_all_kinds_are_read_back_unchanged(store: Store) -> None:
    test_values.test_values_of_all_kinds_are_read_back_unchanged_by_every_read(store)


def test_keyframes_change_no_answer(store: Store) -> None:
    test_keyframes.TestKeyframes().test_keyframes_change_no_answer(store, {2, 4})


def test_the_role_is_hostile(url: str) -> None:
    """If it were not, the tests of this file would show nothing."""
    parts = make_url(url)
    with psycopg.connect(host=str(parts.query["host"]), user=ROLE, dbname=parts.database, autocommit=True) as session:
        for name in ("bytea_output", "extra_float_digits", "search_path", "synchronous_commit", "enable_indexscan"):
            row = session.execute(f"SHOW {name}").fetchone()
            assert row is not None
            assert row[0] == BY_HAND.get(name, "off")


def test_floats_keep_all_their_digits(store: Store) -> None:
    """P5: with extra_float_digits of 0 or less PostgreSQL writes another number than the one it has."""
    numbers = [0.1 + 0.2, 1 / 3, 2.0**-1074, 1.7976931348623157e308, struct.unpack(">d", b"\x3f\xb9" + b"\x99" * 6)[0]]
    commit(store, {str(number): number for number in numbers})
    with store.read() as reading:
        assert map_at(reading, 1) == values({str(number): number for number in sorted(numbers, key=str)})


def test_a_database_is_verified(store: Store, url: str) -> None:
    commit(store, {"float": 0.1 + 0.2, "bytes": b"\x00\xff\\", "json": {"é": [0.1]}})
    commit(store, {"float": 1 / 3})
    store.write_keyframe(CONFIG)
    with inspecting(url) as inspection:
        assert list(Verification(inspection).findings(lambda _: None)) == []


def test_a_bundle_is_restored(store: Store, url: str) -> None:
    data = bundles.packed(bundles.history([{"x": 0.1 + 0.2, "b": b"\\x00"}, {"x": 1 / 3}]))
    restored = restore(io.BytesIO(data), Settings(database=url), lambda _: None)
    assert restored.added == 2
    with store.read() as reading:
        assert map_at(reading, 2, config=bundles.CONFIG) == values({"b": b"\\x00", "x": 1 / 3})


def test_views_show_what_they_show_elsewhere(store: Store, url: str, postgres_url: str) -> None:
    """Their texts have backslashes, which standard_conforming_strings reads in one of two ways."""
    open_store(postgres_url).close()
    definitions = text("SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY viewname")
    found = []
    for each in (url_of(url, "lamina"), postgres_url):
        with operating(each) as operator, operator.connect() as connection:
            found.append(connection.execute(definitions).all())
    assert found[0] == found[1]
    commit(store, {"b": b"\x01\xff"})
    with operating(url_of(url, "lamina")) as operator, operator.connect() as connection:
        assert connection.execute(text("SELECT value FROM lamina_head")).scalar() == r"\x01ff"


def test_tables_and_rows_are_where_others_find_them(store: Store, url: str) -> None:
    """Not in the schema that the role looks at first."""
    commit(store, {"x": 1})
    with operating(url_of(url, "lamina")) as operator, operator.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM public.config")).scalar() == 1
        assert connection.execute(text("SELECT count(*) FROM decoy.config")).scalar() == 0


async def test_servers_hear_each_other(url: str) -> None:
    one, other = (PostgresqlNotices(postgresql_address(url)) for _ in range(2))
    listens, heard = asyncio.Event(), asyncio.Event()
    hearing = asyncio.create_task(one.hear(listens.set, lambda _: heard.set()))
    try:
        await asyncio.wait_for(listens.wait(), 10)
        await other.tell(["x"])
        await asyncio.wait_for(heard.wait(), 10)
    finally:
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await other.close()


async def test_a_server_commits_reads_and_watches(store: SqlStore) -> None:
    async with running(store) as wire:
        watching = wire.watch(CONFIG, after=0)
        await wire.commit(CONFIG, {"x": 0.1 + 0.2})
        await wire.commit(CONFIG, {"x": 1 / 3})
        assert await wire.map(CONFIG, version=1) == {"x": 0.1 + 0.2}
        assert await watching.numbers(2) == [1, 2]


def test_each_kind_of_connection_is_set_up(store: SqlStore, url: str) -> None:
    wanted = {"extra_float_digits": "1", "row_security": "off", "search_path": "public", "exit_on_error": "off"}
    wanted |= {"synchronous_commit": "on", "client_min_messages": "warning", "idle_session_timeout": "0"}
    questions = {name: text(f"SHOW {name}") for name in wanted}
    database = store._database
    with database.migrating() as engine, inspecting(url) as inspection:
        lent: list[AbstractContextManager[Connection]] = [
            database.reading(),
            database.writing(),
            engine.connect(),
            nullcontext(inspection._connection),
        ]
        for each in lent:
            with each as connection:
                assert {name: connection.execute(question).scalar() for name, question in questions.items()} == wanted
                assert set(connection.execute(text(SET_FOR_TCP)).scalars()) == TCP_SETTINGS
        assert inspection._connection.execute(text("SHOW default_transaction_read_only")).scalar() == "on"


Use = Callable[[str], object]


def use_server(url: str) -> None:
    open_store(url).close()


def use_verify(url: str) -> None:
    with inspecting(url):
        pass


@pytest.fixture
def plain_url(postgres: Postgres) -> Iterator[str]:
    """A database with our tables that belongs to a role without any settings."""
    url = postgres.new_database()
    with operating(url) as operator:
        run(operator, "CREATE ROLE plain LOGIN", f"ALTER DATABASE {make_url(url).database} OWNER TO plain")
    yield url_of(url, "plain")
    postgres.drop_database(url)
    with operating(postgres.url) as operator:
        run(operator, "DROP ROLE plain")


@pytest.mark.parametrize(
    ("use", "setting", "value"),
    [(use_server, "session_replication_role", "replica"), (use_verify, "zero_damaged_pages", "on")],
)
def test_what_only_a_superuser_may_change_is_refused(plain_url: str, use: Use, setting: str, value: str) -> None:
    """P19: without triggers and foreign keys, or with damaged pages taken for empty ones, nothing is safe."""
    open_store(plain_url).close()
    with operating(url_of(plain_url, "lamina")) as operator:
        run(operator, f"ALTER ROLE plain SET {setting} = {value}")
    with pytest.raises(UnusableStoreError, match=f"{setting} = {value}, which is unsafe; a superuser must reset it"):
        use(plain_url)


def test_a_connection_that_is_opened_later_is_checked_too(plain_url: str) -> None:
    """P19: after a failover, the server may be another one than at the start."""
    sessions = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'plain'"
    with closing(open_store(plain_url)) as store, operating(url_of(plain_url, "lamina")) as operator:
        commit(store, {"x": 1})
        run(operator, "ALTER ROLE plain SET session_replication_role = replica", sessions)
        with pytest.raises(UnavailableError) as refused:
            commit(store, {"x": 2})
        assert "session_replication_role = replica, which is unsafe" in str(refused.value)
        run(operator, "ALTER ROLE plain RESET ALL")
        commit(store, {"x": 2})
        with store.read() as reading:
            assert map_at(reading, 2) == values({"x": 2})


def test_a_superusers_sessions_change_it(plain_url: str) -> None:
    with operating(url_of(plain_url, "lamina")) as operator:
        run(operator, "ALTER ROLE plain SUPERUSER", "ALTER ROLE plain SET session_replication_role = replica")
    with closing(open_store(plain_url)) as store, store._database.writing() as connection:
        assert connection.execute(text("SHOW session_replication_role")).scalar() == "origin"


def test_rows_that_a_policy_hides_are_an_error(plain_url: str) -> None:
    """Otherwise the head would be too old."""
    with closing(open_store(plain_url)) as store:
        commit(store, {"x": 1})
        with operating(plain_url) as operator:
            run(
                operator,
                "ALTER TABLE config ENABLE ROW LEVEL SECURITY",
                "ALTER TABLE config FORCE ROW LEVEL SECURITY",
                "CREATE POLICY hide ON config USING (version > 1)",
            )
        with store.read() as reading, pytest.raises(UnavailableError) as caught:
            reading.head(CONFIG)
        assert 'row-level security policy for table "config"' in str(caught.value.__cause__)
    with pytest.raises(UnusableStoreError, match='row-level security policy for table "config"'):
        open_store(plain_url)


class TestSchemas:
    def test_the_address_may_name_a_schema(self, plain_url: str) -> None:
        """Two sets of tables in one database do not mix."""
        with operating(plain_url) as operator:
            run(operator, "CREATE SCHEMA theirs")
        in_theirs = f"{plain_url}&options=-csearch_path%3Dtheirs"
        with closing(open_store(plain_url)) as store, closing(open_store(in_theirs)) as other:
            commit(store, {"x": "public"})
            commit(other, {"x": "theirs"})
            with store.read() as reading, other.read() as other_reading:
                assert map_at(reading, 1) == values({"x": "public"})
                assert map_at(other_reading, 1) == values({"x": "theirs"})
        with inspecting(in_theirs) as inspection:
            assert list(Verification(inspection).findings(lambda _: None)) == []

    def test_no_tables_are_made_beside_those_in_another_schema(self, plain_url: str) -> None:
        """P13: the new tables would be empty, and all configs would seem to be gone."""
        with operating(plain_url) as operator:
            run(operator, "CREATE SCHEMA theirs")
        open_store(f"{plain_url}&options=-csearch_path%3Dtheirs").close()
        with pytest.raises(
            UnusableStoreError, match=r"in the schema 'theirs', .* as \?options=-csearch_path%3Dtheirs,"
        ):
            open_store(plain_url)
        with operating(plain_url) as operator, operator.connect() as connection:
            assert connection.execute(text("SELECT to_regclass('public.config')")).scalar() is None


class TestStandby:
    """A commit that does not wait for its standby must not pass for one that did."""

    @pytest.mark.parametrize("level", ["error", "debug5"])
    def test_a_cancelled_wait_leaves_the_commit_open(self, postgres: Postgres, plain_url: str, level: str) -> None:
        """P1: however few messages the role asks for, and though it would not wait for a standby."""
        with operating(url_of(plain_url, "lamina")) as operator:
            run(operator, f"ALTER ROLE plain SET client_min_messages = {level}")
            run(operator, "ALTER ROLE plain SET synchronous_commit = local")
        with (
            closing(open_store(plain_url)) as store,
            MissingStandby(postgres) as standby,
            standby.cancelling(),
            pytest.raises(CommitUnknownError),
        ):
            commit(store, {"x": 1})

    async def test_the_request_id_resolves_the_commit(self, postgres: Postgres, plain_url: str) -> None:
        """P1, P8: the answer comes when the standby has the version, and there is one version."""
        with closing(open_store(plain_url)) as store:
            async with running(store) as wire:
                with MissingStandby(postgres) as standby:
                    committing = asyncio.ensure_future(wire.commit(CONFIG, {"x": 1}))
                    await asyncio.to_thread(standby.cancel_one)
                    await asyncio.to_thread(standby.until_one_waits)
                    assert not committing.done()
                assert (await committing).version.version == 1
                assert (await wire.get(CONFIG)).version == 1
