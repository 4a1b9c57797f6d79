"""Connections that say nothing leave enough open files for callers and for the database."""

import re
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import lamina
from tests.support.server import ServerProcess

SOFT, HARD = 300, 600
ATTEMPTS = 2_000


def limited(database: str, *, soft: int, hard: int) -> ServerProcess:
    """Return a server that may have so many open files."""
    serve = [sys.executable, "-m", "lamina_server", "serve", "--listen", "localhost:0", "--database", database]
    limits = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"'
    return ServerProcess.of_program(["sh", "-c", limits, "sh", *serve])


def soft_limit(pid: int) -> int:
    found = re.search(r"Max open files +([0-9]+)", Path(f"/proc/{pid}/limits").read_text())
    assert found is not None
    return int(found[1])


def test_half_open_connections_leave_files_for_callers_and_the_database(tmp_path: Path) -> None:
    """The soft limit is raised to the hard one, and what is missing is told with figures."""
    with limited(f"sqlite:///{tmp_path}/lamina.db", soft=SOFT, hard=HARD) as server, ExitStack() as stack:
        assert soft_limit(server.pid) == HARD
        server.until_logged("fewer connections than the limit")
        assert f'"open_files":{HARD}' in server.log.replace(" ", "")
        client = stack.enter_context(lamina.connect(server.target, cache_dir=""))
        config = client.config("shop/prod", create=True)
        config["a"] = -1
        config.commit()
        for _ in range(ATTEMPTS):
            for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
                one = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                one.setblocking(False)
                one.connect_ex((host, int(server.target.rpartition(":")[2])))
        for number in range(20):  # some of these need files of the database
            config["a"] = number
            config.commit()
            assert len(list(config.log())) == number + 2
        assert len(list(Path(f"/proc/{server.pid}/fd").iterdir())) < HARD
        assert "Too many open files" not in server.log


def test_a_limit_that_is_high_enough_is_raised_and_not_told(tmp_path: Path) -> None:
    with limited(f"sqlite:///{tmp_path}/lamina.db", soft=SOFT, hard=20_000) as server:
        assert SOFT < soft_limit(server.pid) <= 20_000
