"""What other servers commit, brought to a feed: whatever becomes of the notices, and whenever the store answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from lamina_server.cache import catch_up
from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.records import HeadMark, Version, VersionChanges
from lamina_server.feed import news
from lamina_server.feed.news import News
from lamina_server.store.contract import Reading, Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from lamina_server.store.readers import Readers
from lamina_server.store.sql.database import not_answered
from lamina_server.wire.codec import WireCodec
from tests.conformance.commits import CONFIG, commit
from tests.server.sessions import LISTENING, TELLING, Operator
from tests.server.shared_store import Log, Quiet, Shared, mark_of
from tests.support.postgres import Postgres

NEVER_SECONDS = 1_000.0
OFTEN_SECONDS = 0.02


def encoded(reading: Reading, version: Version) -> EncodedChanges:
    changes = [c for _, c in reading.changes(version.config, after=(version.number, ""), through=version.number)]
    return EncodedChanges.of(VersionChanges(version, tuple(changes)), WireCodec())


@asynccontextmanager
async def following(
    store: Store, log: Log | None = None, *, poll_interval_seconds: float = NEVER_SECONDS
) -> AsyncIterator[tuple[News, Log]]:
    """Bring a feed the news of a store, from the head that it has now."""
    if log is None:
        log = Log(CONFIG)
        with store.read() as reading:
            log.marks |= reading.head_marks([CONFIG])
    readers = Readers(store, threads=1)
    news = News(store, readers, log, WireCodec(), poll_interval_seconds=poll_interval_seconds)
    news.start()
    await asyncio.sleep(0)  # it begins to hear
    try:
        yield news, log
        assert all(not task.done() for task in news._tasks)
    finally:
        await news.stop()
        await readers.close()


async def asked(store: Shared) -> None:
    """Wait until a question has read what it is going to answer."""
    assert await asyncio.to_thread(store.asked.wait, 30)


@pytest.fixture
async def store() -> Shared:
    return Shared()


class TestHearing:
    async def test_a_notice_brings_what_is_missing_in_order(self, store: Shared) -> None:
        commit(store, {"a": 1})
        async with following(store) as (_, log):
            commit(store, {"a": 2, "b": 2})
            commit(store, {})
            head = commit(store, {"c": 4})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert log.numbers() == [2, 3, 4]
        with store.read() as reading:
            assert log.made[CONFIG] == [
                encoded(reading, v) for _, v in sorted(reading.versions(CONFIG, [2, 3, 4]).items())
            ]

    async def test_the_first_version_of_a_config_that_was_watched_before(self, store: Shared) -> None:
        async with following(store) as (_, log):
            head = commit(store, {"a": 1})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert log.numbers() == [1]

    async def test_without_any_notice_the_poll_finds_it(self, store: Shared) -> None:
        """P14: a lost notice costs the time until the next poll, and no version."""
        async with following(store, poll_interval_seconds=OFTEN_SECONDS) as (_, log):
            for number in range(5):
                await log.until_at(commit(store, {"a": number}))
        assert log.numbers() == [1, 2, 3, 4, 5]

    async def test_listening_again_asks_for_all(self, store: Shared) -> None:
        """What was told while nobody listened was missed."""
        async with following(store, Log("a", "b")) as (_, log):
            heads = [commit(store, {"x": 1}, config=config) for config in ("a", "b")]
            store.quiet.listen()
            await log.until_at(*heads)

    @pytest.mark.parametrize("seed", range(5))
    async def test_lost_late_doubled_and_reordered_notices_change_nothing(self, store: Shared, seed: int) -> None:
        """P9: each version once, in order, of each config."""
        choose = random.Random(seed)
        configs = [f"c{number}" for number in range(4)]
        heads: dict[str, Version] = {}
        late: list[str] = []
        async with following(store, Log(*configs), poll_interval_seconds=OFTEN_SECONDS) as (_, log):
            for number in range(100):
                config = choose.choice(configs)
                heads[config] = commit(store, {"x": number}, config=config)
                late += [config, "unwatched", "unknown"] * choose.choice([0, 0, 1, 3])
                choose.shuffle(late)
                while late and choose.random() < 0.7:
                    store.quiet.notice(late.pop())
                if choose.random() < 0.5:
                    await asyncio.to_thread(lambda: None)
            await log.until_at(*heads.values())
        assert {config: log.numbers(config) for config in heads} == {
            config: list(range(1, head.number + 1)) for config, head in heads.items()
        }
        assert (log.skipped, log.forked) == ([], [])

    async def test_one_question_at_a_time_and_what_comes_meanwhile_waits_for_the_next(self, store: Shared) -> None:
        async with following(store, Log("a", "b", "c")) as (_, log):
            store.quiet.notice("a")
            with store.held_up():
                commit(store, {"x": 1}, config="a")
                store.quiet.notice("a")
                await asked(store)
                heads = [commit(store, {"x": 2}, config=config) for config in ("a", "b", "c")]
                for config in ("c", "a", "b", "a", "unwatched"):
                    store.quiet.notice(config)
                questions = store.questions
            await log.until_at(*heads)
        assert store.questions == questions + 1

    async def test_nobody_asks_for_what_nobody_watches(self, store: Shared) -> None:
        async with following(store) as (_, log):
            store.quiet.listen()
            store.quiet.notice("unwatched")
            with store.held_up():
                await asked(store)
            store.quiet.notice("unwatched")
            head = commit(store, {"a": 1})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert store.asked_for == {CONFIG}

    async def test_more_than_one_question_holds(self, store: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(news, "ASKED_AT_ONCE", 3)
        configs = [f"c{number}" for number in range(10)]
        async with following(store, Log(*configs)) as (_, log):
            heads = [commit(store, {"x": 1}, config=config) for config in configs]
            store.quiet.listen()
            await log.until_at(*heads)


class TestMuch:
    async def test_too_many_versions_are_left_to_the_watchers(
        self, store: Shared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """P15: a server that was cut off for long does not read everything at once."""
        monkeypatch.setattr(catch_up, "LIMIT_VERSIONS", 3)
        async with following(store) as (_, log):
            for number in range(4):
                commit(store, {"x": number})
            store.quiet.notice(CONFIG)
            await log.until(lambda log: log.skipped == [(CONFIG, 4)])
            head = commit(store, {"x": 5})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert log.numbers() == [5]

    async def test_many_bytes_are_read_in_more_than_one_question(
        self, store: Shared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(catch_up, "LIMIT_BYTES", 1_000)
        async with following(store, Log("a", "b", "c")) as (_, log):
            heads = [commit(store, {"x": "." * 600}, config=config) for config in ("a", "b", "c")]
            store.questions = 0
            store.quiet.listen()
            await log.until_at(*heads)
        assert store.questions == 2  # the second of them goes beyond the limit, and the third waits
        assert log.skipped == []

    @pytest.mark.parametrize("what", ["value", "header"])
    async def test_what_is_damaged_is_left_to_those_who_want_it(self, store: Shared, what: str) -> None:
        """P5: and keeps nobody else's news."""
        store.damaged["a"] = what
        async with following(store, Log("a", "b")) as (_, log):
            heads = [commit(store, {"x": 1}, config=config) for config in ("a", "b")]
            store.quiet.listen()
            await log.until_at(*heads)
        assert (log.skipped, log.numbers("b")) == ([("a", 1)], [1])


class TestOwnCommits:
    async def test_an_answer_that_is_older_says_nothing(self, store: Shared) -> None:
        commit(store, {"x": 1})
        async with following(store) as (_, log):
            commit(store, {"x": 2})
            with store.held_up():
                store.quiet.notice(CONFIG)
                await asked(store)
                own = commit(store, {"x": 3})
                log.marks[CONFIG] = mark_of(own)
            head = commit(store, {"x": 4})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert log.numbers() == [4]
        assert (log.skipped, log.forked) == ([], [])

    async def test_an_answer_to_an_older_question_is_asked_for_again(self, store: Shared) -> None:
        commit(store, {"x": 1})
        async with following(store) as (_, log):
            own = commit(store, {"x": 2})
            head = commit(store, {"x": 3})
            with store.held_up():
                store.quiet.notice(CONFIG)
                await asked(store)
                log.marks[CONFIG] = mark_of(own)
            await log.until_at(head)
        assert log.numbers() == [3]

    async def test_a_watch_that_begins_meanwhile(self, store: Shared) -> None:
        own = commit(store, {"x": 1})
        log = Log(CONFIG)
        del log.marks[CONFIG]
        async with following(store, log):
            head = commit(store, {"x": 2})
            with store.held_up():
                store.quiet.notice(CONFIG)
                await asked(store)
                log.marks[CONFIG] = mark_of(own)
            await log.until_at(head)
        assert log.numbers() == [2]


class TestForks:
    """P10, P13: a database that was restored, or has lost versions, is never passed off as the one before."""

    @pytest.mark.parametrize("versions", [0, 1, 2, 3, 4, 9])
    async def test_another_past(self, store: Shared, versions: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(catch_up, "LIMIT_VERSIONS", 3)
        for number in range(3):
            commit(store, {"x": number})
        other = MemoryStore()
        for number in range(versions):
            commit(other, {"x": f"other {number}"})
        async with following(store, poll_interval_seconds=OFTEN_SECONDS) as (_, log):
            store.become(other)
            await log.until(lambda log: log.forked == [CONFIG])
            # The watchers find out where they stand, and it goes on from there.
            with store.read() as reading:
                log.marks[CONFIG] = reading.head_marks([CONFIG]).get(CONFIG, HeadMark(0, b""))
            await log.until_at(commit(store, {"x": "on"}))
        assert log.numbers() == [versions + 1]
        assert log.skipped == []
        assert log.forked == [CONFIG]

    async def test_another_past_with_a_damaged_value(self, store: Shared) -> None:
        commit(store, {"x": 1})
        other = MemoryStore()
        for number in range(3):
            commit(other, {"x": f"other {number}"})
        store.damaged[CONFIG] = "value"
        async with following(store) as (_, log):
            store.become(other)
            store.quiet.notice(CONFIG)
            await log.until(lambda log: log.forked == [CONFIG])
        assert log.skipped == []

    async def test_it_is_none_if_this_server_has_gone_on_meanwhile(self, store: Shared) -> None:
        """The answer says 1, the feed has got 2 by now: nothing has gone back."""
        commit(store, {"x": 1})
        async with following(store) as (_, log):
            with store.held_up():
                store.quiet.notice(CONFIG)
                await asked(store)
                log.marks[CONFIG] = mark_of(commit(store, {"x": 2}))
            head = commit(store, {"x": 3})
            store.quiet.notice(CONFIG)
            await log.until_at(head)
        assert log.forked == []


async def test_a_database_that_is_away_is_told_of_once_and_asked_again(store: Shared) -> None:
    with capture_logs() as lines:
        async with following(store, poll_interval_seconds=OFTEN_SECONDS) as (_, log):
            store.error = not_answered()
            head = commit(store, {"x": 1})
            questions = store.questions
            while store.questions < questions + 3:
                store.quiet.notice(CONFIG)
                await asyncio.to_thread(lambda: None)
            assert log.numbers() == []
            store.error = None
            await log.until_at(head)
    assert [line["event"] for line in lines] == ["news not read", "news read again"]


class TestTelling:
    async def test_what_is_committed_while_one_notice_is_sent_goes_with_the_next(self, store: Shared) -> None:
        async with following(store) as (server, _):
            store.quiet.is_let_through.clear()
            server.committed("a")
            await asyncio.sleep(0)
            for config in ("b", "c", "b", "a"):
                server.committed(config)
            await asyncio.sleep(0)
            assert store.quiet.told == [["a"]]
            store.quiet.is_let_through.set()
        assert store.quiet.told == [["a"], ["b", "c", "a"]]

    async def test_the_last_ones_are_told_before_the_end(self, store: Shared) -> None:
        async with following(store) as (server, _):
            server.committed("a")
        assert store.quiet.told == [["a"]]
        assert store.quiet.is_closed
        server.committed("b")
        assert server._telling is None

    async def test_the_end_does_not_wait_for_ever(self, store: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(news, "LAST_NOTICES_SECONDS", 0.01)
        store.quiet.is_let_through.clear()
        async with following(store) as (server, _):
            server.committed("a")
        assert store.quiet.is_closed


async def test_a_store_of_ones_own_is_never_asked(store: Shared) -> None:
    store.is_shared = False
    async with following(store, Log(CONFIG), poll_interval_seconds=0.001) as (server, _):
        server.committed(CONFIG)
        assert server._tasks == []
    assert (store.questions, store.quiet.told) == (0, [])


class TestOnPostgresql:
    """Two servers' stores and their real notices."""

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

    async def test_a_commit_is_heard_of_through_kills(self, stores: tuple[Store, Store], operator: Operator) -> None:
        """F18: by its notice, for there is no poll; after a kill by asking for all that was missed."""
        one, other = stores
        async with following(one) as (server, _), following(other) as (_, log):
            while len(operator.pids(LISTENING)) < 2:
                await asyncio.to_thread(lambda: None)
            for number in range(3):
                head = await asyncio.to_thread(commit, one, {"x": number})
                server.committed(CONFIG)
                await log.until_at(head)
            operator.kill(TELLING)
            untold = await asyncio.to_thread(commit, one, {"x": 3})
            operator.kill(LISTENING)
            await log.until_at(untold)
            told = await asyncio.to_thread(commit, one, {"x": 4})
            server.committed(CONFIG)
            await log.until_at(told)
        assert log.numbers() == [1, 2, 3, 4, 5]

    async def test_with_notices_cut_off_the_poll_finds_it(
        self, stores: tuple[Store, Store], operator: Operator
    ) -> None:
        """F19, P14: nothing depends on a notice."""
        one, other = stores

        class Deaf:
            is_shared = True
            read = other.read
            notices = Quiet

        store: Any = Deaf()
        async with following(store, poll_interval_seconds=0.1) as (_, log):
            for number in range(3):
                await log.until_at(await asyncio.to_thread(commit, one, {"x": number}))
            assert operator.pids(LISTENING) == []
        assert log.numbers() == [1, 2, 3]
