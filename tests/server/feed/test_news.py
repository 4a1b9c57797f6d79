"""The commits of other servers reach a feed, even if notices are lost, and whenever the store answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.limits import CacheLimits
from lamina_server.domain.records import HeadMark, Version, VersionChanges
from lamina_server.feed.news import News
from lamina_server.store.contract import Reading, Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from lamina_server.store.sql.database import not_answered
from lamina_server.wire.codec import WireCodec
from tests.conformance.commits import CONFIG, commit
from tests.server.sessions import LISTENING, TELLING, Operator
from tests.server.shared_store import FakeFeed, FakeNotices, SharedStore, mark_of
from tests.support.postgres import Postgres

NEVER_SECONDS = 1_000.0
OFTEN_SECONDS = 0.02


def encoded(reading: Reading, version: Version) -> EncodedChanges:
    changes = [c for _, c in reading.changes(version.config, after=(version.number, ""), through=version.number)]
    return EncodedChanges.of(VersionChanges(version, tuple(changes)), WireCodec())


@asynccontextmanager
async def following(
    store: Store, feed: FakeFeed | None = None, *, poll_interval_seconds: float = NEVER_SECONDS, **limits: Any
) -> AsyncIterator[tuple[News, FakeFeed]]:
    """Run a News that brings a store's new versions to a feed, from the store's present head on."""
    if feed is None:
        feed = FakeFeed(CONFIG)
        with store.read() as reading:
            feed.marks |= reading.head_marks([CONFIG])
    readers = Readers(store, threads=1, silence=Silence())
    news = News(store, readers, feed, WireCodec(), poll_interval_seconds=poll_interval_seconds, **limits)
    before = asyncio.all_tasks()
    news.start()
    tasks = asyncio.all_tasks() - before
    await asyncio.sleep(0)  # it begins to listen
    try:
        yield news, feed
        assert not any(task.done() for task in tasks)
    finally:
        await news.stop()
        await readers.close()


async def asked(store: SharedStore) -> None:
    """Wait until a question has read its answer."""
    assert await asyncio.to_thread(store.asked.wait, 30)


@pytest.fixture
async def store() -> SharedStore:
    return SharedStore()


class TestQuestions:
    async def test_a_notice_brings_what_is_missing_in_order(self, store: SharedStore) -> None:
        commit(store, {"a": 1})
        async with following(store) as (_, feed):
            commit(store, {"a": 2, "b": 2})
            commit(store, {})
            head = commit(store, {"c": 4})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert feed.numbers() == [2, 3, 4]
        with store.read() as reading:
            assert feed.made[CONFIG] == [
                encoded(reading, v) for _, v in sorted(reading.versions(CONFIG, [2, 3, 4]).items())
            ]

    async def test_the_first_version_of_a_config_that_was_watched_before(self, store: SharedStore) -> None:
        async with following(store) as (_, feed):
            head = commit(store, {"a": 1})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert feed.numbers() == [1]

    async def test_without_a_notice_the_poll_finds_it(self, store: SharedStore) -> None:
        """P14: a lost notice costs the time until the next poll, and no version."""
        async with following(store, poll_interval_seconds=OFTEN_SECONDS) as (_, feed):
            for number in range(5):
                await feed.until_at(commit(store, {"a": number}))
        assert feed.numbers() == [1, 2, 3, 4, 5]

    async def test_listening_again_asks_for_all_configs(self, store: SharedStore) -> None:
        """Notices that came while it did not listen were missed."""
        async with following(store, FakeFeed("a", "b")) as (_, feed):
            heads = [commit(store, {"x": 1}, config=config) for config in ("a", "b")]
            store.fake_notices.listen()
            await feed.until_at(*heads)

    @pytest.mark.parametrize("seed", range(5))
    async def test_lost_late_doubled_and_reordered_notices_change_nothing(self, store: SharedStore, seed: int) -> None:
        """P9: each version once, in order, of each config."""
        choose = random.Random(seed)
        configs = [f"c{number}" for number in range(4)]
        heads: dict[str, Version] = {}
        late: list[str] = []
        async with following(store, FakeFeed(*configs), poll_interval_seconds=OFTEN_SECONDS) as (_, feed):
            for number in range(100):
                config = choose.choice(configs)
                heads[config] = commit(store, {"x": number}, config=config)
                late += [config, "unwatched", "unknown"] * choose.choice([0, 0, 1, 3])
                choose.shuffle(late)
                while late and choose.random() < 0.7:
                    store.fake_notices.notice(late.pop())
                if choose.random() < 0.5:
                    await asyncio.to_thread(lambda: None)
            await feed.until_at(*heads.values())
        assert {config: feed.numbers(config) for config in heads} == {
            config: list(range(1, head.number + 1)) for config, head in heads.items()
        }
        assert (feed.skipped, feed.resets) == ([], [])

    async def test_notices_during_a_question_wait_for_the_next_one(self, store: SharedStore) -> None:
        async with following(store, FakeFeed("a", "b", "c")) as (_, feed):
            store.fake_notices.notice("a")
            with store.held_up():
                commit(store, {"x": 1}, config="a")
                store.fake_notices.notice("a")
                await asked(store)
                heads = [commit(store, {"x": 2}, config=config) for config in ("a", "b", "c")]
                for config in ("c", "a", "b", "a", "unwatched"):
                    store.fake_notices.notice(config)
                questions = store.questions
            await feed.until_at(*heads)
        assert store.questions == questions + 1

    async def test_unwatched_configs_are_not_asked_for(self, store: SharedStore) -> None:
        async with following(store) as (_, feed):
            store.fake_notices.listen()
            store.fake_notices.notice("unwatched")
            with store.held_up():
                await asked(store)
            store.fake_notices.notice("unwatched")
            head = commit(store, {"a": 1})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert store.asked_for == {CONFIG}

    async def test_many_configs_take_more_than_one_question(self, store: SharedStore) -> None:
        configs = [f"c{number}" for number in range(10)]
        async with following(store, FakeFeed(*configs), question_limit_configs=3) as (_, feed):
            heads = [commit(store, {"x": 1}, config=config) for config in configs]
            store.fake_notices.listen()
            await feed.until_at(*heads)


class TestLimits:
    async def test_too_many_versions_are_left_to_the_watches(self, store: SharedStore) -> None:
        """P15: a server that was cut off for long does not read everything at once."""
        async with following(store, limits=CacheLimits(catch_up_versions=3)) as (_, feed):
            for number in range(4):
                commit(store, {"x": number})
            store.fake_notices.notice(CONFIG)
            await feed.until(lambda feed: feed.skipped == [(CONFIG, 4)])
            head = commit(store, {"x": 5})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert feed.numbers() == [5]

    async def test_many_bytes_are_read_in_more_than_one_question(self, store: SharedStore) -> None:
        async with following(store, FakeFeed("a", "b", "c"), limits=CacheLimits(catch_up_bytes=1_000)) as (_, feed):
            heads = [commit(store, {"x": "." * 600}, config=config) for config in ("a", "b", "c")]
            store.questions = 0
            store.fake_notices.listen()
            await feed.until_at(*heads)
        assert store.questions == 2  # the second of them goes beyond the limit, and the third waits
        assert feed.skipped == []

    @pytest.mark.parametrize("what", ["value", "header"])
    async def test_damaged_rows_are_left_to_the_watches_that_want_them(self, store: SharedStore, what: str) -> None:
        """P5: news of other configs still comes."""
        store.damaged["a"] = what
        async with following(store, FakeFeed("a", "b")) as (_, feed):
            heads = [commit(store, {"x": 1}, config=config) for config in ("a", "b")]
            store.fake_notices.listen()
            await feed.until_at(*heads)
        assert (feed.skipped, feed.numbers("b")) == ([("a", 1)], [1])


class TestOwnCommits:
    async def test_an_answer_older_than_an_own_commit_is_ignored(self, store: SharedStore) -> None:
        commit(store, {"x": 1})
        async with following(store) as (_, feed):
            commit(store, {"x": 2})
            with store.held_up():
                store.fake_notices.notice(CONFIG)
                await asked(store)
                own = commit(store, {"x": 3})
                feed.marks[CONFIG] = mark_of(own)
            head = commit(store, {"x": 4})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert feed.numbers() == [4]
        assert (feed.skipped, feed.resets) == ([], [])

    async def test_an_answer_that_does_not_follow_an_own_commit_is_asked_for_again(self, store: SharedStore) -> None:
        commit(store, {"x": 1})
        async with following(store) as (_, feed):
            own = commit(store, {"x": 2})
            head = commit(store, {"x": 3})
            with store.held_up():
                store.fake_notices.notice(CONFIG)
                await asked(store)
                feed.marks[CONFIG] = mark_of(own)
            await feed.until_at(head)
        assert feed.numbers() == [3]

    async def test_a_watch_that_begins_during_a_question(self, store: SharedStore) -> None:
        own = commit(store, {"x": 1})
        feed = FakeFeed(CONFIG)
        del feed.marks[CONFIG]
        async with following(store, feed):
            head = commit(store, {"x": 2})
            with store.held_up():
                store.fake_notices.notice(CONFIG)
                await asked(store)
                feed.marks[CONFIG] = mark_of(own)
            await feed.until_at(head)
        assert feed.numbers() == [2]


class TestEpochs:
    """P10, P13: a database that was restored, or has lost versions, is never mixed with the one before."""

    @pytest.mark.parametrize("versions", [0, 1, 2, 3, 4, 9])
    async def test_another_epoch_resets_the_config(self, store: SharedStore, versions: int) -> None:
        for number in range(3):
            commit(store, {"x": number})
        other = MemoryStore()
        for number in range(versions):
            commit(other, {"x": f"other {number}"})
        limits = CacheLimits(catch_up_versions=3)
        async with following(store, poll_interval_seconds=OFTEN_SECONDS, limits=limits) as (_, feed):
            store.replace_content(other)
            await feed.until(lambda feed: feed.resets == [CONFIG])
            # The watches find the new head, and News continues from there.
            with store.read() as reading:
                feed.marks[CONFIG] = reading.head_marks([CONFIG]).get(CONFIG, HeadMark(0, b""))
            await feed.until_at(commit(store, {"x": "on"}))
        assert feed.numbers() == [versions + 1]
        assert feed.skipped == []
        assert feed.resets == [CONFIG]

    async def test_another_epoch_with_a_damaged_value(self, store: SharedStore) -> None:
        commit(store, {"x": 1})
        other = MemoryStore()
        for number in range(3):
            commit(other, {"x": f"other {number}"})
        store.damaged[CONFIG] = "value"
        async with following(store) as (_, feed):
            store.replace_content(other)
            store.fake_notices.notice(CONFIG)
            await feed.until(lambda feed: feed.resets == [CONFIG])
        assert feed.skipped == []

    async def test_an_own_commit_during_a_question_is_no_other_epoch(self, store: SharedStore) -> None:
        """The answer says 1, and the feed is at 2 by now: nothing has gone back."""
        commit(store, {"x": 1})
        async with following(store) as (_, feed):
            with store.held_up():
                store.fake_notices.notice(CONFIG)
                await asked(store)
                feed.marks[CONFIG] = mark_of(commit(store, {"x": 2}))
            head = commit(store, {"x": 3})
            store.fake_notices.notice(CONFIG)
            await feed.until_at(head)
        assert feed.resets == []


async def test_an_outage_of_the_database_is_logged_once_and_it_is_asked_again(store: SharedStore) -> None:
    with capture_logs() as lines:
        async with following(store, poll_interval_seconds=OFTEN_SECONDS) as (_, feed):
            store.error = not_answered()
            head = commit(store, {"x": 1})
            questions = store.questions
            while store.questions < questions + 3:
                store.fake_notices.notice(CONFIG)
                await asyncio.to_thread(lambda: None)
            assert feed.numbers() == []
            store.error = None
            await feed.until_at(head)
    assert [line["event"] for line in lines] == ["news not read", "news read again"]


class TestNotices:
    async def test_commits_while_a_notice_is_sent_share_the_next_one(self, store: SharedStore) -> None:
        async with following(store) as (server, _):
            store.fake_notices.may_tell.clear()
            server.committed("a")
            await asyncio.sleep(0)
            for config in ("b", "c", "b", "a"):
                server.committed(config)
            await asyncio.sleep(0)
            assert store.fake_notices.told == [["a"]]
            store.fake_notices.may_tell.set()
        assert store.fake_notices.told == [["a"], ["b", "c", "a"]]

    async def test_stop_sends_the_last_notices(self, store: SharedStore) -> None:
        async with following(store) as (server, _):
            server.committed("a")
        assert store.fake_notices.is_closed
        server.committed("b")
        await asyncio.sleep(0)
        assert store.fake_notices.told == [["a"]]

    async def test_stop_does_not_wait_for_ever(self, store: SharedStore) -> None:
        store.fake_notices.may_tell.clear()
        async with following(store, last_notices_seconds=0.01) as (server, _):
            server.committed("a")
        assert store.fake_notices.is_closed


async def test_a_store_that_is_not_shared_is_never_asked(store: SharedStore) -> None:
    store.is_shared = False
    async with following(store, FakeFeed(CONFIG), poll_interval_seconds=0.001) as (server, _):
        server.committed(CONFIG)
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert (store.questions, store.fake_notices.told) == (0, [])


class TestOnPostgresql:
    """Two servers' stores with real notices."""

    @pytest.fixture
    def postgres_url(self, postgres: Postgres, postgres_template: str) -> Iterator[str]:
        url = postgres.new_database(template_url=postgres_template)
        yield url
        postgres.drop_database(url)

    @pytest.fixture
    def stores(self, postgres_url: str) -> Iterator[tuple[Store, Store]]:
        one, other = open_store(postgres_url), open_store(postgres_url)
        yield one, other
        one.close()
        other.close()

    async def test_commits_arrive_although_connections_die(
        self, stores: tuple[Store, Store], operator: Operator
    ) -> None:
        """F18: by notices, because there is no poll; after a kill by asking for all configs."""
        one, other = stores
        async with following(one) as (server, _), following(other) as (_, feed):
            while len(operator.pids(LISTENING)) < 2:
                await asyncio.to_thread(lambda: None)
            for number in range(3):
                head = await asyncio.to_thread(commit, one, {"x": number})
                server.committed(CONFIG)
                await feed.until_at(head)
            operator.kill(TELLING)
            untold = await asyncio.to_thread(commit, one, {"x": 3})
            operator.kill(LISTENING)
            await feed.until_at(untold)
            head = await asyncio.to_thread(commit, one, {"x": 4})
            server.committed(CONFIG)
            await feed.until_at(head)
        assert feed.numbers() == [1, 2, 3, 4, 5]

    async def test_without_any_notices_the_poll_finds_commits(
        self, stores: tuple[Store, Store], operator: Operator
    ) -> None:
        """F19, P14: nothing depends on a notice."""
        one, other = stores

        class Deaf:
            is_shared = True
            read = other.read
            notices = FakeNotices

        store: Any = Deaf()
        async with following(store, poll_interval_seconds=0.1) as (_, feed):
            for number in range(3):
                await feed.until_at(await asyncio.to_thread(commit, one, {"x": number}))
            assert operator.pids(LISTENING) == []
        assert feed.numbers() == [1, 2, 3]
