"""The watch over the wire: ordered, unique, atomic, reliable, resumable, bookmarked."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import create_engine, text

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.store.contract import Store
from lamina_server.store.open import open_store
from tests.server.bare_client import DELETED, MEMORY_ONLY, Wire, plain, refusal, running
from tests.server.shared_store import SharedStore

CONFIG = "shop/prod"
MIB = 1024 * 1024
EVERY_SECOND = Duration(seconds=1)


def content(part: pb.VersionChanges) -> dict[str, Any]:
    return {one.key: DELETED if one.deleted else plain(one.value) for one in part.changes}


async def count_up(wire: Wire, versions: int, keys: str = "ab") -> list[pb.ConfigVersion]:
    """Commit versions 1, 2, 3 …, each changing one of the keys in turn."""
    return [(await wire.commit(CONFIG, {keys[n % len(keys)]: n})).version for n in range(versions)]


async def test_replay_then_live(wire: Wire) -> None:
    """P9: all versions from the first, whole and in order, with no gap between old and new ones."""
    await wire.commit(CONFIG, {"b": 1, "a": 1}, message="one")
    await wire.commit(CONFIG, {"a": DELETED})
    watch = wire.watch(CONFIG, after=0)
    parts = await watch.parts(2)
    assert [(part.version.version, content(part), part.more) for part in parts] == [
        (1, {"a": 1, "b": 1}, False),
        (2, {"a": DELETED}, False),
    ]
    assert parts[0].version == await wire.get(CONFIG, version=1, view=pb.HEADER)
    await wire.commit(CONFIG, {"c": 3})
    (live,) = await watch.parts(3)
    assert (live.version.version, content(live)) == (3, {"c": 3})


async def test_from_now_begins_with_a_bookmark(wire: Wire) -> None:
    head = (await wire.commit(CONFIG, {"a": 1})).version
    watch = wire.watch(CONFIG)
    assert await watch.bookmark() == (1, head.hash)
    await wire.commit(CONFIG, {"a": 2})
    assert await watch.numbers(2) == [2]


@pytest.mark.parametrize("after", [None, 0, pb.Cursor()])
async def test_a_config_that_does_not_exist_yet(wire: Wire, after: Any) -> None:
    watch = wire.watch(CONFIG, after=after)
    assert await watch.bookmark() == (0, b"")
    await wire.commit(CONFIG, {"a": 1})
    assert await watch.numbers(1) == [1]


async def test_cursors_of_another_epoch(wire: Wire) -> None:
    """P10: a cursor ahead of the head, or with another hash, is an explicit error."""
    head = (await wire.commit(CONFIG, {"a": 1})).version
    for after, reason in (
        (pb.Cursor(version=2), "CURSOR_AHEAD"),
        (pb.Cursor(version=1, hash=b"\0" * 32), "CURSOR_FORKED"),
        (pb.Cursor(version=1, hash=b"?"), "CURSOR_FORKED"),
        (pb.Cursor(version=0, hash=head.hash), "CURSOR_FORKED"),
    ):
        refused = await refusal(wire.watch(CONFIG, after=after).message())
        assert refused.reason == reason
        assert refused.metadata == {"head_version": "1", "head_hash": head.hash.hex()}
    ahead = await refusal(wire.watch("no/where", after=1).message())
    assert (ahead.reason, ahead.metadata["head_version"]) == ("CURSOR_AHEAD", "0")
    watch = wire.watch(CONFIG, after=pb.Cursor(version=1, hash=head.hash))
    assert await watch.bookmark() == (1, head.hash)


async def test_a_cursor_is_not_compared_with_an_older_answer() -> None:
    """P9, P10: the question of a watch that has left is still under way, and its answer will be older."""
    store = SharedStore()
    store.is_shared = False
    async with running(store, heads_limit_bytes=0, ring_limit_bytes=0) as wire:
        with store.held_up():
            early = wire.watch(CONFIG)
            await asyncio.to_thread(store.asked.wait, 30)
            early.cancel()
            # An answer on a connection shows that all that was sent before on it has arrived.
            await wire.commit("an/other", {"a": 1})
            head = (await wire.commit(CONFIG, {"a": 1})).version
            late = wire.watch(CONFIG, after=1)
            first = asyncio.create_task(late.bookmark())
            await asyncio.sleep(0)
            await wire.commit("an/other", {"a": 2})
        assert await first == (1, head.hash)


async def test_a_cursor_whose_header_is_missing_is_data_loss(tmp_path: Path) -> None:
    """P5, P10: a row that was lost below the head is damage, and not a restored backup."""
    url = f"sqlite:///{tmp_path}/lamina.db"
    with closing(open_store(url)) as store:
        async with running(store) as wire:
            await count_up(wire, 3)
    lose_header(url, 2)
    with closing(open_store(url)) as store:
        async with running(store) as wire:
            refused = await refusal(wire.watch(CONFIG, after=2).message())
    assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "HASH_MISMATCH")


def lose_header(url: str, number: int) -> None:
    """Remove a version's header, as damage would; triggers and foreign keys must be switched off for it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        triggers = connection.execute(text("SELECT name FROM sqlite_schema WHERE type = 'trigger'")).scalars().all()
        for trigger in triggers:
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text("DELETE FROM config WHERE version = :number"), {"number": number})
    engine.dispose()


async def test_resumes_after_every_cursor(wire: Wire) -> None:
    """P9, P10: after each version, with and without its hash, a watch gets exactly the versions that follow."""
    versions = await count_up(wire, 12)
    for number, hash_ in [(0, b""), *((version.version, version.hash) for version in versions[:-1])]:
        for cursor in (pb.Cursor(version=number, hash=hash_), pb.Cursor(version=number)):
            watch = wire.watch(CONFIG, after=cursor)
            assert await watch.numbers(12) == list(range(number + 1, 13))
            watch.cancel()


async def test_filters_skip_versions_but_not_their_numbers(wire: Wire) -> None:
    await count_up(wire, 6, "abc")  # a1 b2 c3 a4 b5 c6
    await wire.commit(CONFIG, {"db/x": 1, "b": 7})
    only_b = wire.watch(CONFIG, after=0, keys=["b"])
    assert [(part.version.version, content(part)) for part in await only_b.parts(7)] == [
        (2, {"b": 1}),
        (5, {"b": 4}),
        (7, {"b": 7}),
    ]
    mixed = wire.watch(CONFIG, after=3, keys=["a"], prefixes=["db/", "d"])
    assert [(part.version.version, content(part)) for part in await mixed.parts(7)] == [(4, {"a": 3}), (7, {"db/x": 1})]


async def test_a_replay_that_matches_nothing_ends_with_a_bookmark(wire: Wire) -> None:
    """P11: a bookmark follows all matching versions up to it, even if there are none."""
    versions = await count_up(wire, 5)
    watch = wire.watch(CONFIG, after=2, keys=["zzz"])
    assert await watch.bookmark() == (5, versions[-1].hash)
    last_match = wire.watch(CONFIG, after=0, keys=["b"])
    assert await last_match.numbers(4) == [2, 4]
    assert await last_match.bookmark() == (5, versions[-1].hash)


@MEMORY_ONLY
async def test_an_idle_watch_is_bookmarked_again_and_again(wire: Wire) -> None:
    """This test waits for time to pass, because that is its subject: twice the shortest interval."""
    await wire.commit(CONFIG, {"a": 1})
    watch = wire.watch(CONFIG, keys=["a"], bookmark_interval=EVERY_SECOND)
    assert (await watch.bookmark())[0] == 1
    others = [(await wire.commit(CONFIG, {"b": number})).version for number in range(3)]
    number, hash_ = 1, b""
    while number < 4:  # one may be due while they are committed
        before, (number, hash_) = number, await watch.bookmark()
        assert before <= number
    assert hash_ == others[-1].hash
    assert await watch.bookmark() == (4, others[-1].hash)


@MEMORY_ONLY
async def test_bookmarks_come_while_others_write_keys_that_do_not_match(wire: Wire) -> None:
    watch = wire.watch(CONFIG, keys=["a"], bookmark_interval=EVERY_SECOND)
    assert await watch.bookmark() == (0, b"")
    reached = asyncio.Event()

    async def write() -> None:
        number = 0
        while not reached.is_set():
            await wire.commit(CONFIG, {"b": (number := number + 1)})

    writing = asyncio.create_task(write())
    number, hash_ = 0, b""
    while number == 0:  # one may be due before the first commit
        number, hash_ = await watch.bookmark()
    reached.set()
    await writing
    assert hash_ == (await wire.get(CONFIG, version=number)).hash


@MEMORY_ONLY
async def test_small_versions_share_a_message(wire: Wire) -> None:
    await count_up(wire, 50)
    message = await wire.watch(CONFIG, after=0).message()
    assert [part.version.version for part in message.changes] == list(range(1, 51))


@MEMORY_ONLY
async def test_messages_stay_near_one_mebibyte(wire: Wire) -> None:
    for number in range(12):
        await wire.commit(CONFIG, {"a": bytes([number]) * (300 * 1024)})
    watch, sizes = wire.watch(CONFIG, after=0), []
    seen: list[int] = []
    while not seen or seen[-1] < 12:
        message = await watch.message()
        sizes.append(message.ByteSize())
        seen += [part.version.version for part in message.changes]
        assert not any(part.more for part in message.changes)
    assert seen == list(range(1, 13))
    assert max(sizes) <= MIB
    assert len(sizes) == 4


async def test_a_version_larger_than_a_message_is_split(wire: Wire) -> None:
    """P4: its parts come one after another, and only after the last one is its cursor valid."""
    await wire.commit(CONFIG, {"a": 0})
    large = {f"k{number:02}": bytes([number]) * (400 * 1024) for number in range(9)}
    await wire.commit(CONFIG, large)
    await wire.commit(CONFIG, {"a": 1})
    parts = await wire.watch(CONFIG, after=0).parts(3)
    assert [(part.version.version, len(part.changes), part.more) for part in parts] == [
        (1, 1, False),
        (2, 2, True),
        (2, 2, True),
        (2, 2, True),
        (2, 2, True),
        (2, 1, False),
        (3, 1, False),
    ]
    split = [part for part in parts if part.version.version == 2]
    assert {key: one for part in split for key, one in content(part).items()} == large
    assert all(part.version == split[0].version for part in split)
    resumed = await wire.watch(CONFIG, after=1).parts(2)
    assert [len(part.changes) for part in resumed if part.version.version == 2] == [2, 2, 2, 2, 1]


async def test_values_of_the_largest_size(wire: Wire) -> None:
    values = {f"k{number}": "v" * MIB for number in range(3)}
    await wire.commit(CONFIG, values)
    parts = await wire.watch(CONFIG, after=0).parts(1)
    assert [(len(part.changes), part.more) for part in parts] == [(1, True), (1, True), (1, False)]


@MEMORY_ONLY
async def test_headers_do_not_make_a_message_too_large(wire: Wire) -> None:
    """A version lists up to 100 keys of 512 bytes; a hundred such headers would exceed a client's limit."""
    for number in range(120):
        await wire.commit(CONFIG, {f"{'k' * 500}{key:03}": number for key in range(100)})
    watch = wire.watch(CONFIG, after=0, keys=[f"{'k' * 500}000"])
    seen: list[int] = []
    while not seen or seen[-1] < 120:
        message = await watch.message()
        assert message.ByteSize() <= MIB
        seen += [part.version.version for part in message.changes]
    assert seen == list(range(1, 121))


async def test_long_histories_are_read_in_steps(store: Store) -> None:
    async with running(store, watch_read_limit_versions=3) as wire:
        versions = await count_up(wire, 20)
        assert await wire.watch(CONFIG, after=0).numbers(20) == list(range(1, 21))
        assert await wire.watch(CONFIG, after=1, keys=["b"]).numbers(20) == list(range(2, 21, 2))
        assert await wire.watch(CONFIG, after=0, keys=["zzz"]).bookmark() == (20, versions[-1].hash)


async def test_many_watches_and_many_writers(wire: Wire) -> None:
    """P9: forty watches that begin at any moment each get every version once, in order, and whole."""
    last = 120

    async def write(writer: int) -> None:
        for number in range(last // 6):
            await wire.commit(CONFIG, {f"w{writer}": number, f"also{writer}": number})

    async def follow(watcher: int) -> list[pb.VersionChanges]:
        if watcher >= 20:  # the later half begins amid the writing
            await wire.watch(CONFIG, after=0).numbers(watcher * 2)
        watch = wire.watch(CONFIG, after=0)
        parts = await watch.parts(last)
        watch.cancel()
        return parts

    results = await asyncio.gather(*(follow(n) for n in range(40)), *(write(n) for n in range(6)))
    for parts in results[:40]:
        assert parts is not None
        assert [part.version.version for part in parts] == list(range(1, last + 1))
        assert all(len(part.changes) == 2 and not part.more for part in parts)
    assert len({tuple(part.version.hash for part in parts or ()) for parts in results[:40]}) == 1


async def test_a_slow_watch_loses_nothing_and_holds_up_no_other(wire: Wire) -> None:
    slow, quick = wire.watch(CONFIG, after=0), wire.watch(CONFIG, after=0)
    assert await slow.bookmark() == (0, b"")
    for number in range(40):  # far more than what the connection's windows take
        await wire.commit(CONFIG, {"a": bytes([number]) * (200 * 1024)})
        assert (await quick.numbers(number + 1))[-1] == number + 1
    assert await slow.numbers(40) == list(range(1, 41))


@MEMORY_ONLY
async def test_watches_of_other_configs_get_nothing(wire: Wire) -> None:
    watch = wire.watch("shop/dev")
    assert await watch.bookmark() == (0, b"")
    await wire.commit(CONFIG, {"a": 1})
    await wire.commit("shop/dev", {"a": 1})
    (part,) = await watch.parts(1)
    assert part.version.config == "shop/dev"


async def test_forks_and_reverts_are_watched_like_commits(wire: Wire) -> None:
    await count_up(wire, 2)
    watch, fork = wire.watch(CONFIG, after=1), wire.watch("shop/eu", after=0)
    await wire.stub.RevertConfig(pb.RevertConfigRequest(config=CONFIG, to_version=1, base_version=2, request_id="r"))
    await wire.stub.ForkConfig(pb.ForkConfigRequest(source=CONFIG, target="shop/eu", request_id="f"))
    assert [content(part) for part in await watch.parts(3)] == [{"b": 1}, {"b": DELETED}]
    (part,) = await fork.parts(1)
    assert (part.version.source_config, content(part)) == (CONFIG, {"a": 0})


async def test_an_empty_fork_has_no_changes_and_is_a_bookmark(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1})
    fork = pb.ForkConfigRequest(source=CONFIG, source_version=0, target="shop/eu", request_id="f")
    version = (await wire.stub.ForkConfig(fork)).version
    assert await wire.watch("shop/eu", after=0).bookmark() == (1, version.hash)


async def test_a_stopping_server_ends_watches_with_a_cursor(store: Store) -> None:
    """A last bookmark, then DRAINING; the watch resumes after the bookmark at another server."""
    async with running(store) as wire:
        await count_up(wire, 3)
        watch = wire.watch(CONFIG, after=0, keys=["a"])
        assert await watch.numbers(3) == [1, 3]
        assert (await watch.bookmark())[0] == 3  # every version was sent
        await wire.stop_server()
        number, hash_ = await watch.bookmark()
        refused = await refusal(watch.message())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    async with running(store) as wire:
        await wire.commit(CONFIG, {"a": 9})
        assert await wire.watch(CONFIG, after=pb.Cursor(version=number, hash=hash_)).numbers(4) == [4]
