"""Tests for SQLite alone: one file for one process, its pragmas, and its errors."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from lamina_server.domain.errors import DiskFullError, HashMismatchError, Reason, UnavailableError
from lamina_server.store.address import DatabaseAddressError
from lamina_server.store.contract import CommitUnknownError, UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sqlite.database import SqliteDatabase
from tests.conformance.commits import CONFIG, commit, insert, map_at, values
from tests.conformance.places import damage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lamina.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    store = open_store(f"sqlite:///{path}")
    yield store
    store.close()


def writer_of(store: SqlStore) -> sqlite3.Connection:
    assert isinstance(store._database, SqliteDatabase)
    connection = store._database._writer.raw_connection().driver_connection
    assert isinstance(connection, sqlite3.Connection)
    return connection


class TestOneServer:
    def test_a_second_server_is_refused_and_does_no_harm(self, path: Path, store: SqlStore) -> None:
        commit(store, {"x": 1})
        with pytest.raises(UnusableStoreError, match=r"lamina\.db' is in use by another server"):
            open_store(f"sqlite:///{path}")
        assert commit(store, {"x": 2}).number == 2

    def test_a_second_server_is_refused_under_another_name_of_the_file(self, path: Path, store: SqlStore) -> None:
        link = path.with_name("link.db")
        link.symlink_to(path)
        with pytest.raises(UnusableStoreError, match="is in use by another server"):
            open_store(f"sqlite:///{link}")
        assert commit(store, {"x": 1}).number == 1

    def test_the_next_server_may_start_when_the_first_has_stopped(self, path: Path, store: SqlStore) -> None:
        commit(store, {"x": 1})
        store.close()
        with closing(open_store(f"sqlite:///{path}")) as next_one:
            assert commit(next_one, {"x": 2}).number == 2

    def test_a_failed_open_leaves_no_lock(self, path: Path) -> None:
        path.write_bytes(b"no database, but long enough to be told from one" * 100)
        for _ in range(2):
            with pytest.raises(UnusableStoreError, match="is not a SQLite database"):
                open_store(f"sqlite:///{path}")
        assert [each.name for each in path.parent.iterdir()] == [path.name]  # and leaves nothing beside a foreign file
        path.unlink()
        open_store(f"sqlite:///{path}").close()

    def test_closing_leaves_one_file_with_all_data(self, path: Path, store: SqlStore) -> None:
        """So an operator who copies the file of a stopped server has it all."""
        commit(store, {"x": 1})
        store.close()
        assert {each.name for each in path.parent.iterdir()} == {"lamina.db"}


class TestOpening:
    def test_a_missing_folder_is_named(self) -> None:
        with pytest.raises(UnusableStoreError, match="there is no folder '/no/such/folder'"):
            open_store("sqlite:////no/such/folder/lamina.db")

    @pytest.mark.parametrize("url", ["", "lamina.db", "sqlite://lamina.db", "sqlite:///lamina.db?timeout=3"])
    def test_a_bad_address_is_refused(self, url: str) -> None:
        with pytest.raises(DatabaseAddressError):
            open_store(url)

    def test_a_newer_schema_is_refused(self, path: Path, store: SqlStore) -> None:
        store.close()
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE lamina_schema_version SET version_num = 'of the future'")
        for _ in range(2):  # and nobody is kept out by the attempt
            with pytest.raises(UnusableStoreError, match="not known to this release"):
                open_store(f"sqlite:///{path}")

    def test_two_databases_in_memory_share_nothing(self) -> None:
        with closing(open_store("sqlite://")) as one, closing(open_store("sqlite:///:memory:")) as other:
            commit(one, {"x": 1})
            with other.read() as reading:
                assert reading.head(CONFIG) is None

    def test_a_path_may_have_special_characters(self, tmp_path: Path) -> None:
        path = tmp_path / "a b%20#&'é?.db"
        with closing(open_store(f"sqlite:///{str(path).replace('%', '%25').replace('?', '%3F')}")) as store:
            commit(store, {"x": 1})
            with store.read() as reading:
                assert map_at(reading, 1) == values({"x": 1})


PRAGMAS = {
    "journal_mode": "wal",
    "trusted_schema": 0,
    "cell_size_check": 1,
    "busy_timeout": 5000,
}
OF_THE_WRITER = {
    **PRAGMAS,
    "synchronous": 2,
    "foreign_keys": 1,
    "recursive_triggers": 1,
    "query_only": 0,
    "wal_autocheckpoint": 1000,
}
OF_READERS = {**PRAGMAS, "query_only": 1, "wal_autocheckpoint": 0}


class TestConnections:
    def test_the_connections_have_the_promised_settings(self, store: SqlStore) -> None:
        def ask(connection: Any, names: dict[str, object]) -> dict[str, object]:
            return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

        with store._database.writing() as connection:
            assert ask(connection, OF_THE_WRITER) == OF_THE_WRITER
        with store._database.reading() as connection:
            assert ask(connection, OF_READERS) == OF_READERS

    def test_a_reader_cannot_write(self, store: SqlStore) -> None:
        with store._database.reading() as connection, pytest.raises(DBAPIError, match="readonly"):
            connection.exec_driver_sql("INSERT INTO config_name (name) VALUES ('x')")

    def test_a_reading_block_holds_no_transaction(self, store: SqlStore) -> None:
        """Otherwise the write-ahead log could not be emptied while the block is open."""
        for number in range(3):
            commit(store, {"x": number})
        with store.read() as reading:
            assert next(iter(reading.entries(CONFIG, 3))).origin == 3
            busy, _, _ = writer_of(store).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert busy == 0

    def test_readers_beyond_the_connections_wait_and_then_get_an_error(self, path: Path) -> None:
        with closing(open_store(f"sqlite:///{path}", reader_connections=1, wait_seconds=0.01)) as store:
            with store.read(), pytest.raises(UnavailableError) as caught, store.read():
                pass
            assert caught.value.reason is Reason.STORE_UNAVAILABLE
            with store.read() as reading:
                assert reading.head(CONFIG) is None

    def test_one_that_is_in_use_while_the_store_closes_is_closed_when_it_is_given_back(self, store: SqlStore) -> None:
        with store._database.reading() as reading:
            driver = reading.connection.driver_connection
            store.close()
        assert isinstance(driver, sqlite3.Connection)
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            driver.total_changes  # noqa: B018 - it asks the connection

    def test_closing_interrupts_what_is_under_way(self, path: Path) -> None:
        """A keyframe of a server that ends: it is rolled back, and nobody waits for it."""
        store, begun = open_store(f"sqlite:///{path}"), threading.Event()
        writer_of(store).create_function("begun", 0, begun.set)
        failures: list[OperationalError] = []

        def work_for_ever() -> None:
            try:
                with store._database.side_transaction() as connection:
                    connection.exec_driver_sql("INSERT INTO config_name (name) VALUES ('x')")
                    endless = "WITH RECURSIVE n(i) AS (SELECT begun() UNION ALL SELECT 1 FROM n) SELECT count(*) FROM n"
                    connection.exec_driver_sql(endless)
            except OperationalError as error:
                failures.append(error)

        thread = threading.Thread(target=work_for_ever)
        thread.start()
        assert begun.wait(10)
        store.close()
        thread.join(10)
        assert [str(failure.orig) for failure in failures] == ["interrupted"]
        with closing(open_store(f"sqlite:///{path}")) as again, again.read() as reading:
            assert reading.configs(prefix="", after="", limit=9) == []


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("made up by the test")
    error.sqlite_errorcode = code
    return error


class TestErrors:
    def test_a_full_disk_writes_nothing_and_later_commits_succeed(self, store: SqlStore) -> None:
        commit(store, {"x": 1})
        store.write_keyframe(CONFIG)
        (pages,) = writer_of(store).execute("PRAGMA page_count").fetchone()
        writer_of(store).execute(f"PRAGMA max_page_count = {pages}")
        for _ in range(2):
            with pytest.raises(DiskFullError) as caught:
                commit(store, {"x": 2, "y": "y" * 100_000})
            assert "page" not in str(caught.value)
            assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        with store.read() as reading:
            assert map_at(reading, 1) == values({"x": 1})
            assert reading.head(CONFIG) == reading.versions(CONFIG, [1])[1]
        writer_of(store).execute("PRAGMA max_page_count = 1000000")
        assert commit(store, {"x": 2, "y": "y" * 100_000}).number == 2

    def test_a_block_is_lost_even_if_its_error_was_caught(self, store: SqlStore) -> None:
        """SQLite has rolled back by itself, so the rest of the block must not be committed alone."""
        (pages,) = writer_of(store).execute("PRAGMA page_count").fetchone()
        writer_of(store).execute(f"PRAGMA max_page_count = {pages + 2}")

        def go_on() -> None:
            with store.write() as writing:
                insert(writing, CONFIG, {"x": 1})
                insert(writing, CONFIG, {"y": "y" * 100_000})
                with suppress(DiskFullError):
                    writing.head(CONFIG)
                with suppress(DiskFullError):
                    insert(writing, "other", {"x": 1})

        with pytest.raises(DiskFullError):
            go_on()
        with store.read() as reading:
            assert reading.configs(prefix="", after="", limit=9) == []

    def test_the_write_lock_is_taken_when_a_block_begins(self, path: Path, store: SqlStore) -> None:
        """A transaction that has read before would not get it, however long it waited."""
        with (
            store.write(),
            closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")

    def test_a_lock_of_another_program_makes_a_commit_fail(self, path: Path, store: SqlStore) -> None:
        writer_of(store).execute("PRAGMA busy_timeout = 0")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(UnavailableError, match="nothing was written") as caught:
                commit(store, {"x": 1})
            assert not isinstance(caught.value, CommitUnknownError)
            with store.read() as reading:
                assert reading.head(CONFIG) is None
        assert commit(store, {"x": 1}).number == 1

    @pytest.mark.parametrize("really", [False, True])
    def test_any_other_failed_commit_is_unknown_and_stops_the_store(
        self, path: Path, store: SqlStore, monkeypatch: pytest.MonkeyPatch, *, really: bool
    ) -> None:
        """A version that may not be durable is shown to no reader; only a restart resolves it."""
        commit(store, {"x": 1})
        with monkeypatch.context() as patch:
            patch.setattr(*self.failing_commit(store, sqlite3.SQLITE_IOERR, really=really))
            with pytest.raises(CommitUnknownError) as caught:
                commit(store, {"x": 2})
        assert caught.value.reason is Reason.STORE_UNAVAILABLE
        assert "made up" not in str(caught.value)
        for verb in (store.read, store.write):
            with pytest.raises(UnavailableError, match="must be restarted"), verb():
                pass
        store.close()
        with closing(open_store(f"sqlite:///{path}")) as again, again.read() as reading:
            head = reading.head(CONFIG)
        assert head is not None
        assert head.number == (2 if really else 1)

    def test_a_commit_on_a_full_disk_writes_nothing_and_the_store_goes_on(
        self, store: SqlStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(*self.failing_commit(store, sqlite3.SQLITE_FULL, really=False))
            with pytest.raises(DiskFullError):
                commit(store, {"x": 1})
        with store.read() as reading:
            assert reading.head(CONFIG) is None
        assert commit(store, {"x": 1}).number == 1

    @staticmethod
    def failing_commit(store: SqlStore, code: int, *, really: bool) -> tuple[Any, str, Callable[[Any], None]]:
        assert isinstance(store._database, SqliteDatabase)

        def commit(connection: Any) -> None:
            if really:
                connection.commit()
            raise sqlite_error(code)

        return store._database._writer.dialect, "do_commit", commit

    def test_a_text_that_is_not_utf8_is_data_loss(self, store: SqlStore) -> None:
        """P5: a text that is not UTF-8 is found before its digest is compared."""
        commit(store, {"x": "text", "y": 1})
        damage(store, "UPDATE config_value SET string_value = CAST(x'ff' AS TEXT) WHERE name = 'x'")
        with store.read() as reading:
            for keys in (["x"], ["x", "y"]):
                with pytest.raises(HashMismatchError):
                    reading.states(CONFIG, 1, keys)
            assert reading.values(CONFIG, 1, ["y"]) == values({"y": 1})
        assert commit(store, {"y": 2}).number == 2  # one value is damaged, and not the file
