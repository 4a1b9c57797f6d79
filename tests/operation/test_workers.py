"""Several workers on one address: each answers, none is missed for long, and all end together."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.server.commands import Run, printed
from tests.support.server import ServerProcess
from tests.support.terminals import in_terminal

WORKERS = 3
NO_SOCKET = "several workers share a TCP port, no Unix socket"


def children(server: ServerProcess) -> set[int]:
    """Return the workers of a server, by their process ids."""
    text = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return {int(pid) for pid in text.split()}


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def server(postgres_url: str) -> Iterator[ServerProcess]:
    """Workers on a new database."""
    with ServerProcess(postgres_url, "--workers", str(WORKERS)) as server:
        yield server


@pytest.fixture
def clients(server: ServerProcess) -> Iterator[list[lamina.Client]]:
    """So many clients, each with its own connection, that hardly a worker has none."""
    clients = [lamina.connect(server.target) for _ in range(8 * WORKERS)]
    yield clients
    for client in clients:
        client.close()


def test_all_workers_serve_one_database(server: ServerProcess, clients: list[lamina.Client]) -> None:
    """P6, P13: what one worker has acknowledged, each other one answers."""
    assert server.printed.count("lamina-server ready on") == 1
    assert f", {WORKERS} workers" in server.printed
    assert len(children(server)) == WORKERS
    for number, client in enumerate(clients):
        config = client.config("shop/prod", create=True)
        config["number"] = number
        config.commit()
        assert {each.config("shop/prod")["number"] for each in clients} == {number}


def test_a_worker_that_dies_is_replaced(server: ServerProcess, clients: list[lamina.Client]) -> None:
    config = clients[0].config("shop/prod", create=True)
    config["x"] = 0
    config.commit()
    before = children(server)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    for number in range(50):  # retrying clients see no error
        config["x"] = number
        config.commit()
        assert clients[number % len(clients)].config("shop/prod")["x"] == number
    while len(now := children(server)) < WORKERS:
        config.commit()  # which has nothing to do
    assert before - now == {victim}
    assert '"event": "a worker has ended"' in server.log


def test_they_end_together(server: ServerProcess) -> None:
    workers = children(server)
    server.stop()
    assert not any(map(is_running, workers))


def test_they_end_with_the_process_that_started_them(server: ServerProcess) -> None:
    workers = [os.pidfd_open(pid) for pid in children(server)]
    os.kill(server.pid, signal.SIGKILL)
    server.wait()
    for worker in workers:
        ended, _, _ = select.select([worker], [], [], 20)
        os.close(worker)
        assert ended


def test_the_port_is_theirs_alone(server: ServerProcess, postgres_url: str) -> None:
    for more in ([], ["--workers", "2"]):
        program = [sys.executable, "-m", "lamina_server", "serve", "--database", postgres_url, *more]
        done = subprocess.run([*program, "--listen", server.target], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "it is in use by another program" in done.stderr


def test_what_workers_cannot_serve_is_refused(tmp_path: Path) -> None:
    several = ["serve", "--workers", "2"]
    runs: list[Run] = [
        ([*several, "--database", "sqlite:///lamina.db"], {}),
        ([*several, "--database", "postgresql://ada@localhost:1/lamina", "--listen", "unix:socket"], {}),
        ([*several, "--database", "postgresql://ada@localhost:1/lamina", "--listen", "localhost:0"], {}),
    ]
    said = ["".join(line for line in text.splitlines(True) if line[0] != "{") for text in printed(runs, tmp_path)]
    assert said == [
        "lamina-server: --workers: a SQLite database is for one process: several workers need PostgreSQL\nexit 2\n",
        f"lamina-server: --listen: {NO_SOCKET}: write HOST:PORT, or no --workers\nexit 2\n",
        "lamina-server: postgresql://ada@localhost:1/lamina cannot be used: nothing listens there\nexit 1\n",
    ]


def test_the_first_admin_is_made_once(postgres_url: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    closed = ("--access", "closed", "--bootstrap-token-file", str(token))
    with ServerProcess(postgres_url, "--workers", str(WORKERS), *closed) as server:
        assert server.printed.count(str(token)) == 1
        with lamina.connect(server.target, token=token.read_text().strip()) as client:
            assert client.config("_lamina/access").version == 1


@pytest.fixture
def audit_file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def test_a_signal_to_all_processes_lets_calls_finish(server: ServerProcess) -> None:
    """As systemd and Ctrl-C send it: each worker then gets it from them, and from the process that started it."""
    with grpc.insecure_channel(server.target) as channel:
        watch = ConfigServiceStub(channel).WatchKeyHistory(pb.WatchKeyHistoryRequest(config="a"))
        next(watch)
        for pid in (*children(server), server.pid):
            os.kill(pid, signal.SIGTERM)
        assert next(watch).HasField("bookmark")  # the last cursor
        with pytest.raises(grpc.RpcError):
            next(watch)
    assert server.wait() == 0


def test_a_worker_that_does_not_end_is_killed(postgres_url: str) -> None:
    with ServerProcess(postgres_url, "--workers", "2", "--stop-grace-seconds", "0") as server:
        os.kill(min(children(server)), signal.SIGSTOP)
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait() == 1
        assert "workers did not end within the grace: killed" in server.log


def test_sighup_opens_each_audit_file_anew_under_nohup(postgres_url: str, audit_file: Path) -> None:
    serve = [sys.executable, "-m", "lamina_server", "serve", "--database", postgres_url, "--workers", "2"]
    program = ["nohup", *serve, "--listen", "localhost:0", "--audit-file", str(audit_file)]
    with ServerProcess.of_program(program) as server:
        audit_file.rename(audit_file.with_suffix(".1"))
        os.kill(server.pid, signal.SIGHUP)
        while server.log.count("audit file reopened") < 2:
            server.until_logged("audit file reopened")
        assert len(children(server)) == 2
        assert "a worker has ended" not in server.log


def test_a_terminal_that_goes_away_ends_workers_with_an_audit(postgres_url: str, audit_file: Path) -> None:
    log = audit_file.with_name("log")
    serve = [sys.executable, "-m", "lamina_server", "serve", "--database", postgres_url, "--workers", "2"]
    with in_terminal([*serve, "--listen", "localhost:0", "--audit-file", str(audit_file)], log) as (process, close):
        close()
        assert process.wait(20) == 0, log.read_text()
    assert "a worker has ended" not in log.read_text()


def test_workers_need_no_standard_output(postgres_url: str) -> None:
    serve = [sys.executable, "-m", "lamina_server", "serve", "--database", postgres_url, "--workers", "2"]
    closing = ["sh", "-c", 'exec "$@" >&-', "sh", *serve, "--listen", "localhost:0"]
    with subprocess.Popen(closing, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, b"")
        assert any(b"ready line not printed" in line for line in lines)
        process.terminate()
        process.communicate(timeout=20)
        assert process.returncode == 0
