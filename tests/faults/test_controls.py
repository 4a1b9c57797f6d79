"""Runs that must fail: if certain damage were not found, the other runs would show nothing."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.campaign import AT_LAST, CONFIG, WARM_UP, Result, judge, prepare
from tests.faults.load_processes import Loads
from tests.faults.violations import Check, count
from tests.support.server import ServerProcess

pytestmark = pytest.mark.timeout(120)

FILES = ("", "-wal", "-shm")


def run_with(between: Callable[[Path], None], path: Path, folder: Path, seed: int, *, older: Path) -> Result:
    """Run a load and kill the server twice; copy the files to `older` at first, and then change them by `between`."""
    url = f"sqlite:///{path}"
    with ServerProcess(url) as server:
        prepare([server.target], folder)
        with Loads(CONFIG, [server.target], folder, seed=seed) as loads:
            loads.wait_for(WARM_UP)
            server.kill()
            copy(path, older)
            server.restart()
            loads.wait_for(WARM_UP)
            server.kill()
            between(path)
            server.restart()
            loads.wait_for(AT_LAST)
        return judge(url, [server.target], folder, seed=seed)


def copy(source: Path, target: Path) -> None:
    for suffix in FILES:
        there = target.with_name(target.name + suffix)
        there.unlink(missing_ok=True)
        here = source.with_name(source.name + suffix)
        if here.exists():
            shutil.copyfile(here, there)


def test_a_failover_that_loses_commits_is_reported(tmp_path: Path, folder: Path, seed: int) -> None:
    """An older copy replaces the database, as after a failover without synchronous replication."""
    path, older = tmp_path / "lamina.db", tmp_path / "older.db"
    result = run_with(lambda path: copy(older, path), path, folder, seed, older=older)
    assert Check.LOST in count(result.violations), result.explain()


def test_a_database_that_forgets_request_ids_is_reported(tmp_path: Path, folder: Path, seed: int) -> None:
    """Without the remembered request ids, a commit that is sent again is written again."""

    def forget(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'config_request'"
            for (trigger,) in connection.execute(query).fetchall():
                connection.execute(f'DROP TRIGGER "{trigger}"')
            connection.execute("DELETE FROM config_request")
            connection.commit()

    result = run_with(forget, tmp_path / "lamina.db", folder, seed, older=tmp_path / "older.db")
    found = count(result.violations)
    assert Check.FORGOTTEN in found, result.explain()
    assert Check.DOUBLED in found, result.explain()
