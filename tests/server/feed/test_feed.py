"""The feed: who is woken by what, where they then stand, and what the rings hold."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.records import Change, HeadMark, Version, VersionChanges
from lamina_server.domain.selection import EVERYTHING, KeyFilter
from lamina_server.domain.values import Value
from lamina_server.feed.feed import Feed
from lamina_server.feed.subscribers import Subscriber
from lamina_server.rpc.watch.messages import message_of
from lamina_server.wire.codec import WireCodec

FAR = 1e9
CODEC = WireCodec()


def mark(number: int) -> HeadMark:
    return HeadMark(number, bytes([number]) * 32 if number else b"")


def made(number: int, *keys: str, config: str = "c", size: int = 1) -> EncodedChanges:
    hash_ = mark(number).hash
    version = Version(config, number, hash_, "ada", False, "", number, 1, len(keys), 1)
    changes = tuple(Change(key, Value.of_string("v" * size)) for key in sorted(keys))
    return EncodedChanges.of(VersionChanges(version, changes), CODEC)


def new_feed(limit_bytes: int = 1_000_000) -> Feed:
    return Feed(limit_bytes=limit_bytes, message_limit_bytes=10_000)


@asynccontextmanager
async def asleep(feed: Feed, *wanted: KeyFilter, config: str = "c") -> AsyncIterator[list["asyncio.Task[HeadMark]"]]:
    """Let watchers sleep while the block lasts."""
    with_ = [feed.follow(config, one) for one in wanted]
    followers = [one.__enter__() for one in with_]
    tasks = [asyncio.create_task(follower.sleep(FAR)) for follower in followers]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in with_:
            one.__exit__(None, None, None)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


_staying: list[Any] = []


def seen(feed: Feed, wanted: KeyFilter = EVERYTHING, config: str = "c") -> Subscriber:
    """Be a watcher for ever."""
    _staying.append(feed.follow(config, wanted))
    return _staying[-1].__enter__()  # type: ignore[no-any-return]  # a list of any context managers


def numbers(follower: Subscriber, after: int) -> list[int]:
    assert follower.ring is not None
    return [recent.mark.number for recent in follower.ring.after(after, 1_000)]


@pytest.mark.parametrize(
    ("wanted", "wakes"),
    [
        (EVERYTHING, True),
        (KeyFilter(keys=("db/x",)), True),
        (KeyFilter(keys=("a", "db/x")), True),
        (KeyFilter(prefixes=("db/",)), True),
        (KeyFilter(prefixes=("d", "db/x")), True),
        (KeyFilter(keys=("a",), prefixes=("db",)), True),
        (KeyFilter(keys=("db/",)), False),
        (KeyFilter(prefixes=("db/xy", "b")), False),
        (KeyFilter(keys=("a",), prefixes=("dbs",)), False),
    ],
)
async def test_only_those_wake_whose_keys_were_changed(wanted: KeyFilter, wakes: bool) -> None:
    feed = new_feed()
    feed.begin("c", None, mark(6))
    async with asleep(feed, wanted) as (watcher,):
        feed.append(made(7, "other"))
        feed.append(made(8, "db/x"))
        await settle()
        assert watcher.done() is wakes
        if wakes:
            assert watcher.result() == mark(6 if wanted == EVERYTHING else 7)


async def test_each_key_of_a_version_wakes_its_watchers() -> None:
    """P9: whichever of its keys they want, and however long the prefixes are by which they want it."""
    feed = new_feed()
    feed.begin("c", None, mark(1))
    wanted = [KeyFilter(keys=(key,)) for key in "abc"] + [
        KeyFilter(prefixes=(text,)) for text in ("a", "b/", "c/d", "x")
    ]
    async with asleep(feed, *wanted) as watchers:
        feed.append(made(2, "a", "b", "b/c", "c", "c/d/e"))
        await settle()
        assert [watcher.done() for watcher in watchers] == [True] * 6 + [False]


async def test_whoever_wakes_has_missed_nothing_before() -> None:
    """P9: the place to which a sleeper wakes is just before the version that woke it, also when more follow at once."""
    feed = new_feed()
    feed.begin("c", None, mark(1))
    async with asleep(feed, KeyFilter(keys=("x",))) as (watcher,):
        for number, key in enumerate("abxaxa", start=2):
            feed.append(made(number, key))
        assert await watcher == mark(3)


async def test_a_large_herd_is_woken_in_groups_each_at_its_place() -> None:
    """Versions that come while a herd is still being woken do not move those who wait for their turn."""
    feed = new_feed()
    feed.begin("c", None, mark(1))
    async with asleep(feed, *[EVERYTHING] * 450) as watchers:
        feed.append(made(2, "a"))
        await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
        assert not all(watcher.done() for watcher in watchers)
        feed.append(made(3, "a"))
        assert await asyncio.gather(*watchers) == [mark(1)] * 450


async def test_an_alarm_tells_how_far_nothing_was_missed() -> None:
    """P11: what a bookmark says; a version that comes after the alarm, before the sleeper runs, is not passed over."""
    feed = new_feed()
    feed.begin("c", None, mark(1))
    follower = seen(feed, KeyFilter(keys=("x",)))
    feed.append(made(2, "a"))
    position = await follower.sleep(asyncio.get_running_loop().time())
    feed.append(made(3, "x"))
    assert position == mark(2)


async def test_a_gap_wakes_everybody_where_they_were() -> None:
    """Versions of another server that nobody handed over: watchers read them from the store."""
    feed = new_feed()
    feed.begin("c", None, mark(4))
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",)), KeyFilter(prefixes=("p",))) as watchers:
        feed.append(made(7, "a"))
        assert await asyncio.gather(*watchers) == [mark(4)] * 3
        assert feed.last("c") == mark(7)
    async with asleep(feed, EVERYTHING) as (watcher,):
        feed.skip("c", mark(9))
        assert await watcher == mark(7)
        feed.skip("c", mark(8))
        assert feed.last("c") == mark(9)


async def test_a_fork_wakes_everybody_to_check_their_places() -> None:
    feed = new_feed()
    feed.begin("c", None, mark(4))
    follower = seen(feed)
    past = follower.past
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",))) as watchers:
        feed.fork("c")
        assert await asyncio.gather(*watchers) == [HeadMark(0, b"")] * 2
        assert follower.past != past
        assert (follower.ring, feed.last("c")) == (None, None)


@pytest.mark.parametrize("how", ["under its number", "before it"])
async def test_another_past_is_noticed_by_its_hash(how: str) -> None:
    """P10: a version that is known under another hash, or follows one that is, makes everybody check."""
    feed = new_feed()
    feed.begin("c", None, mark(4))
    feed.append(made(5, "a"))
    follower = seen(feed)
    past = follower.past
    async with asleep(feed, EVERYTHING) as (watcher,):
        feed.compare("c", mark(5))
        assert follower.past == past
        if how == "before it":
            feed.compare("c", HeadMark(5, b"?"))
        else:
            other = Version("c", 5, b"?", "ada", False, "", 5, 1, 1, 1)
            feed.append(EncodedChanges.of(VersionChanges(other, ()), CODEC))
        assert await watcher == HeadMark(0, b"")
    assert follower.past != past
    assert feed.last("c") in (None, HeadMark(5, b"?"))


async def test_versions_are_taken_once_and_in_order() -> None:
    feed = new_feed()
    follower = seen(feed)
    feed.append(made(3, "a"))
    feed.append(made(4, "a"))
    feed.append(made(3, "a"))
    assert numbers(follower, 2) == [3, 4]
    assert numbers(follower, 3) == [4]
    assert numbers(follower, 4) == numbers(follower, 9) == []
    assert follower.ring is not None
    assert not follower.ring.reaches(1)
    assert (follower.ring.hash_of(2), follower.ring.hash_of(3)) == (b"", mark(3).hash)


async def test_older_versions_go_in_front_where_they_fit() -> None:
    feed = new_feed()
    follower = seen(feed)
    feed.append(made(6, "a"))
    assert follower.ring is not None
    feed.prepend("c", follower.ring, mark(2), [made(3, "a"), made(4, "a")])  # 5 is missing
    assert numbers(follower, 5) == [6]
    feed.prepend("c", follower.ring, mark(3), [made(4, "a"), made(5, "b"), made(6, "a")])
    assert numbers(follower, 3) == [4, 5, 6]
    assert follower.ring.hash_of(3) == mark(3).hash
    feed.prepend("c", follower.ring, mark(1), [made(2, "a"), made(3, "a", size=20_000)])  # too large to be kept
    other_past = EncodedChanges.of(VersionChanges(Version("c", 3, b"?", "", False, "", 3, 1, 1, 1), ()), CODEC)
    feed.prepend("c", follower.ring, mark(2), [other_past])
    assert numbers(follower, 3) == [4, 5, 6]
    assert not follower.ring.reaches(2)


async def test_what_the_rings_hold_is_bounded_and_the_quiet_go_first() -> None:
    """P15: the oldest version of the config in which nothing happened for longest is dropped."""
    feed = new_feed(limit_bytes=40_000)
    quiet, busy = seen(feed, config="quiet"), seen(feed, config="busy")
    for number in range(1, 4):
        feed.append(made(number, "a", config="quiet", size=1_000))
    for number in range(1, 101):
        feed.append(made(number, "a", config="busy", size=1_000))
    assert quiet.ring is not None
    assert busy.ring is not None
    assert quiet.ring.is_empty
    assert quiet.ring.last == mark(3)
    assert numbers(busy, 95)[-1] == 100
    assert not busy.ring.reaches(80)
    assert busy.ring.size_bytes + quiet.ring.size_bytes <= 40_000


async def test_a_version_too_large_for_a_message_is_not_kept() -> None:
    feed = new_feed()
    feed.begin("c", None, mark(1))
    follower = seen(feed)
    async with asleep(feed, KeyFilter(keys=("a",))) as (watcher,):
        feed.append(made(2, "a", size=20_000))
        assert await watcher == mark(1)
    feed.append(made(3, "a"))
    assert follower.ring is not None
    assert not follower.ring.reaches(1)
    assert numbers(follower, 2) == [3]


async def test_configs_that_nobody_watches_cost_nothing_once_their_ring_is_dropped() -> None:
    feed = new_feed(limit_bytes=10_000)
    for number in range(1, 50):
        feed.append(made(1, "a", config=f"c{number}"))
    with feed.follow("c1", EVERYTHING):
        assert set(feed.watched()) == {"c1"}
    assert not feed.watched()
    assert feed.last("c1") is None
    assert feed.last("c49") == mark(1)


@pytest.mark.parametrize("wanted", [EVERYTHING, KeyFilter(keys=("a", "b", "x")), KeyFilter(prefixes=("",))])
async def test_a_message_is_made_once_for_all_who_want_the_same(wanted: KeyFilter) -> None:
    feed = new_feed()
    feed.append(made(1, "a", "b"))
    messages = [message_of(recent, one) for one in (seen(feed), seen(feed, wanted)) for recent in _recents(one)]
    assert messages[0] is messages[1]
    (one_key,) = [message_of(recent, seen(feed, KeyFilter(keys=("b",)))) for recent in _recents(seen(feed))]
    assert b"" != one_key != messages[0]
    assert [message_of(recent, seen(feed, KeyFilter(keys=("z",)))) for recent in _recents(seen(feed))] == [b""]


def _recents(follower: Subscriber) -> list[Any]:
    assert follower.ring is not None
    return list(follower.ring.after(0, 10))


async def test_all_wake_when_the_server_stops() -> None:
    feed = new_feed()
    feed.begin("c", None, mark(4))
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",))) as watchers:
        feed.wake_all()
        assert await asyncio.gather(*watchers) == [mark(4)] * 2


async def test_a_ring_does_not_take_in_what_was_read_before_a_fork() -> None:
    """P4, P10: the lost past in front of the new one would be told as one."""
    feed = new_feed()
    follower = seen(feed)
    feed.append(made(6, "a"))
    before_the_fork = follower.ring
    assert before_the_fork is not None
    feed.fork("c")
    feed.append(made(6, "a"))
    feed.prepend("c", before_the_fork, mark(3), [made(4, "a"), made(5, "a")])
    assert follower.ring is not None
    assert not follower.ring.reaches(4)


@pytest.mark.parametrize(
    ("head", "is_fork"), [(mark(3), True), (HeadMark(5, b"?"), True), (mark(5), False), (mark(7), False)]
)
async def test_where_the_store_contradicts_what_is_known_it_is_believed(head: HeadMark, is_fork: bool) -> None:
    """P10: a head that has gone back, or is another one; but not one that was asked for before what is known now."""
    feed = new_feed()
    feed.begin("c", None, mark(5))
    follower = seen(feed)
    past = follower.past
    feed.begin("c", mark(5), head)
    assert (follower.past != past, feed.last("c")) == (is_fork, head)
    feed.append(made(8, "a"))
    past = follower.past
    feed.begin("c", head, head)
    assert (follower.past, feed.last("c")) == (past, mark(8))


async def test_of_a_shared_database_nothing_is_kept_that_nobody_watches() -> None:
    """It is not compared with what others write, and might be of another past by the time that somebody comes."""
    feed = Feed(limit_bytes=1_000_000, message_limit_bytes=10_000, is_shared=True)
    feed.append(made(1, "a"))
    assert feed.last("c") is None
    with feed.follow("c", EVERYTHING) as follower:
        feed.append(made(2, "a"))
        assert numbers(follower, 1) == [2]
        past = follower.past
    with feed.follow("c", EVERYTHING) as follower:
        assert follower.ring is None
        assert follower.past != past


async def test_many_prefixes_of_many_lengths_cost_no_more_than_waking() -> None:
    """P15: whom a large version concerns is not looked up for seconds."""
    feed = new_feed()
    feed.begin("c", None, mark(1))
    prefixes = KeyFilter(prefixes=tuple("z" * length for length in range(1, 501)))
    async with asleep(feed, prefixes, KeyFilter(keys=("other",))) as (woken, other):
        feed.append(made(2, *(f"{number:04}" for number in range(1_000))))
        await settle()
        assert (woken.done(), other.done()) == (True, False)
