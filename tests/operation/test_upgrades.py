"""A new release on the database of an older one: what it upgrades, what it keeps, and what it refuses."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

import lamina
from lamina_server.store.open import open_store
from lamina_server.store.sql.revision import KNOWN, NEWEST
from lamina_server.store.sqlite import backup
from tests.data import databases
from tests.faults.disks import small_disk
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

OLDER = [revision for revision in databases.REVISIONS if revision < NEWEST]
KILLED = 128 + signal.SIGKILL


def lamina_server(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "lamina_server", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def revision_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        (revision,) = database.execute("SELECT version_num FROM lamina_schema_version").fetchone()
    return str(revision)


def backup_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before-{NEWEST}.db")


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, str]:
    """The options for a server that can read the secrets."""
    return "--secret-key-file", str(databases.outer_key(tmp_path))


def check(server: ServerProcess, expected: databases.Content) -> None:
    """Read every old version, commit on top of each config, and follow one from its beginning."""
    with lamina.connect(server.target) as client:
        assert databases.read(client) == expected
        for name, versions in expected.items():
            config = client.config(name)
            config["new"] = "of this release"
            assert config.commit().number == len(versions) + 1
            config.verify()
        with client.config("shop/prod").watch(after=0) as watch:
            numbers = [each.version for each in islice(watch.versions(), len(expected["shop/prod"]) + 1)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_there_are_databases_of_each_schema() -> None:
    """Only development versions had the first; see tests/server/store/test_version_table.py."""
    assert list(KNOWN[1:]) == databases.REVISIONS, "run `python -m tests.data.make`, and commit the files"


@pytest.mark.parametrize("revision", databases.REVISIONS)
class TestAnyRelease:
    """Databases that releases have made; see tests/data."""

    def test_its_sqlite_file(self, revision: str, tmp_path: Path, key: tuple[str, str]) -> None:
        path = databases.sqlite(revision, tmp_path)
        with ServerProcess(f"sqlite:///{path}", *key) as server:
            is_upgraded = f", upgraded from schema {revision} to {NEWEST}, with a backup" in server.printed
            assert is_upgraded == ('"event": "tables upgraded"' in server.log) == (revision < NEWEST)
            check(server, databases.contents(revision, "sqlite"))
        done = lamina_server("verify", "--database", f"sqlite:///{path}")
        assert (done.returncode, done.stderr) == (0, "")
        assert revision_of(path) == NEWEST
        assert backup_of(path).exists() == is_upgraded

    def test_its_postgresql_database(self, revision: str, postgres: Postgres, key: tuple[str, str]) -> None:
        url = databases.postgresql(revision, postgres)
        is_older = revision < NEWEST
        if is_older:
            refused = lamina_server("serve", "--database", url, "--listen", "localhost:0")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert f"have the schema '{revision}', and this release needs '{NEWEST}'" in refused.stderr
            assert "by `lamina-server migrate` of this release" in refused.stderr
        done = lamina_server("migrate", "--database", url)
        assert done.returncode == 0, done.stderr
        assert (f"upgraded from schema {revision} to {NEWEST}" in done.stdout) == is_older
        with ServerProcess(url, *key) as server:
            check(server, databases.contents(revision, "postgresql"))
        done = lamina_server("verify", "--database", url)
        assert (done.returncode, done.stderr) == (0, "")
        postgres.drop_database(url)


@pytest.mark.parametrize("revision", OLDER)
class TestOlderSqlite:
    """The backup beside the file, from before its upgrade."""

    def test_the_backup_is_the_database_from_before(self, revision: str, tmp_path: Path, key: tuple[str, str]) -> None:
        path = databases.sqlite(revision, tmp_path)
        done = lamina_server("migrate", "--database", f"sqlite:///{path}")
        assert done.returncode == 0
        assert f"upgraded from schema {revision} to {NEWEST}, with a backup from before it in {backup_of(path)}\n" in (
            done.stdout
        )
        assert revision_of(backup_of(path)) == revision
        again = shutil.copyfile(backup_of(path), tmp_path / "again.db")
        again.chmod(0o600)
        with ServerProcess(f"sqlite:///{again}", *key) as server:
            check(server, databases.contents(revision, "sqlite"))

    def test_an_older_backup_of_another_past_is_kept(self, revision: str, tmp_path: Path) -> None:
        path = databases.sqlite(revision, tmp_path)
        other = b"what somebody has put there"
        backup_of(path).write_bytes(other)
        open_store(f"sqlite:///{path}").close()
        assert backup_of(path).read_bytes() == other
        assert revision_of(tmp_path / f"lamina.db.before-{NEWEST}-2.db") == revision

    def test_a_full_disk_refuses_the_start_and_loses_nothing(
        self, revision: str, tmp_path: Path, key: tuple[str, str]
    ) -> None:
        with small_disk(tmp_path / "disk", 2 << 20) as disk:
            path = databases.sqlite(revision, disk.folder)
            disk.fill(but_bytes=100_000)  # enough to open it, not enough for a copy
            refused = lamina_server("serve", "--database", f"sqlite:///{path}", "--listen", "localhost:0")
            assert (refused.returncode, refused.stdout) == (1, "")
            assert "its tables must be upgraded, and the backup before that failed, so nothing was changed" in (
                refused.stderr
            )
            assert "the disk is full" in refused.stderr
            assert revision_of(path) == revision
            assert {each.name for each in disk.folder.iterdir()} - {"lamina.db-wal", "lamina.db-shm"} == {
                "lamina.db",
                "filler",
            }
            disk.clear()
            with ServerProcess(f"sqlite:///{path}", *key) as server:
                check(server, databases.contents(revision, "sqlite"))

    def test_it_can_be_killed_at_any_step(self, revision: str, tmp_path: Path, key: tuple[str, str]) -> None:
        path = databases.sqlite(revision, tmp_path)
        url = f"sqlite:///{path}"
        steps = 0
        while killed_at_step(steps, url):
            assert revision_of(path) in {revision, NEWEST}
            if revision_of(path) == NEWEST:  # after its COMMIT: begin anew
                path.unlink()
                for other in tmp_path.glob("*lamina.db*"):
                    other.unlink()
                databases.sqlite(revision, tmp_path)
            steps += 1
        assert steps > 20
        assert revision_of(path) == NEWEST
        assert [each.name for each in tmp_path.glob("*.before-*")] == [backup_of(path).name]
        assert not list(tmp_path.glob(".*"))
        assert revision_of(backup_of(path)) == revision
        with ServerProcess(url, *key) as server:
            check(server, databases.contents(revision, "sqlite"))


def killed_at_step(step: int, url: str) -> bool:
    """Open a database in a process of its own, which is killed before a step. Return whether there was such a step."""
    pid = os.fork()
    if not pid:
        try:
            _kill_at(step)
            open_store(url)  # not closed: that would move the log into the file
            os._exit(0)
        except BaseException:  # noqa: BLE001 - nothing of the test may go on here
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, -signal.SIGKILL}
    return code != 0


def _kill_at(step: int) -> None:
    """Kill this process before a statement, or a step of the backup, with this number."""
    left = iter(range(step))

    def count(*_: Any, **__: Any) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        count()
        return function(*arguments)

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    for name in ("_copy", "_check", "_name", "_sync"):
        setattr(backup, name, partial(counted, name, getattr(backup, name)))


@pytest.mark.parametrize("command", ["serve", "migrate"])
class TestANewerSchema:
    """The release that made it is needed, or a backup from before."""

    def test_in_a_file(self, command: str, tmp_path: Path) -> None:
        path = databases.sqlite(databases.REVISIONS[-1], tmp_path)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE lamina_schema_version SET version_num = '9999'")
        self._is_refused(command, f"sqlite:///{path}")
        assert not list(tmp_path.glob("*.before-*"))

    def test_in_postgresql(self, command: str, postgres: Postgres) -> None:
        url = databases.postgresql(databases.REVISIONS[-1], postgres)
        execute(url, "UPDATE lamina_schema_version SET version_num = '9999'")
        self._is_refused(command, url)
        postgres.drop_database(url)

    def _is_refused(self, command: str, url: str) -> None:
        refused = lamina_server(command, "--database", url)
        words = f"the database's schema '9999' is not known to this release, whose newest is '{NEWEST}': use a newer"
        assert (refused.returncode, refused.stdout) == (1, "")
        assert f"lamina-server: {words}" in refused.stderr


@pytest.mark.parametrize("revision", OLDER)
def test_a_server_can_wait_for_the_migration(revision: str, postgres: Postgres, key: tuple[str, str]) -> None:
    """As in a deployment that starts both at once."""
    url = databases.postgresql(revision, postgres)
    program = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0", "--wait-for-database", "60"]
    with subprocess.Popen(
        [*program, "--database", url, *key], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        assert any(b'"event": "waiting for the database"' in line for line in server.stderr)
        assert lamina_server("migrate", "--database", url).returncode == 0
        assert server.stdout.readline().startswith(b"lamina-server ready on ")
        server.terminate()
    assert server.returncode == 0
    postgres.drop_database(url)


def execute(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
