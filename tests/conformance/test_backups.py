"""A backup of a SQLite file: its content, and that it changes neither the file, its log, its lock nor its server."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from lamina_server.models import Base
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sqlite.backup import back_up
from tests.conformance.commits import CONFIG, commit
from tests.server.databases import migrate_to


def nothing(_done: int, _total: int) -> None:
    """See no progress."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder / "lamina.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    """A store in use, with some ten pages of rows."""
    store = open_store(url)
    for number in range(1, 11):
        commit(store, {"x": number, "large": "." * 4000 + str(number)})
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder to copy into."""
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


def head_of(path: Path) -> int:
    with closing(open_store(f"sqlite:///{path}")) as store, store.read() as reading:
        head = reading.head(CONFIG)
        return head.number if head else 0


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file but SQLite's shared memory, which holds its locks."""
    return {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}


class TestTheCopy:
    def test_a_backup_is_one_file_that_only_its_owner_may_read(self, store: SqlStore, url: str, folder: Path) -> None:
        target = folder / "copy.db"
        made = back_up(url, target, nothing)
        assert [each.name for each in folder.iterdir()] == ["copy.db"]
        assert (made.path, made.size_bytes, made.configs) == (target, target.stat().st_size, 1)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert target.read_bytes()[18:20] == b"\x01\x01"  # no write-ahead log, by the file format
        with closing(sqlite3.connect(f"file:{target}?immutable=1", uri=True)) as connection:
            assert connection.execute("SELECT count(*) FROM lamina_log").fetchone() == (10,)
        assert head_of(target) == 10

    def test_a_backup_is_of_one_moment_and_blocks_no_commit(self, store: SqlStore, url: str, folder: Path) -> None:
        """P12: a commit between two steps does not wait, is not in the copy, and does not restart the copying."""
        seen: list[tuple[int, int]] = []

        def write(done: int, total: int) -> None:
            seen.append((done, total))
            commit(store, {"x": -done})

        back_up(url, folder / "copy.db", write, step_pages=1)
        pages = seen[0][1]
        assert pages > 10
        assert seen == [(done, pages) for done in range(1, pages + 1)]
        assert head_of(folder / "copy.db") == 10
        with store.read() as reading:
            head = reading.head(CONFIG)
        assert head is not None
        assert head.number == 10 + pages

    def test_a_backup_includes_the_log_of_a_crashed_server_and_leaves_the_log_alone(
        self, store: SqlStore, path: Path, folder: Path, tmp_path: Path
    ) -> None:
        """P1: to close the last connection would checkpoint the log if that connection could write."""
        crashed = tmp_path / "crashed"
        shutil.copytree(path.parent, crashed)
        (crashed / "lamina.db-shm").unlink()  # as after a power cut
        before = contents(crashed)
        assert len(before["lamina.db-wal"]) > 40_000
        back_up(f"sqlite:///{crashed / 'lamina.db'}", folder / "copy.db", nothing)
        assert contents(crashed) == before
        assert head_of(folder / "copy.db") == 10
        assert head_of(crashed / "lamina.db") == 10

    def test_a_backup_of_a_stopped_server_changes_nothing(
        self, store: SqlStore, path: Path, url: str, folder: Path
    ) -> None:
        store.close()
        before = path.read_bytes()
        back_up(url, folder / "copy.db", nothing)
        assert path.read_bytes() == before
        assert head_of(folder / "copy.db") == 10

    def test_the_schema_may_be_older(self, store: SqlStore, path: Path, folder: Path) -> None:
        store.close()
        older = f"sqlite:///{path.with_name('older.db')}"
        engine = create_engine(older)
        migrate_to(engine, "0001")
        with engine.connect() as connection:
            connection.execute(text("ATTACH :path AS newer"), {"path": str(path)})
            for table in ("config_name", "config", "config_value", "config_value_association"):
                connection.execute(text(f"INSERT INTO main.{table} SELECT * FROM newer.{table}"))
            connection.commit()
        engine.dispose()
        back_up(older, folder / "copy.db", nothing)
        assert head_of(folder / "copy.db") == 10


class TestRefusals:
    def test_an_existing_file_is_not_overwritten(self, store: SqlStore, url: str, folder: Path) -> None:
        target = folder / "copy.db"
        target.write_bytes(b"precious")
        with pytest.raises(match=r"copy\.db' exists already"):
            back_up(url, target, nothing)
        assert contents(folder) == {"copy.db": b"precious"}

    def test_a_file_that_appears_meanwhile_is_not_overwritten(self, store: SqlStore, url: str, folder: Path) -> None:
        target = folder / "copy.db"

        def write(_done: int, _total: int) -> None:
            target.write_bytes(b"precious")

        with pytest.raises(match="exists already"):
            back_up(url, target, write)
        assert contents(folder) == {"copy.db": b"precious"}

    def test_a_dangling_link_is_not_overwritten(self, store: SqlStore, url: str, folder: Path) -> None:
        (folder / "copy.db").symlink_to(folder / "elsewhere.db")
        with pytest.raises(match="exists already"):
            back_up(url, folder / "copy.db", nothing)
        assert not (folder / "elsewhere.db").exists()

    @pytest.mark.parametrize("suffix", ["-wal", "-journal"])
    def test_a_log_beside_the_target_is_refused(self, store: SqlStore, url: str, folder: Path, suffix: str) -> None:
        (folder / f"copy.db{suffix}").touch()
        with pytest.raises(match=rf"copy\.db{suffix}' of another database lies there"):
            back_up(url, folder / "copy.db", nothing)

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("postgresql://localhost/lamina", "use pg_dump"),
            ("postgresql+psycopg://ada:secret@localhost/lamina", "use pg_dump"),
            ("sqlite://", "in memory"),
        ],
    )
    def test_a_database_without_a_file_is_refused(self, url: str, text: str, folder: Path) -> None:
        with pytest.raises(match=text) as refused:
            back_up(url, folder / "copy.db", nothing)
        assert "secret" not in str(refused.value)


class TestFailures:
    def test_a_missing_database_is_refused(self, folder: Path) -> None:
        with pytest.raises(UnusableStoreError, match="there is no database"):
            back_up("sqlite:////no/such/lamina.db", folder / "copy.db", nothing)
        assert contents(folder) == {}

    def test_a_missing_folder_is_refused(self, store: SqlStore, url: str, folder: Path) -> None:
        with pytest.raises(UnusableStoreError, match=r"there is no folder '.*copies/none'"):
            back_up(url, folder / "none" / "copy.db", nothing)

    def test_a_file_that_is_not_a_database_is_refused(self, path: Path, url: str, folder: Path) -> None:
        path.write_bytes(b"not a database, and long enough to be seen as none" * 100)
        with pytest.raises(UnusableStoreError, match="it is not a SQLite database"):
            back_up(url, folder / "copy.db", nothing)
        path.unlink()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE config_name (id)")
        with pytest.raises(UnusableStoreError, match="not a database that lamina-server has made"):
            back_up(url, folder / "copy.db", nothing)
        assert contents(folder) == {}

    def test_tables_without_a_revision_are_refused(self, path: Path, url: str, folder: Path) -> None:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
        with pytest.raises(UnusableStoreError, match="not a database that lamina-server has made"):
            back_up(url, folder / "copy.db", nothing)

    def test_a_newer_schema_is_refused(self, store: SqlStore, url: str, folder: Path) -> None:
        with store._database.migrating() as engine, engine.begin() as connection:
            connection.execute(text("UPDATE lamina_schema_version SET version_num = 'of the future'"))
        with pytest.raises(UnusableStoreError, match="'of the future' is not known to this release"):
            back_up(url, folder / "copy.db", nothing)
        assert contents(folder) == {}

    def test_a_damaged_page_is_refused(self, store: SqlStore, path: Path, url: str, folder: Path) -> None:
        """P5: a damaged copy that looks whole is worse than none."""
        store.close()
        with path.open("r+b") as file:
            file.seek(-3 * 4096, os.SEEK_END)
            file.write(b"\xff" * 3 * 4096)
        with pytest.raises(UnusableStoreError, match=r"damaged|malformed"):
            back_up(url, folder / "copy.db", nothing)
        assert contents(folder) == {}

    def test_a_folder_without_write_permission_is_refused(self, store: SqlStore, url: str) -> None:
        with pytest.raises(UnusableStoreError, match=r"lamina\.db' cannot be copied to '/proc/copy\.db'"):
            back_up(url, Path("/proc/copy.db"), nothing)
