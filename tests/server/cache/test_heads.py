"""Reads from memory, over the wire: they give the same answers as the store, without asking it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import create_engine, text

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.cache.read_index import ReadIndex
from lamina_server.store.contract import Expected, Reading, Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from tests.server.bare_client import DELETED, Wire, entries, refusal, running
from tests.support.postgres import Postgres
from tests.support.statements import said

CONFIG = "shop/prod"
SECOND = Duration(seconds=1)


class Gone(Exception):  # noqa: N818 - it stands for any error
    """What a closed database raises."""


class Closable(MemoryStore):
    """A memory store that can be closed to readers."""

    closed = False

    @contextmanager
    def read(self) -> Iterator[Any]:
        if self.closed:
            raise Gone
        with super().read() as reading:
            yield reading


async def hold_head(wire: Wire) -> None:
    """Commit to a config and read it, so that memory holds its head."""
    await wire.commit(CONFIG, {"a": 1, "b": 1, "db/x": 1, "db/y": 1})
    await wire.commit(CONFIG, {"a": 2, "c": 2})
    await wire.commit(CONFIG, {"b": DELETED, "db/z": 3})
    await wire.get(CONFIG)


COPIES_AND_VIEWS = pytest.mark.parametrize("limits", [DEFAULT_LIMITS, CacheLimits(copied_keys=0)])
"""Recent maps as copies, and as views of the head."""


@COPIES_AND_VIEWS
async def test_reads_at_and_near_the_head_ask_no_database(limits: CacheLimits) -> None:
    store = Closable()
    async with running(store, cache_limits=limits) as wire:
        await hold_head(wire)
        store.closed = True
        head = {"a": 2, "c": 2, "db/x": 1, "db/y": 1, "db/z": 3}
        assert await wire.map(CONFIG) == head
        assert await wire.map(CONFIG, version=3) == head
        assert await wire.map(CONFIG, version=2) == {"a": 2, "b": 1, "c": 2, "db/x": 1, "db/y": 1}
        assert await wire.map(CONFIG, version=1) == {"a": 1, "b": 1, "db/x": 1, "db/y": 1}
        assert await wire.map(CONFIG, keys=["c", "b", "a", "a"], prefixes=["db/"]) == head
        assert await wire.map(CONFIG, keys=["b", "db/z"], version=2) == {"b": 1}
        assert (await wire.get(CONFIG, view=pb.HEADER)).change_count == 2
        assert list((await wire.get(CONFIG, view=pb.HEADER, version=2)).changed_keys) == ["a", "c"]
        assert await wire.get(CONFIG, version=0) == pb.ConfigVersion(config=CONFIG)
        # A commit on top of a recent version finds its base there, too; so does one that changes nothing.
        made = await wire.commit(CONFIG, {"a": 5}, base_version=2)
        assert (made.version.version, made.merged) == (4, True)
        assert not (await wire.commit(CONFIG, {"a": 5})).created
        assert (await wire.map(CONFIG))["a"] == 5


@COPIES_AND_VIEWS
async def test_all_pages_are_of_one_version_while_the_head_moves(store: Store, limits: CacheLimits) -> None:
    async with running(store, cache_limits=limits) as wire:
        await wire.commit(CONFIG, {f"k{n:02}": n for n in range(20)})
        request = pb.GetVersionRequest(config=CONFIG, page_size=7)
        found: dict[str, Any] = {}
        for moved in range(5):
            page = await wire.stub.GetVersion(request)
            assert page.version == 1
            found |= entries(page)
            request.page_token = page.next_page_token
            await wire.commit(CONFIG, {f"k{moved * 3:02}": -1, f"k{moved * 3 + 1:02}": DELETED, f"new{moved}": 1})
            if not page.next_page_token:
                break
        assert found == {f"k{n:02}": n for n in range(20)}
        assert list(found) == sorted(found)


@pytest.mark.parametrize("limit_bytes", [0, 3_000, 1 << 30])
async def test_the_room_for_heads_changes_no_answer(store: Store, limit_bytes: int) -> None:
    """P5, P15: with no room, with some, and with plenty."""
    async with running(store, heads_limit_bytes=limit_bytes, page_size_limit=3) as wire:
        for number in range(6):
            await wire.commit(f"c{number}", {f"k{n}": n for n in range(5)})
        for number in [*range(6), *range(6)]:
            config = f"c{number}"
            made = await wire.commit(config, {"k0": DELETED, "new": number}, base_version=1)
            assert await whole(wire, config) == {"k1": 1, "k2": 2, "k3": 3, "k4": 4, "new": number}
            assert await whole(wire, config, version=1) == {f"k{n}": n for n in range(5)}
            assert await wire.map(config, keys=["k0", "new"]) == {"new": number}
            assert await wire.map(config, prefixes=["n"], version=1) == {}
            assert made.version.version == (await wire.get(config, view=pb.HEADER)).version


async def whole(wire: Wire, config: str, **fields: Any) -> dict[str, Any]:
    """Read a whole map, page by page."""
    request = pb.GetVersionRequest(config=config, **fields)
    found: dict[str, Any] = {}
    while True:
        page = await wire.stub.GetVersion(request)
        found |= entries(page)
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def test_a_head_that_is_read_during_commits_misses_none(store: Store) -> None:
    """P6: in whatever order the map is read and the commits are announced."""
    async with running(store) as wire:
        await wire.commit(CONFIG, {f"k{n}": 0 for n in range(300)})
    async with running(store) as wire:  # a new server, which holds nothing yet

        async def commit(number: int) -> None:
            made = await wire.commit(CONFIG, {f"k{number}": 1})
            seen = await wire.get(CONFIG)
            assert seen.version >= made.version.version
            assert entries(seen)[f"k{number}"] == 1

        await asyncio.gather(*(commit(number) for number in range(40)))
        assert sum((await wire.map(CONFIG)).values()) == 40


class Slow(MemoryStore):
    """A memory store whose blocks, once committed, wait at a gate before they end."""

    def __init__(self) -> None:
        super().__init__()
        self.committed, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    @contextmanager
    def write(self, expected: Expected | None = None) -> Iterator[Any]:
        with super().write(expected) as writing:
            yield writing
        self.committed.set()
        assert self.gate.wait(10)


async def test_no_answer_from_the_store_is_ahead_of_memory() -> None:
    """P6, P13: between the end of a transaction and the heads' advance, a reader of both would go back."""
    store = Slow()
    async with running(store) as wire:
        await hold_head(wire)
        store.committed.clear()
        store.gate.clear()
        commit = asyncio.ensure_future(wire.commit(CONFIG, {"a": 4}))
        await asyncio.to_thread(store.committed.wait, 10)
        watch = wire.watch(CONFIG, after=3)
        assert (await watch.bookmark())[0] == 3  # memory: to a watch, too, there is no version 4 yet
        reads: dict[str, Any] = {
            "log": wire.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG)),
            "history": wire.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="a", newest_first=True)),
            "configs": wire.stub.ListConfigs(pb.ListConfigsRequest()),
            "watch": watch.message(),
        }
        tasks = {name: asyncio.ensure_future(call) for name, call in reads.items()}
        assert (await wire.get(CONFIG)).version == 3  # memory: the commit has no reply yet
        assert (await wire.get(CONFIG, view=pb.BLAME)).version == 3
        other = await wire.stub.GetVersion(pb.GetVersionRequest(config=CONFIG, version=2))
        assert (other.version, [name for name, task in tasks.items() if task.done()]) == (2, [])
        store.gate.set()
        assert (await commit).version.version == 4
        log, history, configs, message = await asyncio.gather(*tasks.values())
        assert log.versions[0].version == history.changes[0].version == configs.configs[0].head.version == 4
        assert message.changes[0].version.version == 4
        assert (await wire.get(CONFIG, min_version=4)).version == 4


async def test_a_damaged_value_hides_no_intact_one(tmp_path: Path) -> None:
    """P5: intact keys are still answered; a damaged one is DATA_LOSS."""
    url = f"sqlite:///{tmp_path}/lamina.db"
    store = open_store(url)
    async with running(store) as wire:
        await wire.commit(CONFIG, {"a": 1, "b": 1})
    with store._database.migrating() as engine, engine.begin() as connection:
        connection.execute(text("DROP TRIGGER config_value_no_update"))
        connection.execute(text("UPDATE config_value SET int_value = 7 WHERE name = 'a'"))
    async with running(store) as wire:
        for _ in range(2):
            refused = await refusal(wire.get(CONFIG))
            assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "HASH_MISMATCH")
            assert await wire.map(CONFIG, keys=["b"]) == {"b": 1}
            assert (await wire.get(CONFIG, view=pb.HEADER)).version == 1
    store.close()


# --- several servers on one database --------------------------------------------------------


@pytest.fixture
def shared_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    url = postgres.new_database(template_url=postgres_template)
    yield url
    postgres.drop_database(url)


@asynccontextmanager
async def two_servers(url: str, *, limits: CacheLimits = DEFAULT_LIMITS) -> AsyncIterator[tuple[Wire, Wire]]:
    """Run two servers on one PostgreSQL."""
    async with AsyncExitStack() as stack:
        stores = [open_store(url) for _ in range(2)]
        for each in stores:
            stack.callback(each.close)
        one, two = [await stack.enter_async_context(running(each, cache_limits=limits)) for each in stores]
        yield one, two


@pytest.fixture
async def servers(shared_url: str) -> AsyncIterator[tuple[Wire, Wire]]:
    """Two servers on one PostgreSQL."""
    async with two_servers(shared_url) as servers:
        yield servers


async def test_every_server_reads_what_one_has_committed(servers: tuple[Wire, Wire]) -> None:
    """P6: reads of the head are linearizable across servers, whatever each holds in memory."""
    for number in range(1, 31):
        writer, reader = servers[number % 2], servers[1 - number % 2]
        made = await writer.commit(CONFIG, {f"k{number % 7}": number, f"k{(number + 3) % 7}": DELETED})
        assert made.version.version == number
        seen = await reader.get(CONFIG)
        assert (seen.version, seen.hash) == (number, made.version.hash)
        assert entries(seen)[f"k{number % 7}"] == number
        assert seen == await writer.get(CONFIG)
        assert await reader.map(CONFIG, keys=[f"k{number % 7}"]) == {f"k{number % 7}": number}


async def test_commits_through_both_servers_are_one_history(servers: tuple[Wire, Wire]) -> None:
    """P3, P6, P8: no gap, no double, each reads its own; one request id sent to both is one version."""

    async def writer(number: int) -> None:
        base = 0
        for turn in range(10):
            wires = servers if turn == 5 else [servers[(number + turn) % 2]]
            id_ = f"{number}/{turn}"
            replies = await asyncio.gather(
                *(wire.commit(CONFIG, {f"k{number}": turn}, base_version=base, request_id=id_) for wire in wires)
            )
            assert len({reply.SerializeToString() for reply in replies}) == 1
            assert replies[0].created
            base = replies[0].version.version
            seen = await servers[turn % 2].get(CONFIG)
            assert seen.version >= base
            assert entries(seen)[f"k{number}"] == turn

    await asyncio.gather(*(writer(number) for number in range(8)))
    maps = [await wire.get(CONFIG) for wire in servers]
    assert maps[0] == maps[1]
    assert maps[0].version == 80
    assert entries(maps[0]) == {f"k{number}": 9 for number in range(8)}


async def test_a_server_far_behind_catches_up(shared_url: str) -> None:
    async with two_servers(shared_url, limits=CacheLimits(catch_up_versions=5)) as (one, two):
        await one.commit(CONFIG, {"x": 0})
        assert await two.map(CONFIG) == {"x": 0}
        for number in range(1, 20):
            await one.commit(CONFIG, {"x": number, f"k{number}": number})
        made = await two.commit(CONFIG, {"x": 99})
        assert made.version.version == 21
        assert (await one.map(CONFIG)) == (await two.map(CONFIG)) == {"x": 99} | {f"k{n}": n for n in range(1, 20)}


async def test_lost_versions_are_noticed_by_their_hashes(servers: tuple[Wire, Wire], shared_url: str) -> None:
    """P10, P13: after a failover that lost versions, memory is dropped, and cursors of lost versions are refused."""
    one, two = servers
    await one.commit(CONFIG, {"x": 1})
    kept = (await one.commit(CONFIG, {"x": 2})).version
    lost = (await one.commit(CONFIG, {"x": 3, "y": 3})).version
    assert (await one.get(CONFIG)).hash == (await two.get(CONFIG)).hash == lost.hash
    lose_versions(shared_url, after=kept.version)
    # A watch notices it when it next looks, one server by a read, the other by a commit.
    watch = two.watch(CONFIG, after=pb.Cursor(version=lost.version, hash=lost.hash), bookmark_interval=SECOND)
    ahead = await refusal(watch.message())
    assert (ahead.reason, ahead.metadata["head_version"]) == ("CURSOR_AHEAD", str(kept.version))
    assert await one.map(CONFIG) == {"x": 2}
    other = (await two.commit(CONFIG, {"x": 4})).version
    assert (other.version, other.hash != lost.hash) == (lost.version, True)
    for wire in servers:
        assert await wire.map(CONFIG) == {"x": 4}
        refused = await refusal(wire.commit(CONFIG, {"z": 1}, base_version=lost.version, base_hash=lost.hash))
        assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "CURSOR_FORKED")
        refused = await refusal(wire.get(CONFIG, min_version=lost.version + 1))
        assert refused.reason == "CURSOR_AHEAD"
    # The same with as many versions as before, and a watch that has seen the lost one.
    watch = one.watch(CONFIG, after=lost.version, bookmark_interval=SECOND)
    assert (await watch.bookmark())[0] == lost.version
    lose_versions(shared_url, after=kept.version)
    assert (await two.commit(CONFIG, {"x": 5})).version.version == lost.version
    assert await one.map(CONFIG) == {"x": 5}
    assert (await refusal(watch.message())).reason == "CURSOR_FORKED"


@pytest.mark.parametrize("by", ["this server", "another"])
async def test_new_versions_are_not_mixed_with_lost_ones_of_the_same_numbers(
    servers: tuple[Wire, Wire], shared_url: str, by: str
) -> None:
    """P9, P10: a watch that saw the lost versions is refused, and no watch gets both."""
    one, two = servers
    for number in range(1, 11):
        await one.commit(CONFIG, {"x": number})
    asleep = one.watch(CONFIG, after=9)
    assert await asleep.numbers(10) == [10]
    assert (await asleep.bookmark())[0] == 10
    lose_versions(shared_url, after=7)
    assert await one.map(CONFIG) == {"x": 7}
    writer = one if by == "this server" else two
    for number in range(8, 11):
        await writer.commit(CONFIG, {"x": -number})
    await one.commit(CONFIG, {"x": -11})
    refused = await refusal(asleep.message())
    assert refused.reason in {"CURSOR_FORKED", "CURSOR_AHEAD"}
    for wire in servers:
        seen = [part.changes[0].value.int64 for part in await wire.watch(CONFIG, after=5).parts(11)]
        assert seen == [6, 7, -8, -9, -10, -11]


async def test_a_watch_gets_other_servers_commits_without_a_notice(shared_url: str) -> None:
    """P14: a watch that begins reads the head from the store, and wakes those that sleep."""
    with closing(open_store(shared_url)) as store, closing(open_store(shared_url)) as other:
        async with running(store, news_interval_seconds=600) as wire, running(other) as elsewhere:
            await wire.commit(CONFIG, {"x": 1})
            asleep = wire.watch(CONFIG)
            assert (await asleep.bookmark())[0] == 1
            for number in range(2, 5):
                await elsewhere.commit(CONFIG, {"x": number})
            assert await wire.watch(CONFIG, after=1).numbers(4) == [2, 3, 4]
            assert await asleep.numbers(4) == [2, 3, 4]


def lose_versions(url: str, *, after: int) -> None:
    """Delete the newest versions of a database, as a failover to a standby without them would."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        lost = f"SELECT id FROM config WHERE version > {after}"
        connection.execute(text(f"DELETE FROM config_request WHERE config_id IN ({lost})"))
        connection.execute(text(f"DELETE FROM config_value WHERE originating_config_id IN ({lost})"))
        connection.execute(text(f"DELETE FROM config WHERE version > {after}"))
    engine.dispose()


async def test_one_question_answers_all_reads_that_waited_for_it(shared_url: str) -> None:
    """P15: reads that come together share a few questions."""
    with closing(open_store(shared_url)) as store:
        async with running(store) as wire:
            await wire.commit(CONFIG, {"x": 1})
            await wire.get(CONFIG)
            with said() as questions:
                await asyncio.gather(*(wire.get(CONFIG) for _ in range(90)))
            assert 1 <= len(questions) < 90


async def test_a_read_waits_for_a_question_that_is_sent_after_it_came() -> None:
    """One question is under way at a time, and its failure reaches each read that waited for it."""
    store, release, begun = MemoryStore(), asyncio.Event(), asyncio.Event()
    asked: list[int] = []

    class Gate(Readers):
        async def read(self, question: Callable[[Reading], Any]) -> Any:
            asked.append(len(asked))
            begun.set()
            await release.wait()
            if len(asked) == 2:
                raise Gone
            return await super().read(question)

    readers = Gate(store, threads=1, silence=Silence())
    index = ReadIndex(readers)
    first = [asyncio.ensure_future(index.ask("a")), asyncio.ensure_future(index.ask("b"))]
    await begun.wait()
    second = [asyncio.ensure_future(index.ask("a")) for _ in range(3)]
    second[0].cancel()
    await asyncio.sleep(0)
    assert len(asked) == 1
    release.set()
    assert await asyncio.gather(*first) == [None, None]
    results = await asyncio.gather(*second, return_exceptions=True)
    assert [type(each) for each in results] == [asyncio.CancelledError, Gone, Gone]
    assert await index.ask("a") is None
    assert len(asked) == 3
    await readers.close()
