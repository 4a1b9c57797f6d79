"""Tests for PostgreSQL alone: several servers on one database, and sessions that are cut."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, create_engine, make_url, text

from lamina_server.domain.errors import UnavailableError
from lamina_server.models import WRITE_LOCK_ID
from lamina_server.store.contract import CommitUnknownError, HistoryBrokenError, Store, UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.postgresql import database as postgresql
from lamina_server.store.postgresql.sessions import State, refuse_lossy_server, setup
from lamina_server.store.sql.store import SqlStore
from tests.conformance.commits import CONFIG, commit, insert, map_at, values
from tests.conformance.places import rows_of
from tests.support.postgres import Postgres, postgresql_address

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    with closing(open_store(database_url)) as store:
        yield store


@pytest.fixture
def other(database_url: str) -> Iterator[SqlStore]:
    """Another server's store, on the same database as `store`."""
    with closing(open_store(database_url)) as other:
        yield other


def scalar(engine: Engine, statement: str, **parameters: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(statement), parameters).scalar()


def alter_database(url: str, *settings: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for setting in settings:
            connection.execute(text(f"ALTER DATABASE {make_url(url).database} SET {setting}"))
    engine.dispose()


def impatient(url: str, **timeouts: int) -> SqlStore:
    """Open a store on a database that has its tables, with other timeouts than a server's."""
    address = postgresql_address(url)
    return SqlStore(postgresql.PostgresqlDatabase(address, reader_connections=1, wait_seconds=5, **timeouts))


def kill_servers(operator: Engine) -> None:
    """Cut every session of every server on this database."""
    statement = (
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'lamina-server'"
    )
    assert scalar(operator, statement) > 0


def driver_of(connection: Connection) -> psycopg.Connection[Any]:
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


def head_of(store: Store, config: str = CONFIG) -> int:
    with store.read() as reading:
        head = reading.head(config)
    return head.number if head else 0


class TestSeveralServers:
    def test_each_server_sees_the_commits_of_the_others_at_once(self, store: SqlStore, other: SqlStore) -> None:
        for number in range(1, 7):
            one, two = (store, other) if number % 2 else (other, store)
            assert commit(one, {"x": number}).number == number
            with two.read() as reading:
                assert map_at(reading, number) == values({"x": number})

    def test_their_writing_blocks_run_one_after_the_other(self, database_url: str) -> None:
        def count(server: Store) -> None:
            for _ in range(15):
                with server.write() as writing:
                    head = writing.head(CONFIG)
                    number = map_at(writing, head.number)["n"].data if head else 0
                    assert isinstance(number, int)
                    insert(writing, CONFIG, {"n": number + 1})

        with ExitStack() as stack, ThreadPoolExecutor(6) as threads:
            servers = [stack.enter_context(closing(open_store(database_url))) for _ in range(3)]
            for future in [threads.submit(count, server) for server in servers * 2]:
                future.result()
            with servers[0].read() as reading:
                changes = list(reading.changes(CONFIG, after=(0, ""), through=1_000))
        assert [(number, change.value) for number, change in changes] == [
            (number, values({"n": number})["n"]) for number in range(1, 91)
        ]

    def test_ids_rise_in_the_order_of_commits(self, store: SqlStore, other: SqlStore) -> None:
        for number in range(10):
            commit(store if number % 3 else other, {"x": number, "y": number}, config=f"config/{number % 2}")
        with rows_of(store) as connection:
            versions = connection.execute(text("SELECT id, version FROM config ORDER BY commit_time_us, id")).all()
            places = connection.execute(
                text("SELECT originating_config_id, name FROM config_value ORDER BY config_value.id")
            ).all()
        assert versions == sorted(versions)
        assert places == sorted(places)

    def test_several_servers_start_at_once_on_an_empty_database(self, postgres: Postgres) -> None:
        url = postgres.new_database()
        with ThreadPoolExecutor(4) as threads:
            servers = [future.result() for future in [threads.submit(open_store, url) for _ in range(4)]]
        for number, server in enumerate(servers, 1):
            assert commit(server, {"x": number}).number == number
        for server in servers:
            server.close()
        postgres.drop_database(url)

    def test_two_servers_write_the_same_keyframe_at_once(self, store: SqlStore, other: SqlStore) -> None:
        with ThreadPoolExecutor(2) as threads:
            for number in range(1, 9):
                commit(store, {f"key/{each}": number for each in range(100)})
                for future in [threads.submit(each.write_keyframe, CONFIG) for each in (store, other)]:
                    future.result()
                assert store.originated_since_keyframe(CONFIG) == other.originated_since_keyframe(CONFIG) == 0

    def test_a_keyframe_and_a_writer_do_not_wait_for_each_other(self, store: SqlStore) -> None:
        commit(store, {"x": 1})
        with store.write() as writing:
            insert(writing, CONFIG, {"x": 2})
            assert writing.head(CONFIG) is not None
            store.write_keyframe(CONFIG)
        with store.read() as reading:
            assert map_at(reading, 1) == values({"x": 1})
            assert map_at(reading, 2) == values({"x": 2})
        assert store.originated_since_keyframe(CONFIG) == 1


class TestTheEndOfConnections:
    """A connection in use is closed when it is given back, and not when the garbage collector finds it."""

    def test_one_that_is_in_use_while_the_store_closes(self, store: SqlStore, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "lamina_server")  # the server's log has no lines of a pool
        with store._database.reading() as reading, store._database.side_transaction() as writing:
            drivers = [driver_of(reading), driver_of(writing)]
            store.close()
            assert not any(driver.closed for driver in drivers)
        assert all(driver.closed for driver in drivers)
        assert not caplog.records

    def test_one_that_is_opened_after_the_store_has_closed(self, store: SqlStore) -> None:
        """A thread that nobody waits for may begin to read as late as that."""
        store.close()
        with store._database.reading() as reading:
            driver = driver_of(reading)
        assert driver.closed

    def test_one_that_takes_the_place_of_a_dead_one_while_the_store_closes(
        self, store: SqlStore, operator: Engine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The thread had the dead one before the store was closed."""
        begin, begun = postgresql.PostgresqlDatabase._begin, list[Connection]()

        def dies_after_the_end(
            database: postgresql.PostgresqlDatabase, connection: Connection, *arguments: Any
        ) -> bool:
            begun.append(connection)
            if len(begun) == 1:
                store.close()
                pid = driver_of(connection).info.backend_pid
                assert scalar(operator, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
            return begin(database, connection, *arguments)

        monkeypatch.setattr(postgresql.PostgresqlDatabase, "_begin", dies_after_the_end)
        with store._database.side_transaction() as connection:
            driver = driver_of(connection)
        assert len(begun) == 2
        assert driver.closed

    def test_one_that_is_in_use_while_dead_ones_are_replaced(self, store: SqlStore, operator: Engine) -> None:
        database = store._database
        with database.side_transaction() as writing:
            driver = driver_of(writing)
            with database.side_transaction() as other:
                pid = driver_of(other).info.backend_pid
            assert scalar(operator, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
            assert commit(store, {"x": 1}).number == 1
        assert driver.closed


class TestLostSessions:
    def test_between_blocks_they_are_no_error(self, store: SqlStore, operator: Engine) -> None:
        commit(store, {"x": 1})
        kill_servers(operator)
        assert commit(store, {"x": 2}).number == 2
        kill_servers(operator)
        assert head_of(store) == 2

    def test_within_a_writing_block_nothing_is_written(self, store: SqlStore, operator: Engine) -> None:
        commit(store, {"x": 1})

        def cut() -> None:
            with store.write() as writing:
                insert(writing, CONFIG, {"x": 2})
                writing.head(CONFIG)
                kill_servers(operator)
                insert(writing, "other", {"x": 1})

        with pytest.raises(UnavailableError, match="nothing was written") as caught:
            cut()
        assert not isinstance(caught.value, CommitUnknownError)
        assert (head_of(store), head_of(store, "other")) == (1, 0)
        assert commit(store, {"x": 2}).number == 2

    def test_a_callers_error_is_not_replaced(self, store: SqlStore, operator: Engine) -> None:
        def cut() -> None:
            with store.write() as writing:
                writing.head(CONFIG)
                kill_servers(operator)
                raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            cut()
        assert commit(store, {"x": 1}).number == 1

    def test_at_the_commit_the_outcome_is_unknown(self, store: SqlStore, operator: Engine) -> None:
        def cut() -> None:
            with store.write() as writing:
                insert(writing, CONFIG, {"x": 1})
                writing.head(CONFIG)
                kill_servers(operator)

        with pytest.raises(CommitUnknownError):
            cut()
        assert head_of(store) == 0
        assert commit(store, {"x": 1}).number == 1

    def test_in_a_reading_block_the_answer_is_unavailable(self, store: SqlStore, operator: Engine) -> None:
        commit(store, {"x": 1})
        with store.read() as reading:
            kill_servers(operator)
            with pytest.raises(UnavailableError):
                reading.head(CONFIG)
        assert head_of(store) == 1

    def test_a_writer_that_hangs_loses_the_lock(self, database_url: str, other: SqlStore) -> None:
        """The database ends its session, and the other server waits no longer than that."""
        hangs = threading.Event()

        def hang() -> None:
            with closing(impatient(database_url, idle_in_transaction_ms=500)) as store, store.write() as writing:
                writing.head(CONFIG)
                hangs.set()
                done.result(10)
                insert(writing, CONFIG, {"x": "late"})

        with ThreadPoolExecutor(2) as threads:
            done = threads.submit(lambda: hangs.wait(10) and commit(other, {"x": 1}))
            late = threads.submit(hang)
            with pytest.raises(UnavailableError, match="nothing was written"):
                late.result(10)
        with other.read() as reading:
            assert map_at(reading, 1) == values({"x": 1})


class TestWaiting:
    def test_a_commit_waits_for_a_held_lock_only_so_long(self, database_url: str, operator: Engine) -> None:
        with closing(impatient(database_url, lock_timeout_ms=50)) as store:
            with operator.connect() as holder:
                holder.execute(text("SELECT pg_advisory_lock(:id)"), {"id": WRITE_LOCK_ID})
                with pytest.raises(UnavailableError, match="nothing was written") as caught:
                    commit(store, {"x": 1})
                assert not isinstance(caught.value, CommitUnknownError)
                holder.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": WRITE_LOCK_ID})
            assert commit(store, {"x": 1}).number == 1

    def test_the_sessions_have_the_promised_settings(self, store: SqlStore) -> None:
        common = {
            "lock_timeout": "2s",
            "statement_timeout": "5s",
            "client_connection_check_interval": "5s",
            "application_name": "lamina-server",
            "client_encoding": "UTF8",
        }
        ours = {**common, "transaction_isolation": "read committed", "idle_in_transaction_session_timeout": "3s"}
        with store._database.writing() as connection:
            found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in ours}
        assert found == ours
        with store._database.reading() as connection:
            found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in common}
        assert found == common

    def test_the_databases_defaults_do_not_matter(self, postgres: Postgres) -> None:
        url = postgres.new_database()
        alter_database(url, "default_transaction_isolation = serializable", "statement_timeout = '1h'")
        with closing(open_store(url)) as store, store._database.writing() as connection:
            assert connection.execute(text("SHOW transaction_isolation")).scalar() == "read committed"
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "5s"
        postgres.drop_database(url)

    def test_a_reading_block_holds_no_transaction(self, store: SqlStore, operator: Engine) -> None:
        """It does not hold up vacuum, and a failover cannot interrupt it."""
        commit(store, {"x": 1})
        open_transactions = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'lamina-server' AND xact_start IS NOT NULL"
        )
        with store.read() as reading:
            assert next(iter(reading.entries(CONFIG, 1))).key == "x"
            assert scalar(operator, open_transactions) == 0


@contextmanager
def deferred(operator: Engine, body: str) -> Iterator[None]:
    """Run PL/pgSQL within each COMMIT that has inserted a version."""
    with operator.connect() as connection:
        connection.execute(
            text(f"CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$")
        )
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON config DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION at_commit()"
            )
        )
        try:
            yield
        finally:
            connection.execute(text("DROP TRIGGER at_commit ON config"))
            connection.execute(text("DROP FUNCTION at_commit"))


class TestCommit:
    def test_it_has_no_timeout(self, store: SqlStore, operator: Engine) -> None:
        """A standby may be slow, and a commit that is cancelled while it waits would look like a replicated one."""
        body = "IF current_setting('statement_timeout') <> '0' THEN RAISE 'it has a timeout'; END IF;"
        with deferred(operator, body):
            assert commit(store, {"x": 1}).number == 1
        with store._database.writing() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "5s"

    @pytest.mark.parametrize("verb", ["EXCEPTION", "WARNING"])
    def test_an_error_or_a_cancelled_wait_leaves_it_open(self, store: SqlStore, operator: Engine, verb: str) -> None:
        """PostgreSQL only warns if a commit has not waited for its standby."""
        with deferred(operator, f"RAISE {verb} 'canceling wait for synchronous replication';"):
            with pytest.raises(CommitUnknownError) as caught:
                commit(store, {"x": 1})
            assert "replication" not in str(caught.value)
        assert head_of(store) == (1 if verb == "WARNING" else 0)
        assert commit(store, {"y": 1}).number == head_of(store)

    @pytest.mark.parametrize("message", ["NOTICE 'a trigger speaks'", "WARNING 'truncated' USING ERRCODE = '01004'"])
    def test_other_messages_confirm_it(self, store: SqlStore, operator: Engine, message: str) -> None:
        with deferred(operator, f"RAISE {message};"):
            assert commit(store, {"x": 1}).number == 1

    def test_a_transaction_that_has_failed_already_is_no_commit(self, store: SqlStore) -> None:
        """PostgreSQL answers such a COMMIT with ROLLBACK, without an error."""

        def fail_and_go_on() -> None:
            with store._database.writing() as connection, pytest.raises(Exception, match="division by zero"):
                connection.exec_driver_sql("SELECT 1 / 0")

        with pytest.raises(CommitUnknownError):
            fail_and_go_on()

    def test_a_refused_row_is_quoted_nowhere(self, store: SqlStore, operator: Engine) -> None:
        with operator.connect() as connection:
            connection.execute(text("ALTER TABLE config_value ADD CONSTRAINT no_secrets CHECK (name <> 'password')"))
            try:
                with pytest.raises(HistoryBrokenError) as caught:
                    commit(store, {"password": "canary"})
            finally:
                connection.execute(text("ALTER TABLE config_value DROP CONSTRAINT no_secrets"))
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__
        assert head_of(store) == 0


class TestOpening:
    def test_the_error_for_an_absent_server_has_no_password(self) -> None:
        with pytest.raises(UnusableStoreError, match="there is no such socket") as caught:
            open_store("postgresql://lamina:canary@/lamina?host=/no/such/folder")
        assert "canary" not in f"{caught.value} {caught.value.__cause__}"

    def test_a_database_of_another_encoding_is_refused(self, postgres: Postgres) -> None:
        def refuse(url: str) -> None:
            with pytest.raises(UnusableStoreError, match="encoding is SQL_ASCII; it must be UTF8"):
                open_store(url)

        self.on_a_database("ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc", postgres, refuse)

    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [("off", "on"), ("local", "on"), ("remote_write", "remote_write"), ("remote_apply", "remote_apply")],
    )
    def test_a_commit_waits_for_the_disk_and_for_the_standby(self, postgres: Postgres, theirs: str, ours: str) -> None:
        """P1, P19: whatever the database's default is; the operator may choose another way to wait."""

        def check(url: str) -> None:
            alter_database(url, f"synchronous_commit = {theirs}")
            with closing(open_store(url)) as store, store._database.writing() as connection:
                assert connection.execute(text("SHOW synchronous_commit")).scalar() == ours

        self.on_a_database("", postgres, check)

    @pytest.mark.parametrize(
        ("found", "text"),
        [
            ({"version": 130_009}, "PostgreSQL 14 or newer is needed"),
            ({"encoding": "LATIN1"}, "LATIN1; it must be UTF8"),
            ({"fsync": "off", "full_page_writes": "off"}, "has fsync and full_page_writes off"),
        ],
    )
    def test_unsafe_servers_are_refused(self, found: dict[str, Any], text: str) -> None:
        safe = State(version=140_000, encoding="UTF8", fsync="on", full_page_writes="on", unsafe="")
        refuse_lossy_server(safe)
        with pytest.raises(UnusableStoreError, match=text):
            refuse_lossy_server(replace(safe, **found))

    def test_an_older_server_gets_no_parameter_that_it_does_not_know(self) -> None:
        """So the error is about its version, and not about a parameter that it does not know."""
        assert "idle_session_timeout" not in setup(130_009, {})
        assert "idle_session_timeout" in setup(140_000, {})
        assert "transaction_timeout" not in setup(160_000, {}).replace("idle_in_transaction_session_timeout", "")
        assert "transaction_timeout" in setup(170_000, {}).replace("idle_in_transaction_session_timeout", "")

    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
    def test_three_url_schemes_are_accepted(self, database_url: str, scheme: str) -> None:
        url = database_url.replace("postgresql+psycopg://", f"{scheme}://")
        open_store(url).close()

    @staticmethod
    def on_a_database(options: str, postgres: Postgres, run: Callable[[str], None]) -> None:
        url = make_url(postgres.url).set(database="odd").render_as_string(hide_password=False)
        engine = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE odd TEMPLATE template0 {options}"))
            try:
                run(url)
            finally:
                connection.execute(text("DROP DATABASE odd WITH (FORCE)"))
        engine.dispose()
