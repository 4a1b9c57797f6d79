"""A live for asyncio whose event loop ended before the live was closed reports this."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

import lamina
from lamina import aio
from lamina.testing import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with lamina.testing.server() as running:
        running.set("app", {"x": 1})
        yield running


def opened(server: Server, run: Any) -> Any:
    async def open_live() -> Any:
        return await aio.connect(server.target, cache_dir="").live("app")

    return run(open_live())


def run_and_stop(coroutine: Any) -> Any:
    """Run a loop as a framework may: it stops, and its tasks are cancelled."""
    return asyncio.run(coroutine)


def run_and_drop(coroutine: Any) -> Any:
    """Run a loop that is closed while its tasks still wait; asyncio warns about this."""
    with closing(asyncio.new_event_loop()) as loop:
        loop.set_exception_handler(lambda _loop, _context: None)
        return loop.run_until_complete(coroutine)


ENDED = "app is at version 1, and the event loop that followed it has ended: open the live anew"


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("run", [run_and_stop, run_and_drop])
def test_a_live_without_its_loop_is_stale_and_says_why(server: Server, run: Any) -> None:
    live = opened(server, run)
    server.set("app", {"x": 2})
    assert (live["x"], live.version, live.state) == (1, 1, "STALE")
    assert "STALE" in repr(live)
    assert ENDED in str(live.error)
    with pytest.raises(lamina.InvalidError, match=ENDED):
        live.on_change(print)
    with pytest.raises(lamina.InvalidError, match=ENDED):
        asyncio.run(live.wait(2))
    asyncio.run(live.close())
    assert (live["x"], live.state) == (1, "STALE")


def test_a_closed_live_does_not_mention_event_loops(server: Server) -> None:
    async def open_and_close() -> Any:
        async with aio.connect(server.target, cache_dir="") as client:
            live = await client.live("app")
            await live.close()
            return live

    live = asyncio.run(open_and_close())
    assert (live["x"], live.error) == (1, None)
    with pytest.raises(lamina.InvalidError, match="this live is closed"):
        live.on_change(print)
