"""The access that holds follows `_lamina/access`, whatever happens to the database, and never goes back by itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from lamina_server.access.follower import AccessFollower
from lamina_server.access.live import LiveAccess
from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.domain.planning import Author, MapLimits, plan
from lamina_server.domain.records import Change, HeadMark, VersionChanges
from lamina_server.domain.values import Value
from lamina_server.feed.feed import Feed
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from lamina_server.wire.codec import WireCodec
from tests.server.shared_store import SharedStore

SHA256 = "ab" * 32


class Place:
    """A database that other servers write to, and the follower of a server whose feed hears of it when a test says."""

    def __init__(self) -> None:
        self.store = SharedStore()
        self.feed = Feed(limit_bytes=1_000_000, message_limit_bytes=1_000_000, is_shared=True)
        self.readers = Readers(self.store, threads=1, silence=Silence())
        self.access = LiveAccess(is_open=False)
        self.swapped = asyncio.Event()
        self.access.call_on_swap(self.swapped.set)
        self.follower = AccessFollower(self.access, self.feed, self.readers, WireCodec())

    def commit(self, name: str, value: Value | None = None) -> EncodedChanges:
        """Write a version that sets a token with a name, and return it as the feed gets it."""
        item = Value.of_json(json.dumps({"name": name, "sha256": SHA256})) if value is None else value
        with self.store.write() as writing:
            head = writing.head(ACCESS_CONFIG)
            before = {e.key: e.value for e in writing.entries(ACCESS_CONFIG, head.number)} if head else {}
            change = Change("tokens/aaaa", item)
            limits = MapLimits(keys=100, size_bytes=100_000)
            now_us, author = 1_000 * (head.number if head else 0), Author("ada")
            planned = plan(
                [change],
                config=ACCESS_CONFIG,
                head=head,
                values=before,
                author=author,
                message=name,
                now_us=now_us,
                limits=limits,
            )
            writing.insert(planned)
        return EncodedChanges.of(VersionChanges(planned.version, (change,)), WireCodec())

    def tell(self, made: EncodedChanges) -> None:
        """Let the feed hear that there is a version, without its changes."""
        self.feed.skip_to(ACCESS_CONFIG, HeadMark(made.version.number, made.version.hash))

    async def until_swapped(self) -> tuple[int, str]:
        await asyncio.wait_for(self.swapped.wait(), 10)
        self.swapped.clear()
        return self.held

    @property
    def held(self) -> tuple[int, str]:
        return self.access.current.version, "".join(token.name for token in self.access.current.tokens.values())


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.follower.stop()
    await place.readers.close()


class Logs:
    """The lines of the log, which can be waited for."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self._came = asyncio.Event()

    def note(self, _: Any, __: str, line: Any) -> Any:
        self._came.set()
        return line

    async def until(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while not (found := [line for line in self.lines if line["event"] == event]):
                self._came.clear()
                await self._came.wait()
        return dict(found[0])


@pytest.fixture
async def logs() -> AsyncIterator[Logs]:
    logs = Logs()
    with capture_logs([logs.note]) as logs.lines:
        yield logs


async def test_the_access_is_there_when_the_start_has_ended(place: Place) -> None:
    place.commit("one")
    await place.follower.start()
    assert place.held == (1, "one")


async def test_a_version_in_the_feed_needs_no_database(place: Place) -> None:
    place.commit("one")
    await place.follower.start()
    place.swapped.clear()
    questions = place.store.questions
    place.feed.append(place.commit("two"))
    assert await place.until_swapped() == (2, "two")
    place.feed.append(place.commit("three"))
    place.feed.append(place.commit("four"))
    assert await place.until_swapped() == (4, "four")
    assert place.store.questions == questions


async def test_a_version_that_is_not_in_the_feed_is_read(place: Place) -> None:
    await place.follower.start()
    assert place.held == (0, "")
    place.commit("one")
    place.tell(place.commit("two"))
    assert await place.until_swapped() == (2, "two")


async def test_a_map_that_is_no_access_is_not_followed(place: Place, logs: Logs) -> None:
    place.commit("one")
    await place.follower.start()
    place.swapped.clear()
    place.feed.append(place.commit("two", Value.of_string("s3cret-canary")))
    line = await logs.until("_lamina/access not followed")
    assert place.held == (1, "one")
    assert (line["log_level"], line["version"], line["access"]) == ("error", 2, "version 1 holds")
    assert line["reason"].startswith("tokens/aaaa: must be JSON")
    assert "canary" not in str(logs.lines)
    place.feed.append(place.commit("three"))
    assert await place.until_swapped() == (3, "three")


async def test_a_start_with_a_map_that_is_no_access_lets_nobody_in(place: Place, logs: Logs) -> None:
    place.commit("one", Value.of_null())
    await place.follower.start()
    assert place.held == (0, "")
    assert logs.lines[0]["access"] == "no version of it holds, so a closed server lets nobody in"
    place.feed.append(place.commit("two"))
    assert await place.until_swapped() == (2, "two")


@pytest.mark.parametrize("is_started", [True, False], ids=["later", "at the start"])
async def test_a_database_that_is_away_keeps_the_access(place: Place, logs: Logs, is_started: bool) -> None:
    first = place.commit("one")
    if is_started:
        await place.follower.start()
        assert place.held == (1, "one")
        place.swapped.clear()
    place.store.error = UnavailableError(Reason.STORE_UNAVAILABLE, "away")
    if is_started:
        first = place.commit("two")
        place.tell(first)
    else:
        await place.follower.start()
    line = await logs.until("_lamina/access not read: the access that held goes on")
    assert place.held == ((1, "one") if is_started else (0, ""))
    assert line["log_level"] == "warning"
    place.store.error = None
    assert await place.until_swapped() == (first.version.number, "two" if is_started else "one")
    await logs.until("_lamina/access read")


async def test_the_access_never_goes_back_by_itself(place: Place, logs: Logs) -> None:
    """A backup that is restored under a running server brings no revoked token back, until somebody commits on it."""
    for name in ("one", "two", "three"):
        place.commit(name)
    await place.follower.start()
    place.swapped.clear()
    place.store._content = SharedStore()._content
    place.commit("one")
    place.feed.reset(ACCESS_CONFIG)
    line = await logs.until("_lamina/access not followed")
    assert (line["version"], line["access"]) == (1, "version 3 holds")
    assert line["reason"].startswith("the database has gone back from version 3 of it")
    assert place.held == (3, "three")
    place.feed.append(place.commit("another"))
    assert await place.until_swapped() == (2, "another")


async def test_another_version_under_the_same_number_is_not_followed(place: Place, logs: Logs) -> None:
    place.commit("one")
    await place.follower.start()
    place.swapped.clear()
    place.store._content = SharedStore()._content
    place.commit("another")
    place.feed.reset(ACCESS_CONFIG)
    await logs.until("_lamina/access not followed")
    assert place.held == (1, "one")
