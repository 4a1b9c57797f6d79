"""Trials of watchers that could slow others down: one that hardly reads, and thousands that come at once.

Each trial returns its figures, and whether they are as promised.
"""

import asyncio
import itertools
import statistics
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc
from tests.support.server import ServerProcess

CONFIG = "torture/crowds"
MIB = 1 << 20
GROWTH_BYTES = 16 * MIB
SLOWER, FLOOR_SECONDS = 2.0, 0.05
"""How much slower the others may become, and what is always fast enough: a lower limit would measure the machine."""
OTHERS, WARM_UP = 5, 100
KEYS, BATCH, VALUE_LENGTHS = 60, 6, range(10_000, 50_001, 5_000)
"""Each commit sets a few of the keys to values of these lengths: in a hundred commits it is more than GROWTH_BYTES."""
_OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
# A fixed window, as clients in other languages have: grpc's own would grow to megabytes, and hide the slow reads.
_SMALL_WINDOW = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))


@dataclass(frozen=True, slots=True)
class Slow:
    """How the server and the others fared in the two halves of the commits: without the slow watcher, and with it.

    growth_bytes  of the server's memory
    p99_seconds   from the call of a commit to the event at the others
    behind        how many versions the slow one had not received when the last was committed
    missing       how many of them it never received
    """

    growth_bytes: tuple[int, int]
    p99_seconds: tuple[float, float]
    behind: int
    missing: int

    @property
    def more_bytes(self) -> int:
        """How much more the memory grew beside the slow watcher."""
        return self.growth_bytes[1] - self.growth_bytes[0]

    @property
    def slower(self) -> float:
        """How many times as slow the others' slowest hundredth was beside the slow watcher."""
        return self.p99_seconds[1] / self.p99_seconds[0]

    @property
    def is_bearable(self) -> bool:
        """Whether the others became hardly slower."""
        return self.p99_seconds[1] < FLOOR_SECONDS or self.slower < SLOWER


async def slow_reader(server: ServerProcess, *, commits: int, read_seconds: float | None) -> Slow:
    """Commit half without a slow watcher, and half beside one that reads one message in so many seconds, or none."""
    half = commits // 2
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(server)) for _ in range(OTHERS + 1)]
        crowd = _Crowd(channels)
        stack.push_async_callback(crowd.close)
        await crowd.commit(WARM_UP)
        before = rss_bytes(server.pid)
        without = await crowd.commit(half)
        between = rss_bytes(server.pid)
        slow = _SlowWatcher(await stack.enter_async_context(_channel(server, *_SMALL_WINDOW)))
        await slow.read()
        reading = asyncio.create_task(slow.read_slowly(read_seconds))
        beside = await crowd.commit(half)
        after = rss_bytes(server.pid)
        behind = half - len(slow.numbers)
        slow.hurry.set()
        await reading
        await slow.catch_up(crowd.head)
    due = set(range(crowd.head - half + 1, crowd.head + 1))
    assert slow.numbers == sorted(set(slow.numbers))
    return Slow((between - before, after - between), (_p99(without), _p99(beside)), behind, len(due - {*slow.numbers}))


def rss_bytes(pid: int) -> int:
    """Return how much memory a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def _p99(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=100)[98]


class _Crowd:
    """One client that commits, and watchers that receive each version before it commits the next."""

    def __init__(self, channels: list[grpc.aio.Channel]) -> None:
        self._stub = lamina_pb2_grpc.ConfigServiceStub(channels[0])
        self._received: asyncio.Queue[float] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._follow(channel)) for channel in channels[1:]]
        self.head = 0

    async def commit(self, count: int) -> list[float]:
        """Commit so many times; return the seconds from each call to each event."""
        seconds = []
        for _ in range(count):
            self.head += 1
            began = time.monotonic()
            keys = range(self.head * BATCH, (self.head + 1) * BATCH)
            await _commit(self._stub, self.head, {f"key/{key % KEYS}": _value(key) for key in keys})
            seconds += [await self._received.get() - began for _ in self._tasks]
        return seconds

    async def close(self) -> None:
        """End all watchers."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError) and isinstance(ended, BaseException):
                raise ended

    async def _follow(self, channel: grpc.aio.Channel) -> None:
        request = pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=0))
        async for message in lamina_pb2_grpc.ConfigServiceStub(channel).WatchKeyHistory(request):
            for _ in message.changes:
                await self._received.put(time.monotonic())


class _SlowWatcher:
    """A watcher that reads slowly, and resumes after its cursor if the server ends its stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = lamina_pb2_grpc.ConfigServiceStub(channel)
        self._stream = self._stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG))
        self._cursor = pb.Cursor()
        self.numbers: list[int] = []
        self.hurry = asyncio.Event()

    async def read(self) -> None:
        """Read one message."""
        try:
            message = await self._stream.read()
        except grpc.RpcError:
            request = pb.WatchKeyHistoryRequest(config=CONFIG, after=self._cursor)
            self._stream = self._stub.WatchKeyHistory(request)
            message = await self._stream.read()
        assert isinstance(message, pb.WatchKeyHistoryResponse), "a watch has no end of its own"
        for part in message.changes:
            self._cursor = pb.Cursor(version=part.version.version, hash=part.version.hash)
            self.numbers.append(part.version.version)
        if message.HasField("bookmark"):
            self._cursor = pb.Cursor(version=message.bookmark.version, hash=message.bookmark.hash)

    async def read_slowly(self, seconds: float | None) -> None:
        """Read one message in so many seconds, or none, until `hurry` is set."""
        if seconds is None:
            await self.hurry.wait()
        while not self.hurry.is_set():
            await self.read()
            try:
                await asyncio.wait_for(self.hurry.wait(), seconds)
            except TimeoutError:
                continue

    async def catch_up(self, head: int) -> None:
        """Read until this version has come."""
        while self._cursor.version < head:
            await self.read()
        self._stream.cancel()


@dataclass(frozen=True, slots=True)
class Many:
    """How many watches, opened at once, got their first bookmark and their event, and after how many seconds."""

    bookmarked: int
    received: int
    open_seconds: float
    received_seconds: float


async def _event(stream: Any) -> Any:
    """Read the next message with changes: a bookmark may come before it."""
    while (message := await stream.read()).HasField("bookmark") and not message.changes:
        pass
    return message


async def many(server: ServerProcess, *, watches: int, connections: int) -> Many:
    """Open all watches at once over so many connections, and commit once when all are open."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(server)) for _ in range(connections)]
        stub = lamina_pb2_grpc.ConfigServiceStub(channels[0])
        await _commit(stub, 1, {"key": "1"})
        methods = [lamina_pb2_grpc.ConfigServiceStub(channel).WatchKeyHistory for channel in channels]
        request = pb.WatchKeyHistoryRequest(config=CONFIG, keys=["key"])
        began = time.monotonic()
        streams = [method(request) for method in itertools.islice(itertools.cycle(methods), watches)]
        firsts = await asyncio.gather(*(stream.read() for stream in streams), return_exceptions=True)
        opened = time.monotonic()
        async with _channel(server) as channel:  # the watches may use up the streams of their connections
            await _commit(lamina_pb2_grpc.ConfigServiceStub(channel), 2, {"key": "2"})
        seconds = await asyncio.gather(*map(_event, streams), return_exceptions=True)
        received = time.monotonic()
        for stream in streams:
            stream.cancel()
    bookmarked = sum(isinstance(first, pb.WatchKeyHistoryResponse) and first.bookmark.version == 1 for first in firsts)
    second = [[part.version.version for part in getattr(message, "changes", ())] == [2] for message in seconds]
    return Many(bookmarked, sum(second), opened - began, received - opened)


def _channel(server: ServerProcess, *options: tuple[str, Any]) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(server.target, options=(*_OWN_CONNECTION, *options))


async def _commit(stub: Any, number: int, changes: dict[str, str]) -> None:
    request = pb.CommitRequest(
        config=CONFIG,
        changes=[pb.Change(key=key, value=pb.Value(string=value)) for key, value in changes.items()],
        request_id=str(number),
    )
    reply = await stub.Commit(request)
    assert reply.version.version == number


def _value(number: int) -> str:
    return f"{number}".ljust(VALUE_LENGTHS[number % len(VALUE_LENGTHS)], ".")
