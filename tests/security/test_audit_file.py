"""The audit of a server as a process: its file, its signals, and its standard output."""

import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.support.server import ServerProcess
from tests.support.terminals import in_terminal


def events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]


def commit(server: ServerProcess, number: int) -> None:
    with lamina.connect(server.target, cache_dir="") as client:
        config = client.config("shop/prod", create=True)
        config["a"] = number
        config.commit()


def test_sighup_opens_the_file_anew_and_ends_nothing(tmp_path: Path) -> None:
    """A file that was moved away gets no more lines, and the server goes on."""
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db", "--audit-file", str(path)) as server:
        commit(server, 1)
        path.rename(moved)
        server.signal(signal.SIGHUP)
        server.until_logged("audit file reopened")
        commit(server, 2)
        assert (events(moved), events(path)) == (["write", "written"], ["write", "written"])
        server.stop()


def test_a_terminal_that_goes_away_ends_a_server_with_an_audit(tmp_path: Path) -> None:
    """Its SIGHUP is no wish for a new file: the process has lost its controlling terminal."""
    path, log = tmp_path / "audit.jsonl", tmp_path / "log"
    serve = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0"]
    program = [*serve, "--database", f"sqlite:///{tmp_path}/lamina.db", "--audit-file", str(path)]
    with in_terminal(program, log) as (process, close):
        process.send_signal(signal.SIGHUP)  # the terminal is there
        while "audit file reopened" not in log.read_text():
            os.sched_yield()
        close()
        assert process.wait(20) == 0, log.read_text()
    assert '"stopping"' in log.read_text()


def test_a_standard_output_that_nobody_reads_stops_writes_alone(tmp_path: Path) -> None:
    """The server does not wait for its reader, and goes on when the reader does."""
    serve = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0", "--audit-file", "-"]
    database = f"sqlite:///{tmp_path}/lamina.db"
    with subprocess.Popen([*serve, "--database", database], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        target = process.stdout.readline().split()[3].decode().rstrip(",")
        fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, 4096)
        with lamina.connect(target, cache_dir="", timeout=2) as client:
            config = client.config("shop/prod", create=True)
            with pytest.raises(lamina.UnavailableError, match="cannot write its audit"):
                for number in range(1_000):
                    config["a"] = number
                    config.commit()
            config.discard()
            assert config.version < 100
            told = os.read(process.stdout.fileno(), 65536)
            config["a"] = "again"
            config.commit()
        process.terminate()
        told += process.stdout.read()
    lines = [json.loads(line)["event"] for line in told.splitlines() if line.startswith(b"{")]
    assert lines.count("write") >= config.version


@pytest.mark.parametrize("path", ["no/such/folder/audit", "."])
def test_a_file_that_cannot_be_made_is_refused_before_anything_is_touched(tmp_path: Path, path: str) -> None:
    program: list[Any] = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0"]
    done = subprocess.run(
        [*program, "--audit-file", path], cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"lamina-server: --audit-file: cannot write the audit to {path}: ")
    assert list(tmp_path.iterdir()) == []
