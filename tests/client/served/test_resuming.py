"""Watches whose streams are ended by a server that is well, and watches that are ended while no server is there."""

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
"""Far more than anything takes here."""
LARGE = "v" * 500_000
LARGE_VERSIONS = 30
"""Together far more than a connection takes while nothing comes through."""


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server that does not wait long for who does not take."""
    with ServerProcess("sqlite://", LAMINA_SERVER_WATCH_TAKE_LIMIT_SECONDS="0.3") as process:
        yield process


@pytest.fixture
def target(server: ServerProcess) -> str:
    """Where it is."""
    return server.target


@pytest.fixture
def proxy(target: str) -> Iterator[Proxy]:
    """A way to it that can be closed."""
    with Proxy(target) as made:
        yield made


async def opened(client: Any, name: str) -> Any:
    """Give a config at version 1."""
    cfg = await of(client.config(name, create=True))
    assert await put(cfg, 1) == 1
    return cfg


async def test_a_connection_s_age(sdk: Sdk) -> None:
    """P9: the connections are renewed under a watch and under calls; neither notices."""
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


async def test_one_that_takes_nothing_is_ended_and_goes_on(
    server: ServerProcess, client: Any, sdk: Sdk, proxy: Proxy, config_name: str
) -> None:
    """P9, P15: TOO_SLOW costs nothing but time, and is no reason to leave the server."""
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


class Away:
    """A watch whose server is away, in a pause of an hour."""

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
async def test_it_ends_at_once_while_it_waits_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str, how: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    async with entered(cfg.watch(after=0)) as watch:
        assert (await following(watch)).version == 1
        waiting = asyncio.create_task(following(watch))
        await Away(client, proxy).paused()
        assert not client._shell._pool._streams  # or gRPC would pause by itself before it connects again
        if how != "with":
            await of((watch if how == "watch" else client).close())
            await ended(waiting)
    await ended(waiting)


async def test_silence_counts_while_it_waits_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    Away(client, proxy)
    async with entered(cfg.watch(after=0, timeout=0.5)) as watch:
        assert await asyncio.wait_for(listed(watch), SECONDS) == []


async def ended(waiting: "asyncio.Task[Any]") -> None:
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(asyncio.shield(waiting), SECONDS)


@pytest.mark.parametrize("sdk", ["aio"], indirect=True)
async def test_a_cancelled_task_does_not_wait_for_a_server(sdk: Sdk, proxy: Proxy, config_name: str) -> None:
    client = sdk.connect(proxy.target)
    cfg = await opened(client, config_name)
    async with cfg.watch(after=0) as watch:
        assert (await following(watch)).version == 1
        waiting = asyncio.create_task(following(watch))
        await Away(client, proxy).paused()
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
    """Run the child, take its server away, press Ctrl-C, and give what it printed."""
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
