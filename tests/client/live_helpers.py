"""Helpers for the tests of lives: commit and wait, and a callback that records its calls."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import lamina
from lamina._grpc.aio.live import LiveRegistry as AioLiveRegistry
from lamina._grpc.sync.live import LiveRegistry
from lamina._live.cache import Cache
from tests.client.sdk import Sdk, of

SECONDS = 30
"""A limit far above what anything takes here."""


async def put(cfg: Any, **values: Any) -> lamina.Version:
    cfg |= values
    version = await of(cfg.commit())
    assert isinstance(version, lamina.Version)
    return version


async def reach(live: Any, version: Any) -> None:
    """Wait for a version as a user would; a blocking wait runs in a thread."""
    if isinstance(live, lamina.Live):
        await asyncio.to_thread(live.wait, version, SECONDS)
    else:
        await live.wait(version, SECONDS)


async def put_and_reach(live: Any, cfg: Any, **values: Any) -> lamina.Version:
    version = await put(cfg, **values)
    await reach(live, version)
    return version


@asynccontextmanager
async def until(is_so: Callable[[], bool]) -> AsyncIterator[None]:
    """Wait, after the block, until a condition holds for which there is no event."""
    yield
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110 - a state has no event
            await asyncio.sleep(0.01)


def lives_of(client: Any, **options: Any) -> Any:
    """Make a second registry of lives for a client, with other limits; `open(name, None)` follows a config."""
    registry = LiveRegistry if isinstance(client, lamina.Client) else AioLiveRegistry
    return registry(client._shell, Cache("", ""), **options)


class Noted:
    """A callback that records its calls; `numbers` waits for a number of them."""

    def __init__(self, sdk: Sdk) -> None:
        self.versions: list[lamina.VersionChanges] = []
        self._sdk = sdk
        self._changed = threading.Semaphore(0) if sdk.kind == "sync" else asyncio.Semaphore(0)

    def __call__(self, version: lamina.VersionChanges) -> None:
        self.versions.append(version)
        self._changed.release()

    async def numbers(self, count: int) -> list[int]:
        while len(self.versions) < count:
            if isinstance(self._changed, threading.Semaphore):
                assert await asyncio.to_thread(self._changed.acquire, timeout=SECONDS)
            else:
                await asyncio.wait_for(self._changed.acquire(), SECONDS)
        return [version.version for version in self.versions]
