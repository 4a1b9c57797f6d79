"""A watcher that was away for long: the versions a second that it gets until it has caught up."""

import asyncio
import time
from collections.abc import Callable

import grpc

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import machine, past
from tests.benchmarks.bench import CACHE, Bench
from tests.benchmarks.figures import Check, Figure
from tests.benchmarks.measuring import RATE, Samples

RECEIVE_LIMIT_BYTES = 64 << 20
"""As the SDK takes."""


def to_one_watcher(bench: Bench) -> Figure:
    """Replay the last hundred thousand versions of a long past to a watcher, from servers that have just started."""
    scale = bench.scale
    database = past.database(CACHE, versions=scale.past_versions, keys=scale.past_keys)
    head, number = scale.past_versions, scale.replayed_versions
    stubs, sdk = Samples("bare stubs", RATE), Samples("through the SDK's watch", RATE)
    spent = Samples("bare stubs: CPU of the server a thousand versions", "ms of CPU")
    sides: list[tuple[Samples, Callable[[str, int, int], None]]] = [(stubs, _by_stubs), (sdk, _by_sdk)]
    for _ in range(scale.replays):
        for samples, replay in sides:
            with bench.server(database) as server:
                started, before = time.perf_counter(), machine.cpu_seconds(server.pid)
                replay(server.target, head - number, head)
                samples.values.append(number / (time.perf_counter() - started))
                if samples is stubs:
                    spent.values.append((machine.cpu_seconds(server.pid) - before) / number * 1_000_000)
    what = f"replay of {number:,} versions to one watcher"
    return Figure(
        "W5",
        f"{what}, of 1 change each, {scale.past_keys:,} keys",
        [stubs, sdk, spent],
        checks=[Check(what, stubs.median, must=20_000, aim=60_000, unit=RATE, at_least=True)],
        remark=(
            f"The last of {head:,} versions, the whole config watched; connecting included. Each time from a server "
            "that has just started, so nothing of it is in memory; the database's file may be in the system's cache. "
            "On a busy machine the CPU is what tells."
        ),
    )


def _by_stubs(target: str, after: int, head: int) -> None:
    async def replay() -> None:
        request = pb.WatchKeyHistoryRequest(config=past.CONFIG, after=pb.Cursor(version=after))
        options = [("grpc.max_receive_message_length", RECEIVE_LIMIT_BYTES)]
        async with grpc.aio.insecure_channel(target, options) as channel:
            seen = after
            async for message in ConfigServiceStub(channel).WatchKeyHistory(request):
                for part in message.changes:
                    assert part.version.version == seen + 1
                    seen += not part.more
                if seen == head:
                    return

    asyncio.run(replay())


def _by_sdk(target: str, after: int, head: int) -> None:
    with lamina.connect(target) as client, client.config(past.CONFIG).watch(after=after) as watch:
        for version in watch.versions():
            after += 1
            assert version.version == after
            if after == head:
                return
