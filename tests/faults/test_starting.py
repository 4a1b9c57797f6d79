"""What surrounds a server process: its streams, its working directory and its signals. None of it costs a reply."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.support import absent
from tests.support.server import ServerProcess

COMMAND = shlex.join([sys.executable, "-m", "lamina_server"])
GONE = "mkdir gone && cd gone && rmdir ../gone && "

OFTEN = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]


class Started:
    """A server that a shell has started, once it has answered a call."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket: Path) -> None:
        self.process = process
        with grpc.insecure_channel(f"unix:{socket}", OFTEN) as channel:
            ConfigServiceStub(channel).ListConfigs(pb.ListConfigsRequest(), wait_for_ready=True, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> list[dict[str, Any]]:
        """End it; return its log."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, errors
        return [json.loads(line) for line in (errors or b"").splitlines()]


@contextmanager
def started(folder: Path, before: str = "", after: str = "", **pipes: Any) -> Iterator[Started]:
    """Start a server by a shell's line."""
    line = f"{before}exec {COMMAND} serve --database sqlite:///{folder}/lamina.db --listen unix:{folder}/socket {after}"
    process = subprocess.Popen(["sh", "-c", line], cwd=folder, stderr=subprocess.PIPE, **pipes)
    try:
        yield Started(process, folder / "socket")
    finally:
        process.kill()
        process.communicate()


def refused(folder: Path, arguments: str) -> str:
    """Return why a command does not work in a folder that was removed."""
    line = f"{GONE}exec {COMMAND} {arguments}"
    done = subprocess.run(["sh", "-c", line], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("2>/dev/full", None),
        (">/dev/full 2>/dev/full", None),
    ],
)
def test_a_stream_that_takes_nothing_is_no_reason_not_to_serve(
    streams: str, reason: str | None, tmp_path: Path
) -> None:
    with started(tmp_path, after=streams, stdout=subprocess.DEVNULL) as server:
        log = server.stop()
    warnings = [line["reason"] for line in log if line["event"] == "ready line not printed"]
    assert warnings == ([] if reason is None else [reason])


def test_a_reader_that_has_gone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with started(tmp_path, stdout=writing) as server:
        os.close(writing)
        assert "Broken pipe" in [line.get("reason") for line in server.stop()]


def test_a_file_of_ours_never_gets_the_number_of_a_stream(tmp_path: Path) -> None:
    """What writes to a stream that is closed would write into a database."""
    with started(tmp_path, after="<&- >&- 2>&-") as server:
        folder = Path(f"/proc/{server.process.pid}/fd")
        assert [(folder / str(number)).readlink() for number in range(3)] == [Path(os.devnull)] * 3


def test_a_working_directory_that_was_removed(tmp_path: Path) -> None:
    with started(tmp_path, before=GONE, stdout=subprocess.DEVNULL) as server:
        server.stop()


@pytest.mark.parametrize("command", ["serve --listen localhost:0", "verify", "backup copy"])
def test_a_relative_path_needs_a_working_directory(command: str, tmp_path: Path) -> None:
    assert "the working directory does not exist any more" in refused(tmp_path, command)


def test_a_result_that_cannot_be_printed_is_an_error_in_words(tmp_path: Path) -> None:
    line = f"exec {COMMAND} migrate --database sqlite:///{tmp_path}/lamina.db >/dev/full"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (1, "lamina-server: cannot write to stdout: No space left on device\n")


def test_a_terminal_that_goes_away_ends_it_like_sigterm(tmp_path: Path) -> None:
    """It may say so twice, and takes the streams with it."""
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server, grpc.insecure_channel(server.target) as channel:
        watch = ConfigServiceStub(channel).WatchKeyHistory(pb.WatchKeyHistoryRequest(config="a"))
        next(watch)
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGHUP)
        bookmark = next(watch)  # the last cursor
        assert bookmark.HasField("bookmark")
        with pytest.raises(grpc.RpcError) as ended:
            next(watch)
        assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
        assert server.wait() == 0
        assert '"stopping"' in server.log


def test_nohup_is_left_alone(tmp_path: Path) -> None:
    with started(tmp_path, before="trap '' HUP; ", stdout=subprocess.DEVNULL) as server:
        server.process.send_signal(signal.SIGHUP)
        log = server.stop()
    assert [line["event"] for line in log] == ["ready", "stopping"]


@contextmanager
def importing(folder: Path, imported: str, *program: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a Python program that stops while it imports a module."""
    (folder / f"{imported}.py").write_text("import signal\nprint('here', flush=True)\nsignal.pause()\n")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield process
            assert process.communicate(timeout=20) == (b"", b"")
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("program", "imported"),
    [("lamina_server serve", "structlog"), ("lamina_server verify", "grpc"), ("lamina.cli", "click")],
)
def test_ctrl_c_while_a_command_is_imported_ends_it_quietly(program: str, imported: str, tmp_path: Path) -> None:
    with importing(tmp_path, imported, sys.executable, "-m", *program.split()) as process:
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130


def test_sigterm_ends_the_first_process_of_a_container(tmp_path: Path) -> None:
    """The kernel drops a signal to the process 1 that has no handler for it."""
    unshare = ("unshare", "--pid", "--fork", "--kill-child")
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        absent("the right to make a namespace", "run the tests as root")
    with importing(tmp_path, "grpc", *unshare, sys.executable, "-m", "lamina_server", "verify") as process:
        (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM


def test_ctrl_c_ends_a_command_that_waits_for_its_database(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://ada@127.0.0.1:{silent.getsockname()[1]}/lamina"
        command = [sys.executable, "-m", "lamina_server", "migrate", "--database", url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 130
