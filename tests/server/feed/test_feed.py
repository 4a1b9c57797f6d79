"""The feed: which versions wake which subscribers, where their cursors then are, and what the rings hold."""

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
    """Let subscribers sleep for the duration of the block."""
    contexts = [feed.subscribe(config, one) for one in wanted]
    subscribers = [one.__enter__() for one in contexts]
    tasks = [asyncio.create_task(subscriber.sleep(FAR)) for subscriber in subscribers]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for one in contexts:
            one.__exit__(None, None, None)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


_subscriptions: list[Any] = []


def subscribe(feed: Feed, wanted: KeyFilter = EVERYTHING, config: str = "c") -> Subscriber:
    """Return a subscriber that stays until the end of the run."""
    _subscriptions.append(feed.subscribe(config, wanted))
    return _subscriptions[-1].__enter__()  # type: ignore[no-any-return]  # a list of any context managers


def numbers(subscriber: Subscriber, after: int) -> list[int]:
    assert subscriber.ring is not None
    return [recent.mark.number for recent in subscriber.ring.after(after, 1_000)]


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
async def test_a_version_wakes_the_subscribers_of_its_keys_only(wanted: KeyFilter, wakes: bool) -> None:
    feed = new_feed()
    feed.set_head("c", None, mark(6))
    async with asleep(feed, wanted) as (sleeper,):
        feed.append(made(7, "other"))
        feed.append(made(8, "db/x"))
        await settle()
        assert sleeper.done() is wakes
        if wakes:
            assert sleeper.result() == mark(6 if wanted == EVERYTHING else 7)


async def test_each_key_of_a_version_wakes_its_subscribers() -> None:
    """P9: by each of its keys, and by prefixes of any length."""
    feed = new_feed()
    feed.set_head("c", None, mark(1))
    wanted = [KeyFilter(keys=(key,)) for key in "abc"] + [
        KeyFilter(prefixes=(text,)) for text in ("a", "b/", "c/d", "x")
    ]
    async with asleep(feed, *wanted) as sleepers:
        feed.append(made(2, "a", "b", "b/c", "c", "c/d/e"))
        await settle()
        assert [sleeper.done() for sleeper in sleepers] == [True] * 6 + [False]


async def test_a_subscriber_wakes_just_before_the_version_that_woke_it() -> None:
    """P9: also if more versions follow at once."""
    feed = new_feed()
    feed.set_head("c", None, mark(1))
    async with asleep(feed, KeyFilter(keys=("x",))) as (sleeper,):
        for number, key in enumerate("abxaxa", start=2):
            feed.append(made(number, key))
        assert await sleeper == mark(3)


async def test_many_subscribers_are_woken_in_groups_and_keep_their_positions() -> None:
    """A version that comes while others still wait to be woken does not move their positions."""
    feed = new_feed()
    feed.set_head("c", None, mark(1))
    async with asleep(feed, *[EVERYTHING] * 450) as sleepers:
        feed.append(made(2, "a"))
        await asyncio.wait(sleepers, return_when=asyncio.FIRST_COMPLETED)
        assert not all(sleeper.done() for sleeper in sleepers)
        feed.append(made(3, "a"))
        assert await asyncio.gather(*sleepers) == [mark(1)] * 450


async def test_a_timer_returns_the_version_up_to_which_nothing_was_missed() -> None:
    """P11: a version that comes after the timer fired, before the subscriber runs, is not skipped."""
    feed = new_feed()
    feed.set_head("c", None, mark(1))
    subscriber = subscribe(feed, KeyFilter(keys=("x",)))
    feed.append(made(2, "a"))
    position = await subscriber.sleep(asyncio.get_running_loop().time())
    feed.append(made(3, "x"))
    assert position == mark(2)


async def test_a_gap_wakes_all_at_their_positions() -> None:
    """Watches read another server's versions that the feed did not get from the store."""
    feed = new_feed()
    feed.set_head("c", None, mark(4))
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",)), KeyFilter(prefixes=("p",))) as sleepers:
        feed.append(made(7, "a"))
        assert await asyncio.gather(*sleepers) == [mark(4)] * 3
        assert feed.last("c") == mark(7)
    async with asleep(feed, EVERYTHING) as (sleeper,):
        feed.skip_to("c", mark(9))
        assert await sleeper == mark(7)
        feed.skip_to("c", mark(8))
        assert feed.last("c") == mark(9)


async def test_a_reset_wakes_all_to_check_their_cursors() -> None:
    feed = new_feed()
    feed.set_head("c", None, mark(4))
    subscriber = subscribe(feed)
    epoch = subscriber.epoch
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",))) as sleepers:
        feed.reset("c")
        assert await asyncio.gather(*sleepers) == [HeadMark(0, b"")] * 2
        assert subscriber.epoch != epoch
        assert (subscriber.ring, feed.last("c")) == (None, None)


@pytest.mark.parametrize("how", ["under its number", "before it"])
async def test_another_epoch_is_noticed_by_a_hash(how: str) -> None:
    """P10: another hash under a known number, or under the one before a new version, resets the config."""
    feed = new_feed()
    feed.set_head("c", None, mark(4))
    feed.append(made(5, "a"))
    subscriber = subscribe(feed)
    epoch = subscriber.epoch
    async with asleep(feed, EVERYTHING) as (sleeper,):
        feed.check_head("c", mark(5))
        assert subscriber.epoch == epoch
        if how == "before it":
            feed.check_head("c", HeadMark(5, b"?"))
        else:
            other = Version("c", 5, b"?", "ada", False, "", 5, 1, 1, 1)
            feed.append(EncodedChanges.of(VersionChanges(other, ()), CODEC))
        assert await sleeper == HeadMark(0, b"")
    assert subscriber.epoch != epoch
    assert feed.last("c") in (None, HeadMark(5, b"?"))


async def test_versions_are_added_once_and_in_order() -> None:
    feed = new_feed()
    subscriber = subscribe(feed)
    feed.append(made(3, "a"))
    feed.append(made(4, "a"))
    feed.append(made(3, "a"))
    assert numbers(subscriber, 2) == [3, 4]
    assert numbers(subscriber, 3) == [4]
    assert numbers(subscriber, 4) == numbers(subscriber, 9) == []
    assert subscriber.ring is not None
    assert not subscriber.ring.reaches(1)
    assert (subscriber.ring.hash_of(2), subscriber.ring.hash_of(3)) == (b"", mark(3).hash)


async def test_older_versions_are_prepended_if_they_join() -> None:
    feed = new_feed()
    subscriber = subscribe(feed)
    feed.append(made(6, "a"))
    assert subscriber.ring is not None
    feed.prepend("c", subscriber.ring, mark(2), [made(3, "a"), made(4, "a")])  # 5 is missing
    assert numbers(subscriber, 5) == [6]
    feed.prepend("c", subscriber.ring, mark(3), [made(4, "a"), made(5, "b"), made(6, "a")])
    assert numbers(subscriber, 3) == [4, 5, 6]
    assert subscriber.ring.hash_of(3) == mark(3).hash
    feed.prepend("c", subscriber.ring, mark(1), [made(2, "a"), made(3, "a", size=20_000)])  # too large to be kept
    other_epoch = EncodedChanges.of(VersionChanges(Version("c", 3, b"?", "", False, "", 3, 1, 1, 1), ()), CODEC)
    feed.prepend("c", subscriber.ring, mark(2), [other_epoch])
    assert numbers(subscriber, 3) == [4, 5, 6]
    assert not subscriber.ring.reaches(2)


async def test_the_rings_are_bounded_and_quiet_configs_go_first() -> None:
    """P15: the oldest version of the config that has been quiet for longest is dropped."""
    feed = new_feed(limit_bytes=40_000)
    quiet, busy = subscribe(feed, config="quiet"), subscribe(feed, config="busy")
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
    feed.set_head("c", None, mark(1))
    subscriber = subscribe(feed)
    async with asleep(feed, KeyFilter(keys=("a",))) as (sleeper,):
        feed.append(made(2, "a", size=20_000))
        assert await sleeper == mark(1)
    feed.append(made(3, "a"))
    assert subscriber.ring is not None
    assert not subscriber.ring.reaches(1)
    assert numbers(subscriber, 2) == [3]


async def test_an_unwatched_config_is_forgotten_when_its_ring_is_empty() -> None:
    feed = new_feed(limit_bytes=10_000)
    for number in range(1, 50):
        feed.append(made(1, "a", config=f"c{number}"))
    with feed.subscribe("c1", EVERYTHING):
        assert set(feed.watched()) == {"c1"}
    assert not feed.watched()
    assert feed.last("c1") is None
    assert feed.last("c49") == mark(1)


@pytest.mark.parametrize("wanted", [EVERYTHING, KeyFilter(keys=("a", "b", "x")), KeyFilter(prefixes=("",))])
async def test_a_message_is_made_once_for_equal_filters(wanted: KeyFilter) -> None:
    feed = new_feed()
    feed.append(made(1, "a", "b"))
    messages = [
        message_of(recent, one) for one in (subscribe(feed), subscribe(feed, wanted)) for recent in _recents(one)
    ]
    assert messages[0] is messages[1]
    (one_key,) = [message_of(recent, subscribe(feed, KeyFilter(keys=("b",)))) for recent in _recents(subscribe(feed))]
    assert b"" != one_key != messages[0]
    assert [message_of(recent, subscribe(feed, KeyFilter(keys=("z",)))) for recent in _recents(subscribe(feed))] == [
        b""
    ]


def _recents(subscriber: Subscriber) -> list[Any]:
    assert subscriber.ring is not None
    return list(subscriber.ring.after(0, 10))


async def test_all_wake_when_the_server_stops() -> None:
    feed = new_feed()
    feed.set_head("c", None, mark(4))
    async with asleep(feed, EVERYTHING, KeyFilter(keys=("x",))) as sleepers:
        feed.wake_all()
        assert await asyncio.gather(*sleepers) == [mark(4)] * 2


async def test_a_new_ring_takes_no_versions_that_were_read_before_a_reset() -> None:
    """P4, P10: lost versions in front of new ones would look like one history."""
    feed = new_feed()
    subscriber = subscribe(feed)
    feed.append(made(6, "a"))
    before_the_reset = subscriber.ring
    assert before_the_reset is not None
    feed.reset("c")
    feed.append(made(6, "a"))
    feed.prepend("c", before_the_reset, mark(3), [made(4, "a"), made(5, "a")])
    assert subscriber.ring is not None
    assert not subscriber.ring.reaches(4)


@pytest.mark.parametrize(
    ("head", "is_reset"), [(mark(3), True), (HeadMark(5, b"?"), True), (mark(5), False), (mark(7), False)]
)
async def test_the_store_is_right_if_the_feed_contradicts_it(head: HeadMark, is_reset: bool) -> None:
    """P10: a head that has gone back or has another hash resets the config; an older answer does not."""
    feed = new_feed()
    feed.set_head("c", None, mark(5))
    subscriber = subscribe(feed)
    epoch = subscriber.epoch
    feed.set_head("c", mark(5), head)
    assert (subscriber.epoch != epoch, feed.last("c")) == (is_reset, head)
    feed.append(made(8, "a"))
    epoch = subscriber.epoch
    feed.set_head("c", head, head)
    assert (subscriber.epoch, feed.last("c")) == (epoch, mark(8))


async def test_an_unwatched_config_of_a_shared_database_is_not_kept() -> None:
    """It is not compared with the store, and might be of another epoch when the next subscriber comes."""
    feed = Feed(limit_bytes=1_000_000, message_limit_bytes=10_000, is_shared=True)
    feed.append(made(1, "a"))
    assert feed.last("c") is None
    with feed.subscribe("c", EVERYTHING) as subscriber:
        feed.append(made(2, "a"))
        assert numbers(subscriber, 1) == [2]
        epoch = subscriber.epoch
    with feed.subscribe("c", EVERYTHING) as subscriber:
        assert subscriber.ring is None
        assert subscriber.epoch != epoch


async def test_too_many_prefix_lookups_wake_all_instead() -> None:
    """P15: a large version does not hold up the event loop for seconds."""
    feed = new_feed()
    feed.set_head("c", None, mark(1))
    prefixes = KeyFilter(prefixes=tuple("z" * length for length in range(1, 501)))
    async with asleep(feed, prefixes, KeyFilter(keys=("other",))) as (woken, other):
        feed.append(made(2, *(f"{number:04}" for number in range(1_000))))
        await settle()
        assert (woken.done(), other.done()) == (True, False)
