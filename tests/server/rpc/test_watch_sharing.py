"""The costs of many watches, and of slow ones: shared readings, back-pressure, limits."""

import asyncio
from collections.abc import MutableMapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from tests.server.bare_client import Refusal, Wire, refusal, running
from tests.support.statements import said

CONFIG = "shop/prod"
LARGE = 500 * 1024


async def commit_versions(wire: Wire, versions: int) -> list[pb.ConfigVersion]:
    return [(await wire.commit(CONFIG, {"ab"[number % 2]: number})).version for number in range(versions)]


async def until_admitted(wire: Wire) -> None:
    """Try until the server admits another watch, and cancel that one."""
    while True:
        watch = wire.watch(CONFIG)
        try:
            await watch.message()
        except grpc.aio.AioRpcError as error:
            if Refusal.of(error).reason != "TOO_MANY":
                raise
        else:
            watch.cancel()
            return


async def test_watches_that_resume_together_share_their_readings(tmp_path: Path) -> None:
    """Sixty watches after a restart, when nothing is in memory: each at another version, with all kinds of filters."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store) as wire:
        versions = await commit_versions(wire, 60)
    async with running(store) as wire:
        cursors = [pb.Cursor(version=version.version, hash=version.hash) for version in versions[:-1]]
        filters: tuple[dict[str, Any], ...] = (
            {},
            {"keys": ["b"]},
            {"prefixes": ["b"]},
            {"keys": ["b", "x"], "prefixes": ["y"]},
        )
        with said() as questions:
            watches = [wire.watch(CONFIG, after=at, **filters[at.version % 4]) for at in cursors]
            seen = await asyncio.gather(*(watch.numbers(60) for watch in watches))
        for cursor, numbers in zip(cursors, seen, strict=True):
            wanted = range(cursor.version + 1, 61)
            assert numbers == [n for n in wanted if cursor.version % 4 == 0 or n % 2 == 0]
        # The head; and headers and changes twice: for the first watch, and for those further behind.
        assert len(questions) <= 8
    store.close()


async def test_watches_far_behind_share_their_readings(tmp_path: Path) -> None:
    """Without a ring, thirty watches with one filter read the history as often as one does."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store, ring_limit_bytes=0, watch_read_limit_versions=20) as wire:
        await commit_versions(wire, 100)
        asked = []
        for count in (1, 30):
            with said() as questions:
                seen = await asyncio.gather(
                    *(wire.watch(CONFIG, after=0, keys=["a", f"x{count}"]).numbers(99) for _ in range(count))
                )
            assert seen == [list(range(1, 100, 2))] * count
            asked.append(len(questions))
        assert asked[1] <= asked[0] + 2
    store.close()


async def test_watches_get_the_same_without_a_ring() -> None:
    """P9, P15: memory only makes them faster."""
    async with running(MemoryStore(), ring_limit_bytes=0, replay_limit_bytes=0) as wire:
        watch, filtered = wire.watch(CONFIG, after=0), wire.watch(CONFIG, after=0, keys=["b"])
        await commit_versions(wire, 10)
        assert await watch.numbers(10) == list(range(1, 11))
        await commit_versions(wire, 1)
        assert await filtered.numbers(10) == [2, 4, 6, 8, 10]


async def test_a_version_too_large_for_the_ring_comes_in_order() -> None:
    """P9: between small ones, for watches that sleep and for watches that are behind."""
    async with running(MemoryStore(), watch_message_limit_bytes=10_000) as wire:
        live = wire.watch(CONFIG, after=0)
        assert await live.bookmark() == (0, b"")
        await wire.commit(CONFIG, {"a": 1})
        await wire.commit(CONFIG, {f"k{number}": "v" * 4_000 for number in range(5)})
        await wire.commit(CONFIG, {"a": 2})
        for watch in (live, wire.watch(CONFIG, after=0), wire.watch(CONFIG, after=1)):
            parts = [part for part in await watch.parts(3) if part.version.version > 1]
            assert [(part.version.version, len(part.changes), part.more) for part in parts] == [
                (2, 2, True),
                (2, 2, True),
                (2, 1, False),
                (3, 1, False),
            ]


async def test_a_watch_whose_client_takes_nothing_is_ended_and_can_resume() -> None:
    """P15: it is held back, then ended, and loses no version; its messages are counted until its call has ended."""
    given_up = asyncio.Event()

    def note(_logger: object, _level: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if line["event"] == "call given up":
            given_up.set()
        return line

    stack = AsyncExitStack()
    stack.enter_context(capture_logs(processors=[note]))
    async with stack, running(MemoryStore(), watch_take_limit_seconds=0.3, watch_limit=2) as wire:
        slow = wire.watch(CONFIG, after=0)
        assert await slow.bookmark() == (0, b"")
        other = wire.watch(CONFIG, after=0)
        for number in range(40):  # far more than the connection's windows take
            await wire.commit(CONFIG, {"a": f"{number}" + "v" * LARGE})
            assert (await other.numbers(number + 1))[-1] == number + 1
        await asyncio.wait_for(given_up.wait(), 30)
        assert (await refusal(wire.watch(CONFIG).message())).reason == "TOO_MANY"
        seen: list[int] = []
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            while True:
                seen += [part.version.version for part in (await slow.message()).changes]
        refused = Refusal.of(ended.value)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "TOO_SLOW")
        assert seen == list(range(1, len(seen) + 1))
        assert len(seen) < 40
        await until_admitted(wire)
        assert await wire.watch(CONFIG, after=seen[-1]).numbers(40) == list(range(seen[-1] + 1, 41))


async def test_watches_beyond_a_connections_limit_are_refused() -> None:
    async with running(MemoryStore(), connection_limit_watches=3) as wire:
        watches = [wire.watch(CONFIG, after=0) for _ in range(3)]
        for watch in watches:
            await watch.bookmark()
        refused = await refusal(wire.watch(CONFIG, after=0).message())
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")
        assert refused.metadata == {"limit": "3", "actual": "4"}
        assert "watches on this connection" in refused.text
        async with grpc.aio.insecure_channel(wire.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            other: Any = ConfigServiceStub(channel).WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG))
            assert (await other.read()).HasField("bookmark")
            other.cancel()
        watches[0].cancel()
        await until_admitted(wire)


async def test_watches_beyond_the_servers_limit_are_refused() -> None:
    async with running(MemoryStore(), watch_limit=2) as wire:
        watches = [wire.watch(CONFIG, after=0) for _ in range(2)]
        for watch in watches:
            await watch.bookmark()
        refused = await refusal(wire.watch(CONFIG, after=0).message())
        assert (refused.reason, refused.metadata["limit"]) == ("TOO_MANY", "2")
        assert "watches on this server" in refused.text


async def test_a_remembered_reply_moves_no_watch() -> None:
    """P8, P9: an old request, sent again to a server that has just started, says nothing about the head."""
    store = MemoryStore()
    async with running(store) as wire:
        for number in range(1, 6):
            await wire.commit(CONFIG, {"a": number}, request_id=f"r{number}")
    async with running(store) as wire:
        assert (await wire.commit(CONFIG, {"a": 2}, request_id="r2")).version.version == 2
        assert (await wire.watch(CONFIG).bookmark())[0] == 5
        assert await wire.watch(CONFIG, after=2).numbers(5) == [3, 4, 5]
        assert await wire.watch(CONFIG, after=4).numbers(5) == [5]


async def test_a_damaged_value_ends_the_watches_of_its_key_alone(tmp_path: Path) -> None:
    """P5: also if the versions around it are read together, for several watches that resume."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    async with running(store) as wire:
        await commit_versions(wire, 40)
    with store._database.migrating() as engine, engine.begin() as connection:
        connection.execute(text("DROP TRIGGER config_value_no_update"))
        connection.execute(text("UPDATE config_value SET int_value = 7 WHERE name = 'a' AND version = 21"))
    async with running(store) as wire:
        assert await wire.watch(CONFIG, after=10, keys=["b"]).numbers(40) == list(range(12, 41, 2))
        assert await wire.watch(CONFIG, after=30).numbers(40) == list(range(31, 41))
        refused = await refusal(wire.watch(CONFIG, after=15).message())
        assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "HASH_MISMATCH")
    store.close()
