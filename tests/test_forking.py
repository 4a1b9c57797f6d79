"""A forked server ends, and fails to start, as the program would: tests of crashes and signals rely on it."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.forking import ForkedCommand
from tests.support.server import ServerProcess


@pytest.fixture(autouse=True)
def _forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ServerProcess, "forks", True)  # even in one run with the fault tests


def test_it_is_a_process_like_any_other(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        assert isinstance(server._process, ForkedCommand)
        assert os.getpgid(server.pid) == server.pid
        assert server.kill() == -signal.SIGKILL
        server.restart()
        server.stop(signal.SIGINT, expected=130)
        assert '"stopping"' in server.log


def test_its_own_crash_is_seen() -> None:
    server = ServerProcess("sqlite://")
    server.start()
    server.signal(signal.SIGKILL)
    with pytest.raises(AssertionError, match="ended with -9"):
        server.stop()


def test_a_refused_start_says_why() -> None:
    for server in (ServerProcess("nonsense://"), ServerProcess("sqlite://", LAMINA_SERVER_STOP_GRACE_SECONDS="many")):
        with pytest.raises(RuntimeError, match=r"did not get ready\n+lamina-server: "):
            server.start()


def test_what_is_read_before_a_fork_takes_a_program() -> None:
    with ServerProcess("sqlite://", GRPC_VERBOSITY="error") as server:
        assert not isinstance(server._process, ForkedCommand)
