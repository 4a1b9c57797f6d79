"""Streams in this process, and the time until an event has arrived on all of them.

It is the same for every side of a comparison; a side says which stubs open a stream and
make an event. Streams and calls have separate connections, as in the SDK.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from tests.benchmarks.measuring import AsyncCall

EVENT_SECONDS = 120.0
"""The longest time for an event: enough for a server that sends it only with the next bookmark, 30 s later."""
OPENING_AT_ONCE = 100

_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True, slots=True)
class Side:
    """One server to watch.

    target    the server of the streams
    watch     opens a stream, and returns it when all later events will come
    change    makes the caller whose calls are the events
    is_event  returns whether a message is an event, and not a bookmark
    caller    the server that the caller calls, if it is another one
    pid       the server's process, if its CPU time is measured
    """

    target: str
    watch: Callable[[grpc.aio.Channel], Awaitable[Any]]
    change: Callable[[grpc.aio.Channel], AsyncCall]
    is_event: Callable[[Any], bool]
    caller: str | None = None
    pid: int | None = None


class Audience:
    """All streams of one side."""

    def __init__(self, side: Side, call: AsyncCall, size: int) -> None:
        self._side = side
        self._call = call
        self._size = size
        self._missing = 0
        self._heard = asyncio.Event()
        self._heard_at = 0.0
        self.answered_ms: list[float] = []

    async def event(self) -> float:
        """Make an event; return the milliseconds from the start of the call until it has come on the last stream."""
        self._missing = self._size
        self._heard.clear()
        started = time.perf_counter()
        await self._call()
        self.answered_ms.append((time.perf_counter() - started) * 1_000)
        async with asyncio.timeout(EVENT_SECONDS):
            await self._heard.wait()
        return (self._heard_at - started) * 1_000

    async def listen(self, stream: Any) -> None:
        """Count the events that a stream brings."""
        while (message := await stream.read()) is not grpc.aio.EOF:
            if self._side.is_event(message):
                self._missing -= 1
                if self._missing == 0:
                    self._heard_at = time.perf_counter()
                    self._heard.set()
        raise RuntimeError("the server ended a stream")


@asynccontextmanager
async def audience(side: Side, *, streams: int = 1, connections: int = 1) -> AsyncIterator[Audience]:
    """Open all streams of a side, spread evenly over the connections."""
    async with AsyncExitStack() as stack:

        async def connect(target: str) -> grpc.aio.Channel:
            return await stack.enter_async_context(grpc.aio.insecure_channel(target, _OWN_CONNECTION))

        channels = [await connect(side.target) for _ in range(connections)]
        caller = await connect(side.caller or side.target)
        slots = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one(number: int) -> Any:
            async with slots:
                return await side.watch(channels[number % connections])

        opened = await asyncio.gather(*map(open_one, range(streams)))
        heard = Audience(side, side.change(caller), streams)
        async with asyncio.TaskGroup() as group:
            listening = [group.create_task(heard.listen(stream)) for stream in opened]
            yield heard
            for task in listening:
                task.cancel()
