"""EIO from fsync: the server acknowledges nothing that the disk has not confirmed, and does not go on after it."""

import time
from pathlib import Path

import pytest

from tests.faults.campaign import AT_LAST, CONFIG, WARM_UP, judge, prepare
from tests.faults.clients import Client, Intent
from tests.faults.histories import Outcome, Recorder, load
from tests.faults.injecting import SYNC, injecting
from tests.faults.load_processes import Loads
from tests.faults.nemesis import backends, running
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

EIO = "error=EIO"
pytestmark = pytest.mark.timeout(120)

LARGE = "x" * 300_000
CHECKPOINT_COMMITS = 30
"""Commits of LARGE values: twice the 4 MB of log after which SQLite checkpoints by itself."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lamina.db"


def test_a_commit_whose_fsync_fails_is_not_acknowledged(tmp_path: Path, path: Path, folder: Path, seed: int) -> None:
    """P1, P8, P12: no OK, the server exits with 1, and after a restart the request id resolves the commit."""
    url = f"sqlite:///{path}"
    log = path.with_name(path.name + "-wal")
    with ServerProcess(url) as server:
        prepare([server.target], folder)
        with Loads(CONFIG, [server.target], folder, seed=seed) as loads:
            loads.wait_for(WARM_UP)
            with injecting(server.pid, calls=SYNC, what=EIO, trace=tmp_path / "trace", only=[log]) as injection:
                begin = time.monotonic_ns()
                code = server.wait()
                end = time.monotonic_ns()
            server.restart()
            loads.wait_for(AT_LAST)
        result = judge(url, [server.target], folder, seed=seed)

    assert code == 1
    assert injection.happened
    meanwhile = [c for c in result.history.commits if begin < c.at and c.ended is not None and c.ended < end]
    assert not [commit for commit in meanwhile if commit.outcome is Outcome.OK]
    assert not result.violations, result.explain()
    assert result.indeterminate


def test_a_checkpoint_whose_fsync_fails_loses_nothing(tmp_path: Path, path: Path, folder: Path) -> None:
    """P1, P5: every acknowledged commit is in the log, even if the file is damaged; a later crash changes nothing.

    The server may go on (SQLite repeats the checkpoint from the log) or end.
    """
    url = f"sqlite:///{path}"
    with ServerProcess(url) as server:
        prepare([server.target], folder)
        with (
            Client(CONFIG, [server.target], Recorder(folder, "c0")) as client,
            injecting(server.pid, calls=SYNC, what=EIO, trace=tmp_path / "trace", only=[path]) as injection,
        ):
            for number in range(CHECKPOINT_COMMITS):
                if client.commit(Intent(f"c0-{number}", {"x": f"c0-{number} {LARGE}"})).outcome is not Outcome.OK:
                    break
            server.kill()
        assert injection.happened
        assert any(commit.outcome is Outcome.OK for commit in load(folder).commits[1:])
        server.restart()
        result = judge(url, [server.target], folder, seed=0)
    assert not result.violations, result.explain()


@pytest.mark.postgres
def test_a_postgresql_whose_fsync_fails(mortal_postgres: Postgres, tmp_path: Path, folder: Path, seed: int) -> None:
    """P1, P8: PostgreSQL restarts by itself; the server stays up, and resolves its open commit."""
    url = mortal_postgres.new_database()
    with running([ServerProcess(url)], folder) as (server,):
        prepare([server.target], folder)
        with Loads(CONFIG, [server.target], folder, seed=seed) as loads:
            loads.wait_for(WARM_UP)
            pids = backends(mortal_postgres, url)
            with injecting(*pids, calls=SYNC, what=EIO, trace=tmp_path / "trace") as injection:
                loads.wait_for(AT_LAST)  # over connections to the new backends
        result = judge(url, [server.target], folder, seed=seed)
    assert injection.happened
    assert not result.violations, result.explain()
