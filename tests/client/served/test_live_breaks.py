"""Lives and failures, with both clients; and all lives of a config share one stream."""

import gc
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.client.live_helpers import SECONDS, Noted, put, put_and_reach, reach, until
from tests.client.sdk import Sdk, beside, following, of
from tests.support.server import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server that allows one watch."""
    with ServerProcess("sqlite://", LAMINA_SERVER_WATCH_LIMIT="1") as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> str:
    """The address of this module's server."""
    return server.target


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"a": 0}."""
    made = await of(client.config(config_name, create=True))
    await put(made, a=0)
    return made


async def until_free(cfg: Any) -> None:
    """Try until the server accepts another watch."""
    while True:
        watch = cfg.watch(after=0)
        try:
            await following(watch)
        except lamina.LimitError:
            continue
        finally:
            await of(watch.close())
        return


async def test_all_lives_of_a_config_share_one_stream(client: Any, cfg: Any) -> None:
    lives = [await of(client.live(cfg.name)) for _ in range(5)]
    for number in range(1, 4):
        version = await put(cfg, a=number)
        for live in lives:
            await reach(live, version)
    for live in lives[1:]:
        await of(live.close())
    await put_and_reach(lives[0], cfg, a=9)
    await of(lives[0].close())
    await until_free(cfg)


async def test_an_abandoned_live_ends_its_stream(client: Any, cfg: Any) -> None:
    live = await of(client.live(cfg.name))
    await put_and_reach(live, cfg, a=1)
    del live
    gc.collect()
    await put(cfg, a=2)
    await until_free(cfg)


async def test_a_definite_error_ends_the_live(
    client: Any, cfg: Any, sdk: Sdk, caplog: pytest.LogCaptureFixture
) -> None:
    """A definite error is logged, kept as `error` and raised by `wait`; the values stay readable."""
    watch = cfg.watch(after=0)
    assert (await following(watch)).version == 1
    live = await of(client.live(cfg.name))
    with pytest.raises(lamina.LimitError, match="watches on this server"):
        await beside(sdk, live.wait, 99, SECONDS)
    assert (live.state, type(live.error), live["a"]) == ("STALE", lamina.LimitError, 0)
    assert "does not follow any more" in caplog.text
    await of(watch.close())
    await until_free(cfg)
    again = await of(client.live(cfg.name))
    await put_and_reach(again, cfg, a=1)
    await of(again.close())
    await until_free(cfg)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server for one test, which kills it."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as process:
        yield process


async def test_a_live_survives_a_restart(own_server: ServerProcess, sdk: Sdk) -> None:
    """P9, P14: it is STALE without a server, then LIVE again, and misses no version."""
    client = sdk.connect(own_server.target)
    cfg = await of(client.config("app", create=True))
    await put(cfg, a=0)
    live, noted = await of(client.live("app")), Noted(sdk)
    live.on_change(noted)
    await put_and_reach(live, cfg, a=1)
    async with until(lambda: live.state == "STALE"):
        own_server.kill()
    assert live["a"] == 1
    own_server.restart()
    for number in (2, 3):
        await put(cfg, a=number)
    async with until(lambda: live.state == "LIVE"):  # the bookmark after the missed versions makes it LIVE
        await reach(live, 4)
    assert live["a"] == 3
    assert await noted.numbers(3) == [2, 3, 4]


async def test_a_restored_backup_ends_the_live(sdk: Sdk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """P10, P13, P18: the error is explicit, and the live does not go back to an older version."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        client = sdk.connect(server.target)
        cfg = await of(client.config("app", create=True))
        await put(cfg, a=1)
        with (
            closing(sqlite3.connect(tmp_path / "lamina.db")) as now,
            closing(sqlite3.connect(tmp_path / "old.db")) as old,
        ):
            now.backup(old)
        live = await of(client.live("app"))
        await put_and_reach(live, cfg, a=2)
    with (
        ServerProcess(f"sqlite:///{tmp_path / 'old.db'}", "--listen", server.target),
        pytest.raises(lamina.CursorError) as caught,
    ):
        await beside(sdk, live.wait, 3, SECONDS)
    assert caught.value.reason == "CURSOR_AHEAD"
    assert (live.version, live["a"], live.state, live.error) == (2, 2, "STALE", caught.value)
    assert "does not follow any more" in caplog.text


FORKING = """
import os, sys, time
import lamina

client = lamina.connect(sys.argv[1])
cfg = client.config("app", create=True)
cfg["x"] = 1
cfg.commit()
live = client.live("app")

def until_live():
    while live.state != "LIVE":  # the bookmark after the missed versions makes it LIVE
        time.sleep(0.01)

cfg["x"] = 2
live.wait(cfg.commit(), 30)
child = os.fork()
if child:
    _, status = os.waitpid(child, 0)
    live.wait(3, 30)
    until_live()
    print("parent", live.state, live["x"], os.waitstatus_to_exitcode(status))
else:
    print("child", live.version, end=" ")
    mine = client.config("app")
    mine["x"] = 3
    live.wait(mine.commit(), 30)
    until_live()
    print(live.state, live["x"], flush=True)
"""


def test_a_live_survives_a_fork(own_server: ServerProcess) -> None:
    """In the child it continues from the parent's version when it is first read; both processes end by themselves."""
    printed = ran(FORKING, own_server.target)
    assert printed.splitlines() == ["child 2 LIVE 3", "parent LIVE 3 0"]


LEAVING = """
import sys
import lamina

client = lamina.connect(sys.argv[1])
cfg = client.config("app", create=True)
cfg["x"] = 1
cfg.commit()
live = client.live("app")
live.on_change(print)
print(live["x"])
"""

INTERRUPTED = """
import os, signal, sys
import lamina

live = lamina.connect(sys.argv[1]).live("app")
try:
    print("ready", flush=True)
    live.wait(99, 60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_program_can_end_without_closing_its_live(own_server: ServerProcess) -> None:
    assert ran(LEAVING, own_server.target) == "1\n"
    program = [sys.executable, "-c", INTERRUPTED, own_server.target]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.read() == "interrupted\n"
        assert child.wait(SECONDS) == 0


def ran(program: str, *arguments: str) -> str:
    """Run a program to its end, and return its output."""
    # Python 3.12 warns of any fork of a process with threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout
