"""Group commit: many commands in one transaction, and each gets its own answer whatever happens to the others."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from lamina_server.cache.heads import Heads
from lamina_server.commits.committer import Committer
from lamina_server.commits.outcome import Outcome
from lamina_server.commits.writer import NAMED_LIMIT
from lamina_server.domain.commands import CommitCommand, RevertCommand
from lamina_server.domain.errors import ConflictError, DiskFullError, Reason, RequestIdReusedError, UnavailableError
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.records import Change, Reply, RequestKey
from lamina_server.domain.values import Value
from lamina_server.store.contract import CommitUnknownError, StoreFailedError, Writing
from lamina_server.store.memory import MemoryStore
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from lamina_server.wire.codec import WireCodec
from tests.server.recording_feed import RecordingFeed

CONFIG = "shop/prod"
POISON = "poison"
GROUP_LIMIT = 10
"""Changes of one transaction; the commands of this module change one key each."""


class FaultyStore(MemoryStore):
    """A memory store whose writes wait at a gate, are counted, and end as a test wants.

    before_end  called with the messages of the versions that the block adds; what it raises undoes the block
    after_end   called when the block is committed; what it raises is raised all the same
    """

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.gate = threading.Event(), threading.Event()
        self.gate.set()
        self.blocks = 0
        self.before_end: Callable[[list[str]], None] = lambda _: None
        self.after_end: Callable[[], None] = lambda: None

    @contextmanager
    def write(self) -> Iterator[Writing]:  # type: ignore[override]  # as the contract words it, not the memory store
        self.entered.set()
        assert self.gate.wait(10)
        self.blocks += 1
        with super().write() as writing:
            before = {name: len(layers) for name, layers in writing.content.configs.items()}
            yield writing
            added = {name: layers[before.get(name, 0) :] for name, layers in writing.content.configs.items()}
            self.before_end([layer.version.message for layers in added.values() for layer in layers])
        self.after_end()


class Desk:
    """A committer over a faulty store."""

    def __init__(self) -> None:
        self.store = FaultyStore()
        self.silence = Silence()
        self.feed = RecordingFeed()
        self.failures = 0
        self.readers = Readers(self.store, threads=2, silence=self.silence)
        self.heads = Heads(self.readers, WireCodec(), limit_bytes=1_000_000, is_shared=False)
        self.committer = Committer(
            self.store,
            self.heads,
            WireCodec(),
            self.feed,
            silence=self.silence,
            map_limits=MapLimits(keys=10_000, size_bytes=10_000_000),
            on_commit=lambda _: None,
            on_failure=self._fail,
            group_limit_changes=GROUP_LIMIT,
        )

    def ask(self, key: str, number: int, *, id_: str = "", message: str = "", base: int | None = None) -> Any:
        change = Change(key, Value.of_integer(number))
        command = CommitCommand(CONFIG, base, b"", (change,), (), message, Author("ada"), require_base=False)
        request = RequestKey("", id_ or f"{key}={number}", command.digest())
        return asyncio.ensure_future(self.committer.submit(request, command))

    async def gathered(self, *asked: Callable[[], Any]) -> list[Any]:
        """Let commands gather behind one that is under way, so that they make one group; return their outcomes."""
        await self.ask("first", 1)
        self.store.entered.clear()
        self.store.gate.clear()
        under_way = self.ask("first", 2)
        await asyncio.to_thread(self.store.entered.wait, 10)
        waiting = [ask() for ask in asked]
        await asyncio.sleep(0)
        self.store.blocks = 0
        self.store.gate.set()
        await under_way
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        return [outcome.reply if isinstance(outcome, Outcome) else outcome for outcome in outcomes]

    def log(self) -> list[tuple[int, str]]:
        """Return (number, message) of each version in the store; the numbers must have no gap."""
        with self.store.read() as reading:
            versions = reading.log(CONFIG, after=0, before=1_000, limit=1_000, newest_first=False)
        assert [version.number for version in versions] == list(range(1, len(versions) + 1))
        return [(version.number, version.message) for version in versions]

    def values(self) -> dict[str, object]:
        """Return the values of the head in memory, which must equal those in the store."""
        head = self.heads.peek(CONFIG)
        assert head is not None
        held = [WireCodec().decode_entry(head.entries[key]) for key in head.keys]
        with self.store.read() as reading:
            assert held == list(reading.entries(CONFIG, head.number))
        return {entry.key: entry.value.data for entry in held}

    def _fail(self) -> None:
        self.failures += 1


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.committer.stop()
    await desk.readers.close()


def numbers(outcomes: list[Any]) -> list[int | str]:
    """Return the version number of each reply, and the reason of each refusal."""
    return [
        outcome.version.number if isinstance(outcome, Reply) and outcome.version else str(getattr(outcome, "reason", 0))
        for outcome in outcomes
    ]


async def test_waiting_commands_share_one_transaction_in_order(desk: Desk) -> None:
    """P3: versions are numbered in the order in which their commands came."""
    outcomes = await desk.gathered(*(lambda n=n: desk.ask(f"k{n}", n) for n in range(GROUP_LIMIT)))
    assert numbers(outcomes) == list(range(3, 3 + GROUP_LIMIT))
    assert desk.store.blocks == 2  # the command under way, and all others
    assert [version.number for version in desk.feed.announced] == list(range(1, 3 + GROUP_LIMIT))
    assert desk.values() == {"first": 2} | {f"k{n}": n for n in range(GROUP_LIMIT)}


async def test_a_transaction_is_no_larger_than_its_limit(desk: Desk) -> None:
    outcomes = await desk.gathered(*(lambda n=n: desk.ask(f"k{n}", n) for n in range(2 * GROUP_LIMIT + 1)))
    assert numbers(outcomes) == list(range(3, 4 + 2 * GROUP_LIMIT))
    assert desk.store.blocks == 1 + 3


async def test_a_revert_makes_a_group_of_its_own(desk: Desk) -> None:
    def revert() -> Any:
        command = RevertCommand(CONFIG, 1, 2, b"", "back", Author("ada"))
        return asyncio.ensure_future(desk.committer.submit(RequestKey("", "revert", command.digest()), command))

    outcomes = await desk.gathered(revert, lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == [3, 4, 5]
    assert desk.store.blocks == 1 + 2


async def test_each_command_is_decided_on_top_of_those_before_it(desk: Desk) -> None:
    """P6: a conflict with a commit of the same group is found, and other keys are merged."""
    outcomes = await desk.gathered(
        lambda: desk.ask("x", 1, base=1),
        lambda: desk.ask("x", 2, base=1),
        lambda: desk.ask("y", 3, base=1),
        lambda: desk.ask("x", 1, base=1, id_="the same value"),
        lambda: desk.ask("x", 4),
    )
    assert numbers(outcomes) == [3, "CONFLICT", 4, 4, 5]
    refused, merged, nothing = outcomes[1:4]
    assert isinstance(refused, ConflictError)
    assert [(each.key, each.their_version) for each in refused.conflicts] == [("x", 3)]
    assert isinstance(merged, Reply)
    assert isinstance(nothing, Reply)
    assert (merged.created, merged.merged, nothing.created) == (True, True, False)
    assert desk.store.blocks == 2


async def test_one_request_id_many_times_in_flight_is_one_version(desk: Desk) -> None:
    """P8: they share one outcome; other content under the id is refused."""
    outcomes = await desk.gathered(
        *[lambda: desk.ask("x", 1, id_="one", message="m")] * 3, lambda: desk.ask("x", 2, id_="one")
    )
    assert numbers(outcomes) == [3, 3, 3, "REQUEST_ID_REUSED"]
    assert isinstance(outcomes[3], RequestIdReusedError)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert desk.log() == [(1, ""), (2, ""), (3, "m")]


async def test_a_failed_group_is_written_again_one_by_one(desk: Desk) -> None:
    """P2: only the command that cannot be written fails."""

    def refuse(messages: list[str]) -> None:
        if POISON in messages:
            raise DiskFullError

    desk.store.before_end = refuse
    outcomes = await desk.gathered(
        lambda: desk.ask("a", 1),
        lambda: desk.ask("b", 1, message=POISON),
        lambda: desk.ask("a", 2, id_="the second"),
        lambda: desk.ask("b", 2, message="well"),
    )
    assert numbers(outcomes) == [3, "DISK_FULL", 4, 5]
    assert desk.log() == [(1, ""), (2, ""), (3, ""), (4, ""), (5, "well")]
    assert [version.number for version in desk.feed.announced] == [1, 2, 3, 4, 5]
    assert desk.values() == {"first": 2, "a": 2, "b": 2}
    assert desk.failures == 0


async def test_a_bug_in_one_command_fails_no_other(desk: Desk) -> None:
    def break_(messages: list[str]) -> None:
        if POISON in messages:
            raise ZeroDivisionError

    desk.store.before_end = break_
    outcomes = await desk.gathered(
        lambda: desk.ask("a", 1, message=POISON), lambda: desk.ask("b", 1), lambda: desk.ask("c", 1)
    )
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert numbers(outcomes[1:]) == [3, 4]


async def test_an_unavailable_database_is_not_asked_again_for_each_command(desk: Desk) -> None:
    """P2: each would fail alike, after a timeout of its own."""
    away = UnavailableError(Reason.STORE_UNAVAILABLE, "away; nothing was written")

    def refuse(messages: list[str]) -> None:
        if len(messages) > 1:
            raise away

    desk.store.before_end = refuse
    outcomes = await desk.gathered(lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == ["STORE_UNAVAILABLE"] * 2
    assert desk.store.blocks == 2
    assert (await desk.ask("c", 1)).reply.version.number == 3


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unconfirmed_commit_is_resolved_by_its_request_ids(desk: Desk, happened: bool) -> None:
    """P1, P8: a commit that happened is found, one that did not is done now, and each happens once."""
    lost = [True]

    def lose(_: object = None) -> None:
        if desk.store.blocks == 2 and lost.pop():
            raise CommitUnknownError

    if happened:
        desk.store.after_end = lose
    else:
        desk.store.before_end = lose
    outcomes = await desk.gathered(lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == [3, 4]
    assert all(isinstance(outcome, Reply) and outcome.created for outcome in outcomes)
    assert desk.log() == [(1, ""), (2, ""), (3, ""), (4, "")]
    assert {version.number for version in desk.feed.announced} == {1, 2, 3, 4}
    assert desk.values() == {"first": 2, "a": 1, "b": 1}


async def test_a_commit_that_stays_unconfirmed_is_reported_as_such(desk: Desk) -> None:
    """P1: no OK without a confirmation; a retry with the request id tells later."""

    def lose() -> None:
        if desk.store.blocks in {2, 3}:
            raise CommitUnknownError

    desk.store.after_end = lose
    with capture_logs() as log:
        outcomes = await desk.gathered(lambda: desk.ask("a", 1, id_="open"))
    assert isinstance(outcomes[0], CommitUnknownError)
    assert [(line["event"], line["configs"], line["request_ids"]) for line in log] == [
        ("commit not confirmed, asking again", [CONFIG], ["open"]),
        ("commit left open", [CONFIG], ["open"]),
    ]
    assert desk.failures == 0
    assert (await desk.ask("a", 1, id_="open")).reply.version.number == 3
    assert (await desk.ask("b", 1)).reply.version.number == 4
    assert desk.values() == {"first": 2, "a": 1, "b": 1}


async def test_a_failed_store_gets_no_more_writes(desk: Desk) -> None:
    """P1: every caller hears that its commit is unconfirmed, and the process is asked to end once."""

    def fail() -> None:
        if desk.store.blocks == 2:
            raise StoreFailedError

    desk.store.after_end = fail
    with capture_logs() as log:
        outcomes = await desk.gathered(
            *[partial(desk.ask, f"k{n}", n, id_=f"open-{n}") for n in range(NAMED_LIMIT + 1)]
        )
    assert all(isinstance(outcome, StoreFailedError) for outcome in outcomes)
    (line,) = log
    assert (line["event"], line["commands"], line["configs"]) == ("commit left open", NAMED_LIMIT + 1, [CONFIG])
    assert line["request_ids"] == [f"open-{number}" for number in range(NAMED_LIMIT)]
    assert desk.failures == 1
    with pytest.raises(UnavailableError, match="nothing was written"):
        await desk.ask("c", 1)
    assert desk.failures == 1
    assert desk.store.blocks == 2
