"""The callbacks of `on_change`: who calls them, and for how long."""

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

import lamina
from lamina._grpc.sync.subscription import begin_thread
from tests.client.live_helpers import lives_of
from tests.client.sdk import Sdk, of
from tests.client.served import forked_callbacks
from tests.support.server import ServerProcess

SECONDS = 30
"""A limit far above what anything takes here."""


@pytest.fixture
async def cfg(client: Any, config_name: str) -> Any:
    """A config at version 1: {"x": 1}."""
    made = await of(client.config(config_name, create=True))
    made["x"] = 1
    await of(made.commit())
    return made


async def commit(cfg: Any) -> int:
    cfg["x"] += 1
    return int((await of(cfg.commit())).number)


class VersionRecorder:
    """A callback that records the numbers of its versions, on any thread."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[int] = asyncio.Queue()

    def __call__(self, version: lamina.VersionChanges) -> None:
        self.numbers.append(version.version)
        self._loop.call_soon_threadsafe(self._queue.put_nowait, version.version)

    async def next(self) -> int:
        return await asyncio.wait_for(self._queue.get(), SECONDS)


async def test_callbacks_continue_if_nobody_keeps_the_live(client: Any, cfg: Any) -> None:
    recorder = VersionRecorder()
    (await of(client.live(cfg.name))).on_change(recorder)
    gc.collect()
    for number in range(2, 6):
        await commit(cfg)
        assert await recorder.next() == number


async def test_closing_a_live_in_one_callback_stops_the_next_one(client: Any, cfg: Any) -> None:
    live, other, recorder, after = (
        await of(client.live(cfg.name)),
        await of(client.live(cfg.name)),
        VersionRecorder(),
        VersionRecorder(),
    )

    def close(_version: lamina.VersionChanges) -> Any:
        return live.close()

    live.on_change(close)
    live.on_change(recorder)
    other.on_change(after)
    await commit(cfg)
    assert await after.next() == 2
    assert recorder.numbers == []


@pytest.mark.parametrize("sdk", ["sync"], indirect=True)
async def test_a_version_that_arrives_while_the_first_callback_is_added(client: Any, cfg: Any, sdk: Sdk) -> None:
    """P9: each version is either shown when `on_change` returns, or passed to the callback."""

    def begin_late(run: Callable[[], None], name: str) -> threading.Thread:
        if name == "lamina-on-change":
            cfg["x"] += 1
            live.wait(cfg.commit(), SECONDS)
        return begin_thread(run, name)

    lives, recorder = lives_of(client, begin_thread=begin_late), VersionRecorder()
    live = lives.open(cfg.name, None)
    live.on_change(recorder)
    shown = live.version
    assert await commit(cfg) == 3
    assert await recorder.next() == shown + 1 == 3
    lives.close()


def test_callbacks_are_called_in_a_forked_child(server: ServerProcess) -> None:
    program = [sys.executable, "-m", forked_callbacks.__name__, server.target]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        try:
            assert parent.stdout.readline() == "[b'2', b'2']\n"
            parent.stdin.close()
            assert parent.wait(SECONDS) == 0
        finally:
            parent.kill()  # otherwise a failure would wait for it


async def test_a_callback_that_fails_does_not_stop_the_others(sdk: Sdk, client: Any, cfg: Any) -> None:
    """This includes SystemExit, and the cancellation of a task that it awaits; and a callback that cannot be shown."""
    recorder, live = VersionRecorder(), await of(client.live(cfg.name))

    class Leaver:
        def leave(self, _: lamina.VersionChanges) -> None:
            raise SystemExit

        def __repr__(self) -> str:
            raise TypeError

    async def meet_a_cancelled_task(_: lamina.VersionChanges) -> None:
        task = asyncio.ensure_future(asyncio.sleep(SECONDS))
        task.cancel()
        await task

    live.on_change(Leaver().leave if sdk.kind == "sync" else meet_a_cancelled_task)
    live.on_change(recorder)
    for number in range(2, 6):
        await commit(cfg)
        assert await recorder.next() == number


async def test_a_live_that_waits_for_its_callbacks_is_not_live(sdk: Sdk, client: Any, cfg: Any) -> None:
    """P18: the map stands still so that memory does not fill up. When the callbacks go on, no version is missing."""
    lives, recorder = lives_of(client, callbacks_behind=2), VersionRecorder()
    live = await of(lives.open(cfg.name, None))
    over = threading.Event() if sdk.kind == "sync" else asyncio.Event()

    def slow(_: lamina.VersionChanges) -> Any:
        return over.wait(SECONDS) if isinstance(over, threading.Event) else over.wait()

    live.on_change(slow)
    live.on_change(recorder)
    for _ in range(8):
        await commit(cfg)
    async with asyncio.timeout(SECONDS):
        while live.state == "LIVE":  # noqa: ASYNC110 - a state has no event
            await asyncio.sleep(0.01)
    assert live.version < 9
    over.set()
    for number in range(2, 10):
        assert await recorder.next() == number
    await commit(cfg)
    assert await recorder.next() == 10
    assert (live.state, live.version) == ("LIVE", 10)
    await of(lives.close())
