"""Several servers behind one client: when calls and watches move to the next server, and when they do not."""

import asyncio
import gc
import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

import lamina
from tests.client.live_helpers import until
from tests.client.sdk import Sdk, beside, entered, following, listed, of
from tests.faults.proxy import PASS, Mode, Proxy, Way
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

SECONDS = 30
"""A limit far above what anything takes here."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers with different configs, so that an answer shows its server; each allows two watches."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(ServerProcess("sqlite://", LAMINA_SERVER_WATCH_LIMIT="2")) for _ in range(2))
        for server, name in ((one, "one"), (other, "other")):
            with lamina.connect(server.target) as client:
                for each in (name, "both"):
                    cfg = client.config(each, create=True)
                    cfg["x"] = name
                    cfg.commit()
        yield one, other


@pytest.fixture
def target(servers: tuple[ServerProcess, ServerProcess]) -> str:
    """The addresses of both servers."""
    return ",".join(server.target for server in servers)


async def server_asked(client: Any) -> str:
    """Return which of the two servers a call goes to, by the config that it has."""
    (name,) = {info.name for info in await listed(client.configs())} - {"both"}
    return str(name)


async def test_closing_a_watch_does_not_change_the_server(client: Any) -> None:
    """Closing a watch that waits does not move calls, or another watch, to the next server."""
    cfg = await of(client.config("one"))
    async with entered(cfg.watch(after=0)) as other:
        assert (await following(other)).version == 1
        for _ in range(5):
            watch, taken = cfg.watch(after=0), asyncio.Event()
            taking = asyncio.create_task(take(watch, taken))
            await asyncio.wait_for(taken.wait(), SECONDS)
            assert await server_asked(client) == "one"  # after this call, the watch waits for another change
            await of(watch.close())
            await asyncio.wait_for(taking, SECONDS)
            assert await server_asked(client) == "one"


async def take(watch: Any, taken: asyncio.Event) -> None:
    with suppress(StopAsyncIteration):
        while True:
            assert (await following(watch)).version == 1
            taken.set()


async def test_an_abandoned_watch_ends_its_stream(client: Any) -> None:
    cfg = await of(client.config("one"))
    for _ in range(4):
        watch = cfg.watch(after=0)
        async with asyncio.timeout(SECONDS):
            while True:  # until the server has noticed the end of the last one
                with suppress(lamina.LimitError):
                    assert (await following(watch)).version == 1
                    break
        del watch
        gc.collect()


async def test_a_frozen_server_leaves_time_for_the_next(
    servers: tuple[ServerProcess, ServerProcess], target: str, sdk: Sdk
) -> None:
    """P14: also if the very first call goes to a silent server; and watches follow the calls."""
    client = sdk.connect(target, timeout=4)
    servers[0].signal(signal.SIGSTOP)
    try:
        assert await server_asked(client) == "other"
        async with entered((await of(client.config("other"))).watch(after=0)) as watch:
            assert (await asyncio.wait_for(following(watch), SECONDS)).version == 1
    finally:
        servers[0].signal(signal.SIGCONT)
    assert await server_asked(client) == "other"


async def test_a_missing_server_costs_no_time(
    servers: tuple[ServerProcess, ServerProcess], sdk: Sdk, tmp_path: Any
) -> None:
    """The next server is asked at once, without a pause."""
    client = sdk.connect(f"unix:{tmp_path}/nobody,{servers[1].target}")
    assert await server_asked(client) == "other"


async def test_a_refusal_does_not_change_the_server(client: Any) -> None:
    """TOO_MANY is an answer. The next server may be as full, and asking it would only move the load."""
    cfg = await of(client.config("one"))
    async with entered(cfg.watch(after=0)) as first, entered(cfg.watch(after=0)) as second:
        for watch in (first, second):
            assert (await following(watch)).version == 1
        async with entered(cfg.watch(after=0)) as third:
            with pytest.raises(lamina.LimitError) as caught:
                await following(third)
        assert caught.value.reason == "TOO_MANY"
        assert await server_asked(client) == "one"


async def test_a_watch_that_moves_takes_the_calls_with_it(
    servers: tuple[ServerProcess, ServerProcess], sdk: Sdk
) -> None:
    """The calls follow the watch, although the server that the watch lost is up again."""
    with Proxy(servers[0].target) as proxy:
        client = sdk.connect(f"{proxy.target},{servers[1].target}")
        cfg = await of(client.config("both"))
        async with entered(cfg.watch(after=0)) as watch:
            assert (await following(watch)).version == 1
            waiting = asyncio.create_task(following(watch))
            proxy.switch(Mode(refuses=True))
            proxy.reset()
            with pytest.raises(lamina.CursorError):  # so it asked the other server, which has another version 1
                await asyncio.wait_for(waiting, SECONDS)
        proxy.switch(PASS)
        assert await server_asked(client) == "other"


async def test_a_commit_without_an_answer_in_time_is_committed_once(
    servers: tuple[ServerProcess, ServerProcess], sdk: Sdk, config_name: str
) -> None:
    """P8: the server has committed before the commit is sent again; the request id leads to the same answer."""
    with lamina.connect(servers[0].target) as direct, Proxy(servers[0].target) as proxy:
        client = sdk.connect(f"{proxy.target},{servers[0].target}", timeout=2)
        cfg = await of(client.config(config_name, create=True))
        cfg["n"] = 1
        await of(cfg.commit())
        proxy.switch(Mode(blackholes={Way.DOWN}))
        cfg["n"] += 1  # with another id, it would conflict with the first commit
        assert (await beside(sdk, cfg.commit, "once")).number == 2
        log = list(direct.config(config_name).log())
    assert [(version.number, version.message) for version in log] == [(2, "once"), (1, "")]
    assert (cfg.version, cfg["n"]) == (2, 2)


@pytest.mark.postgres
async def test_watches_and_calls_move_together(postgres: Postgres, sdk: Sdk) -> None:
    """P9, P14: they leave a server that drains and one that was killed; no change is missed or doubled."""
    url = postgres.new_database()
    with ServerProcess(url) as one, ServerProcess(url) as other:
        client = sdk.connect(f"{one.target},{other.target}")
        cfg = await of(client.config("app", create=True))
        await put(cfg)
        live = await of(client.live("app"))
        async with entered(cfg.watch(after=0)) as watch:
            assert (await following(watch)).version == 1
            waiting = asyncio.create_task(following(watch))
            await asyncio.to_thread(one.stop)
            await put(cfg)
            assert (await asyncio.wait_for(waiting, SECONDS)).version == 2
            await asyncio.to_thread(one.restart)
            waiting = asyncio.create_task(following(watch))
            await asyncio.to_thread(other.kill)
            await put(cfg)
            assert (await asyncio.wait_for(waiting, SECONDS)).version == 3
            async with until(lambda: live.state == "LIVE"):
                await beside(sdk, live.wait, 3, SECONDS)
            assert live["x"] == 3


async def put(cfg: Any) -> None:
    cfg["x"] = cfg.version + 1
    await of(cfg.commit())
