"""Tests for PostgreSQL alone: what is sent together, and what it means if a part of it fails."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from lamina_server.domain.errors import DiskFullError, UnavailableError
from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark, Reply
from lamina_server.store.contract import CommitUnknownError, Expected
from lamina_server.store.open import open_store
from lamina_server.store.postgresql import database as postgresql
from lamina_server.store.sql.store import SqlStore
from tests.conformance.commits import CONFIG, commit, insert, map_at, planned, request, values

pytestmark = pytest.mark.postgres

WAITERS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


@pytest.fixture
def store(database_url: str) -> Iterator[SqlStore]:
    with closing(open_store(database_url)) as store:
        yield store


def next_plan(store: SqlStore, data: Any) -> Plan:
    with store.read() as reading:
        return planned(reading, CONFIG, {"x": data})


def write(store: SqlStore, plan: Plan, name: str) -> tuple[HeadMark | None, bool]:
    """Write a plan as a server does, if it follows the head and its request has no outcome.

    Return the head before it, and whether the request had an outcome.
    """
    key = request(name)
    with store.write(Expected([CONFIG], {key.caller: [name]}, 1)) as writing:
        head = writing.head_marks([CONFIG]).get(CONFIG)
        is_known = name in writing.replies(key.caller, [name])
        if head and head.number + 1 == plan.version.number and not is_known:
            writing.insert(plan)
            writing.remember(key, Reply(CONFIG, plan.version, created=False, merged=False))
    return head, is_known


@contextmanager
def triggered(operator: Engine, table: str, body: str, *, at_commit: bool = False) -> Iterator[None]:
    """Run PL/pgSQL for each row that is inserted into a table, at once or within the COMMIT."""
    kind, when = ("CONSTRAINT TRIGGER", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("TRIGGER", "")
    with operator.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$;"
            f" CREATE {kind} act AFTER INSERT ON {table} {when} FOR EACH ROW EXECUTE FUNCTION act()"
        )
        try:
            yield
        finally:
            connection.exec_driver_sql("DROP FUNCTION act CASCADE")


def head_of(store: SqlStore) -> int:
    with store.read() as reading:
        head = reading.head(CONFIG)
    return head.number if head else 0


def writers_driver(store: SqlStore) -> Any:
    """Return the driver's connection that the next writing block will use."""
    with store._database.writing() as connection:
        return connection.connection.driver_connection


class TestRoundTrips:
    def test_a_commit_takes_one_to_decide_and_one_to_write(self, store: SqlStore, tmp_path: Path) -> None:
        commit(store, {"x": 1})
        plan, trace, driver = next_plan(store, 2), tmp_path / "trace", writers_driver(store)
        with trace.open("w") as file:
            driver.pgconn.trace(file.fileno())
            write(store, plan, "one")
            driver.pgconn.untrace()
        messages = [line.split("\t")[1:] for line in trace.read_text().splitlines() if "\t" in line]
        ends = [name for side, _, name, *_ in messages if side == "F" and name in {"Query", "Sync", "Flush"}]
        assert ends == ["Sync", "Sync"]
        assert head_of(store) == 2

    def test_what_is_asked_together_with_the_lock_is_answered_after_it(
        self, store: SqlStore, database_url: str, operator: Engine
    ) -> None:
        """P6, P8: the answers show what was committed while the block waited for the lock."""
        commit(store, {"x": 1})
        plan = next_plan(store, "late")
        with closing(open_store(database_url)) as other, ThreadPoolExecutor(1) as threads:
            with other.write() as writing, operator.connect() as connection:
                version = insert(writing, CONFIG, {"x": "first"})
                writing.remember(request("same"), Reply(CONFIG, version, created=False, merged=False))
                writing.head(CONFIG)
                late = threads.submit(write, store, plan, "same")
                while not connection.execute(text(WAITERS)).scalar():
                    pass
            assert late.result(10) == (HeadMark(2, version.hash), True)
        assert head_of(store) == 2

    def test_rows_that_do_not_fit_into_one_message_are_written(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgresql, "INSERTED_AT_ONCE_BYTES", 1)
        many = {f"key/{number:03}": number for number in range(200)}
        commit(store, many)
        with store.read() as reading:
            assert map_at(reading, 1) == values(many)

    def test_statements_that_are_no_longer_prepared_are_prepared_again(self, store: SqlStore) -> None:
        commit(store, {"x": 1})
        writers_driver(store).execute("DEALLOCATE ALL")
        with pytest.raises(UnavailableError, match="nothing was written"):
            commit(store, {"x": 2})
        assert commit(store, {"x": 2}).number == 2


class TestInsertsWithTheirCommit:
    @pytest.mark.parametrize("table", ["config", "config_value", "config_request"])
    def test_a_refused_one_says_why_and_nothing_is_committed(
        self, store: SqlStore, operator: Engine, table: str
    ) -> None:
        """P2: the COMMIT behind it is not done."""
        commit(store, {"x": 1})
        plan = next_plan(store, 2)
        with triggered(operator, table, "RAISE 'full' USING ERRCODE = '53100'"), pytest.raises(DiskFullError):
            write(store, plan, "one")
        assert head_of(store) == 1
        write(store, plan, "one")
        assert head_of(store) == 2

    @pytest.mark.parametrize("at_commit", [False, True])
    def test_a_session_that_ends_before_the_commit_has_written_nothing(
        self, store: SqlStore, operator: Engine, *, at_commit: bool
    ) -> None:
        """P2: as long as the server itself says so. Within the COMMIT, nobody knows."""
        commit(store, {"x": 1})
        plan = next_plan(store, 2)
        ends = "PERFORM pg_terminate_backend(pg_backend_pid())"
        with triggered(operator, "config", ends, at_commit=at_commit):
            with pytest.raises(UnavailableError) as caught:
                write(store, plan, "one")
            assert isinstance(caught.value, CommitUnknownError) == at_commit
            assert caught.value.wrote_nothing != at_commit
        assert head_of(store) == 1
        write(store, plan, "one")
        assert head_of(store) == 2

    def test_a_warning_about_an_insert_is_none_about_the_commit(self, store: SqlStore, operator: Engine) -> None:
        with triggered(operator, "config_value", "RAISE WARNING 'a trigger speaks'"):
            assert commit(store, {"x": 1}).number == 1
        assert head_of(store) == 1
