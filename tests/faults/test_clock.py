"""A clock that was ahead for one commit: everybody is told, and the way on that the README documents works."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import lamina
from tests.cli.running import environment_of, run
from tests.client.sdk import Sdk, listed, of
from tests.support.server import ServerProcess

AHEAD_YEARS = 5
SERVER = """
import os, sys, time
real, ahead = time.time_ns, sys.argv.pop()
time.time_ns = lambda: real() + os.path.exists(ahead) * YEARS * 365 * 86_400 * 10**9
from lamina_server.cli.main import main
main()
""".replace("YEARS", str(AHEAD_YEARS))
"""A server whose clock is years ahead while there is a file."""
README = (Path(__file__).parents[2] / "server" / "README.md").read_text(encoding="utf-8")
WAY_ON = re.compile(r"<!-- not run: tests/faults/test_clock.py .*? -->\n```sh\n(.*?)\n```", re.DOTALL)
WARNING = "later than the server's clock"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the right clock, after one whose clock jumped: shop/prod has a version that is years ahead."""
    folder = tmp_path_factory.mktemp("clock")
    url = f"sqlite:///{folder / 'lamina.db'}"
    serve = [sys.executable, "-c", SERVER, "serve", "--database", url, "--listen", "localhost:0", str(folder / "ahead")]
    with ServerProcess.of_program(serve) as jumping, lamina.connect(jumping.target) as client:
        cfg = client.config("shop/prod", create=True)
        cfg["timeout"] = 30
        cfg.commit()
        cfg.fork("shop/intact")
        (folder / "ahead").touch()
        cfg["timeout"] = 45
        assert cfg.commit().time.year >= datetime.now(UTC).year + AHEAD_YEARS - 1
        jumping.until_logged("the clock has jumped")
    with ServerProcess(url) as right:
        yield right


@pytest.fixture(params=["sync", "aio"])
def sdk(request: pytest.FixtureRequest) -> Sdk:
    return Sdk(request.param)


def logged(server: ServerProcess, event: str) -> list[dict[str, str]]:
    """Wait until the server has logged something, and return all lines that do."""
    server.until_logged(event)
    lines = [json.loads(line) for line in server.log.splitlines() if event in line]
    return [line for line in lines if line["event"] == event]


def test_the_server_tells_of_it(server: ServerProcess) -> None:
    at_start, *_ = logged(server, "the clock is behind the database's newest version")
    assert at_start["commit_time"][:4] > at_start["clock"][:4]
    with lamina.connect(server.target) as client:
        cfg = client.config("shop/prod")
        versions = []
        for number in range(3):
            cfg["other"] = number
            versions.append(cfg.commit().number)
        intact = client.config("shop/intact")
        intact["other"] = 1
        intact.commit()
    at_commit, *_ = logged(server, "the clock is behind a config's newest version")
    assert (at_commit["config"], int(at_commit["version"])) == ("shop/prod", versions[0])
    assert at_commit["commit_time"][:4] > at_commit["clock"][:4]
    assert "the clock has jumped" not in server.log


async def test_the_sdk_warns_whatever_is_asked_by_time(
    sdk: Sdk, server: ServerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    client = sdk.connect(server.target)
    cfg = await of(client.config("shop/prod"))
    now = datetime.now(UTC)
    snapshot = await of(cfg.at(now))
    assert (snapshot.version, snapshot["timeout"]) == (1, 30)
    await of(cfg.diff(now))
    with pytest.raises(lamina.NotFoundError):
        await of(cfg.at(datetime(2020, 1, 1, tzinfo=UTC)))
    warnings = [record for record in caplog.records if WARNING in record.getMessage()]
    assert [(record.name, record.levelname) for record in warnings] == [("lamina", "WARNING")] * 3
    assert warnings[0].getMessage().startswith("shop/prod: ")
    caplog.clear()
    assert (await of(cfg.at(2)))["timeout"] == 45
    await of(cfg.diff(1))
    assert len(await listed(cfg.log())) >= 2
    await of((await of(client.config("shop/intact"))).at(now))
    assert not caplog.records
    await sdk.close()


def test_the_command_line_warns(server: ServerProcess) -> None:
    done = run("get", "shop/prod", "timeout", "--at", "0s", target=server.target)
    assert (done.returncode, done.stdout) == (0, "30\n")
    assert done.stderr.startswith("lamina: shop/prod: its newest version is dated 20")
    assert WARNING in done.stderr
    quiet = run("get", "shop/prod", "timeout", "--at", "2", target=server.target)
    assert (quiet.stdout, quiet.stderr) == ("45\n", "")


def test_the_documented_way_on(server: ServerProcess) -> None:
    """The README's block, as it is printed."""
    (block,) = WAY_ON.findall(README)
    environment = {**os.environ, **environment_of(server.target)}
    command = ["bash", "-euxo", "pipefail", "-c", block]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert [line for line in done.stdout.splitlines() if line in {"30", "45"}] == ["45", "30", "45"]
    assert done.stderr.count(WARNING) == 1
    with lamina.connect(server.target) as client:
        (first,) = client.config("shop/prod-2").log()
        assert abs((first.time - datetime.now(UTC)).total_seconds()) < 60
        assert first.source_config == "shop/prod"
