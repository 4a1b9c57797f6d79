"""Watches whose streams a healthy server ends, and watches that end while there is no server."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.sdk import Sdk, entered, following, listed, of
from tests.faults.proxy import PASS, Mode, Proxy, Way
from tests.faults.watches.silence import sockets
from tests.support.server import ServerProcess

SECONDS = 30
"""A limit far above what anything takes here."""
LARGE = "v" * 500_000
LARGE_VERSIONS = 30
"""Together far more than the buffers of a blocked connection hold."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server that soon ends the watch of a client that takes nothing."""
    with ServerProcess("sqlite://", LAMINA_SERVER_WATCH_TAKE_LIMIT_SECONDS="0.3") as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> str:
    """The address of this module's server."""
    return server.target


@pytest.fixture
def proxy(target: str) -> Iterator[Proxy]:
    """A proxy to the server, which can be closed."""
    with Proxy(target) as made:
        yield made


async def opened(client: Any, name: str) -> Any:
    """Return a config at version 1."""
    cfg = await of(client.config(name, create=True))
    assert await put(cfg, 1) == 1
    return cfg


async def test_a_watch_and_calls_survive_the_connection_s_age(sdk: Sdk) -> None:
    """P9: connections are renewed during a watch and during calls, without an error."""
    ages = {"LAMINA_SERVER_CONNECTION_AGE_SECONDS": "1", "LAMINA_SERVER_CONNECTION_AGE_GRACE_SECONDS": "1"}
    with ServerProcess("sqlite://", **ages) as server:
        before = sockets(server.pid)
        cfg = await opened(sdk.connect(server.target), "app")
        async with entered(cfg.watch(after=0)) as watch, asyncio.timeout(SECONDS):
            assert (await following(watch)).version == 1
            ours = sockets(server.pid) - before
            assert ours
            is_renewed = False
            while not is_renewed:
                is_renewed = not sockets(server.pid) & ours
                number = await put(cfg, 1)
                assert (await following(watch)).version == number


async def test_a_watch_that_was_too_slow_resumes(
    server: ServerProcess, client: Any, sdk: Sdk, proxy: Proxy, config_name: str
) -> None:
    """P9, P15: TOO_SLOW costs only time, and the watch stays with its server."""
    writing = await opened(client, config_name)
    with Proxy(server.target) as other:
        cfg = await of(sdk.connect(f"{proxy.target},{other.target}").config(config_name))
        async with entered(cfg.watch(after=0)) as watch, asyncio.timeout(SECONDS):
            assert (await following(watch)).version == 1
            proxy.switch(Mode(blackholes={Way.DOWN}))
            for _ in range(LARGE_VERSIONS):
                await put(writing, LARGE)
            await asyncio.to_thread(server.until_logged, "TOO_SLOW")
            proxy.switch(PASS)
            found = [change.version for change in await listed(watch, LARGE_VERSIONS)]
            assert found == list(range(2, LARGE_VERSIONS + 2))
            assert other.connections == 0


async def put(cfg: Any, value: Any) -> int:
    cfg["x"] = [cfg.version, value]
    return int((await of(cfg.commit())).number)


class Outage:
    """Takes a watch's server away, and makes the watch's pause an hour long."""

    def __init__(self, client: Any, proxy: Proxy) -> None:
        self.pauses = threading.Event()
        session: Any = client._shell.session
        object.__setattr__(session, "uniform", self._draw)
        proxy.switch(Mode(refuses=True))
        proxy.reset()

    async def paused(self) -> None:
        assert await asyncio.to_thread(self.pauses.wait, SECONDS)

    def _draw(self, _low: float, _high: float) -> float:
        self.pauses.set()
        return 3600.0


@pytest.mark.parametrize("how", ["watch", "client", "with"])
async def test_close_ends_a_watch_that_waits_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str, how: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    async with entered(cfg.watch(after=0)) as watch:
        assert (await following(watch)).version == 1
        waiting = asyncio.create_task(following(watch))
        await Outage(client, proxy).paused()
        assert not client._shell._pool._streams  # otherwise gRPC itself would pause before it connects again
        if how != "with":
            await of((watch if how == "watch" else client).close())
            await check_ended(waiting)
    await check_ended(waiting)


async def test_silence_ends_a_watch_that_waits_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    Outage(client, proxy)
    async with entered(cfg.watch(after=0, timeout=0.5)) as watch:
        assert await asyncio.wait_for(listed(watch), SECONDS) == []


async def check_ended(waiting: "asyncio.Task[Any]") -> None:
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(asyncio.shield(waiting), SECONDS)


@pytest.mark.parametrize("sdk", ["aio"], indirect=True)
async def test_a_cancelled_task_does_not_wait_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    async with cfg.watch(after=0) as watch:
        assert (await following(watch)).version == 1
        waiting = asyncio.create_task(following(watch))
        await Outage(client, proxy).paused()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(waiting, SECONDS)


CHILD = """
import sys
import lamina

def draw(low, high):
    print("pauses", flush=True)
    return 3600.0

client = lamina.connect(sys.argv[1])
object.__setattr__(client._shell.session, "uniform", draw)
try:
    for change in client.config(sys.argv[2]).watch(after=0):
        print("follows", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_ctrl_c_does_not_wait_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str) -> None:
    await opened(sdk.connect(proxy.target), config_name)
    printed = await asyncio.to_thread(interrupted, proxy, config_name)
    assert printed == ["follows", "pauses", "interrupted"]


def interrupted(proxy: Proxy, name: str) -> list[str]:
    """Run the child, take its server away, press Ctrl-C, and return the child's output."""
    program = [sys.executable, "-c", CHILD, proxy.target, name]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            printed = [child.stdout.readline().strip()]
            proxy.switch(Mode(refuses=True))
            proxy.reset()
            printed.append(child.stdout.readline().strip())
            child.send_signal(signal.SIGINT)
            child.wait(SECONDS)
        finally:
            child.kill()
        return printed + child.stdout.read().split()
