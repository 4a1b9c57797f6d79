"""Several servers behind one client: when it moves from one to the next, for calls and watches alike, and when not."""

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
"""Far more than anything takes here."""


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers that have nothing in common, so that an answer tells whose it is; each takes two watches."""
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
    """Where both are."""
    return ",".join(server.target for server in servers)


async def asked(client: Any) -> str:
    """Tell which of the two servers a call goes to, by the config that it has."""
    (name,) = {info.name for info in await listed(client.configs())} - {"both"}
    return str(name)


async def test_a_closed_watch_is_no_failure(client: Any) -> None:
    """Nobody moves because a watch was closed that something waited in, while another one goes on beside it."""
    cfg = await of(client.config("one"))
    async with entered(cfg.watch(after=0)) as other:
        assert (await following(other)).version == 1
        for _ in range(5):
            watch, taken = cfg.watch(after=0), asyncio.Event()
            taking = asyncio.create_task(take(watch, taken))
            await asyncio.wait_for(taken.wait(), SECONDS)
            assert await asked(client) == "one"  # by the end of which it waits for another change
            await of(watch.close())
            await asyncio.wait_for(taking, SECONDS)
            assert await asked(client) == "one"


async def take(watch: Any, taken: asyncio.Event) -> None:
    with suppress(StopAsyncIteration):
        while True:
            assert (await following(watch)).version == 1
            taken.set()


async def test_a_watch_left_lying_lets_go_of_its_stream(client: Any) -> None:
    cfg = await of(client.config("one"))
    for _ in range(4):
        watch = cfg.watch(after=0)
        async with asyncio.timeout(SECONDS):
            while True:  # until the server has seen the last one go
                with suppress(lamina.LimitError):
                    assert (await following(watch)).version == 1
                    break
        del watch
        gc.collect()


async def test_a_frozen_server_leaves_time_for_the_next(
    servers: tuple[ServerProcess, ServerProcess], target: str, sdk: Sdk
) -> None:
    """P14: also where the first call of all goes to a server that says nothing; and watches follow the calls."""
    client = sdk.connect(target, timeout=4)
    servers[0].signal(signal.SIGSTOP)
    try:
        assert await asked(client) == "other"
        async with entered((await of(client.config("other"))).watch(after=0)) as watch:
            assert (await asyncio.wait_for(following(watch), SECONDS)).version == 1
    finally:
        servers[0].signal(signal.SIGCONT)
    assert await asked(client) == "other"


async def test_a_server_that_is_not_there_costs_nothing(
    servers: tuple[ServerProcess, ServerProcess], sdk: Sdk, tmp_path: Any
) -> None:
    """The next one is asked at once: there is no time for any pause."""
    client = sdk.connect(f"unix:{tmp_path}/nobody,{servers[1].target}")
    assert await asked(client) == "other"


async def test_a_refusal_is_no_failure(client: Any) -> None:
    """TOO_MANY is an answer: the next server's would be no better, and asking it would only spread the crowd."""
    cfg = await of(client.config("one"))
    async with entered(cfg.watch(after=0)) as first, entered(cfg.watch(after=0)) as second:
        for watch in (first, second):
            assert (await following(watch)).version == 1
        async with entered(cfg.watch(after=0)) as third:
            with pytest.raises(lamina.LimitError) as caught:
                await following(third)
        assert caught.value.reason == "TOO_MANY"
        assert await asked(client) == "one"


async def test_what_a_watch_finds_moves_calls(servers: tuple[ServerProcess, ServerProcess], sdk: Sdk) -> None:
    """They would not have to move for themselves: the server that the watch lost is there again."""
    with Proxy(servers[0].target) as proxy:
        client = sdk.connect(f"{proxy.target},{servers[1].target}")
        cfg = await of(client.config("both"))
        async with entered(cfg.watch(after=0)) as watch:
            assert (await following(watch)).version == 1
            waiting = asyncio.create_task(following(watch))
            proxy.switch(Mode(refuses=True))
            proxy.reset()
            with pytest.raises(lamina.CursorError):  # so it asked the other one, where version 1 is another one
                await asyncio.wait_for(waiting, SECONDS)
        proxy.switch(PASS)
        assert await asked(client) == "other"


async def test_a_commit_that_is_not_answered_in_time_is_one_commit(
    servers: tuple[ServerProcess, ServerProcess], sdk: Sdk, config_name: str
) -> None:
    """P8: the first server has committed when the next one is asked; that gives the same answer, by the request id."""
    with lamina.connect(servers[0].target) as direct, Proxy(servers[0].target) as proxy:
        client = sdk.connect(f"{proxy.target},{servers[0].target}", timeout=2)
        cfg = await of(client.config(config_name, create=True))
        cfg["n"] = 1
        await of(cfg.commit())
        proxy.switch(Mode(blackholes={Way.DOWN}))
        cfg["n"] += 1  # by another id it would be a conflict with what was committed
        assert (await beside(sdk, cfg.commit, "once")).number == 2
        log = list(direct.config(config_name).log())
    assert [(version.number, version.message) for version in log] == [(2, "once"), (1, "")]
    assert (cfg.version, cfg["n"]) == (2, 2)


@pytest.mark.postgres
async def test_watches_and_calls_move_together(postgres: Postgres, sdk: Sdk) -> None:
    """P9, P14: away from a server that drains, and from one that was killed; nothing is missed or doubled."""
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
