"""`server/ops/compose/compose.yaml`: Compose accepts it, and its commands start two servers on one PostgreSQL."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.operation.deployed import KNOWN, OPS, block, documents, section
from tests.support import absent
from tests.support.server import ServerProcess

FILE = OPS / "compose" / "compose.yaml"
SERVERS = ("lamina-1", "lamina-2")


def compose(**environment: str) -> subprocess.CompletedProcess[str]:
    """Let Compose read the file; return what it has understood."""
    program = shutil.which("docker-compose") or absent("docker-compose", "apt install docker-compose")
    command = [program, "--file", str(FILE), "config"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def services() -> Any:
    done = compose(LAMINA_DATABASE_PASSWORD="hunter2")
    assert done.returncode == 0, done.stderr
    (found,) = documents(done.stdout)
    return found["services"]


def test_compose_wants_a_password() -> None:
    done = compose(LAMINA_DATABASE_PASSWORD="")
    assert (done.returncode != 0, "write it into .env" in done.stderr) == (True, True)


def test_only_this_machine_reaches_the_servers_and_nobody_the_database() -> None:
    found = services()
    assert set(found) == {*SERVERS, "postgres"}
    for name in SERVERS:
        assert [str(port).startswith("127.0.0.1:") for port in found[name]["ports"]] == [True]
        assert (found[name]["read_only"], found[name]["cap_drop"]) == (True, ["ALL"])
    assert "ports" not in found["postgres"]


@pytest.mark.postgres
@pytest.mark.timeout(180)  # it starts a dozen programs
def test_its_commands_start_two_servers_on_one_database(postgres_url: str, tmp_path: Path) -> None:
    found = services()
    (upgrade,) = re.findall(r"run --rm lamina-1 (.*)", block(section("Compose"), "sh", "migrate"))
    words = [sys.executable, "-m", "lamina_server", *upgrade.split(), "--database", postgres_url]
    subprocess.run(words, check=True)
    with ExitStack() as stack:
        servers = []
        for name in SERVERS:
            own = {key: value for key, value in found[name]["environment"].items() if key in KNOWN}
            assert own == {"LAMINA_SERVER_DATABASE": "postgresql://lamina@postgres/lamina"}
            token_file = {"LAMINA_SERVER_BOOTSTRAP_TOKEN_FILE": str(tmp_path / "lamina.admin-token")}
            serve, *arguments = found[name]["command"]
            assert serve == "serve"
            server = ServerProcess(postgres_url, *arguments, "--listen", "0.0.0.0:0", **token_file)
            servers.append(stack.enter_context(server))
        token = (tmp_path / "lamina.admin-token").read_text().strip()
        ports = [re.sub(r".*:", "", server.target) for server in servers]
        one, two = (stack.enter_context(lamina.connect(f"localhost:{p}", token=token, tls=False)) for p in ports)
        config = one.config("shop/prod", create=True)
        config["x"] = 28
        config.commit()
        assert two.config("shop/prod")["x"] == 28
        for name, port in zip(SERVERS, ports, strict=True):
            kind, program, *arguments = found[name]["healthcheck"]["test"]
            assert (kind, program) == ("CMD", "lamina-server")
            words = [sys.executable, "-m", "lamina_server", *arguments, "--listen", f"0.0.0.0:{port}"]
            assert subprocess.run(words, check=False).returncode == 0
