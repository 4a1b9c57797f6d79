"""The committer and the writer thread: order, announcement before reply, commits that outlive their callers."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.commits.committer import Committer
from lamina_server.commits.keyframes import KEYFRAME_VALUES_MINIMUM
from lamina_server.domain.commands import CommitCommand
from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.domain.planning import Author, MapLimits
from lamina_server.domain.records import Change, Reply, RequestKey
from lamina_server.domain.values import Value
from lamina_server.metrics.recorder import Recorder
from lamina_server.store.contract import Expected, Writing
from lamina_server.store.memory import MemoryStore
from lamina_server.store.readers import Readers
from lamina_server.store.silence import Silence
from lamina_server.wire.codec import WireCodec
from tests.server.recording_feed import RecordingFeed


class GatedStore(MemoryStore):
    """A memory store whose transactions wait for their beginning and their end, and which notes the threads."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.may_begin = threading.Event(), threading.Event()
        self.may_begin.set()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.threads: set[str] = set()

    @contextmanager
    def write(self, expected: Expected | None = None) -> Iterator[Writing]:  # type: ignore[override]  # as the contract words it, not the memory store
        self.threads.add(threading.current_thread().name)
        self.asked.set()
        assert self.may_begin.wait(10)
        with super().write(expected) as writing:
            yield writing
            self.entered.set()
            assert self.gate.wait(10)


class BrokenHeads(Heads):
    """Heads with a defect."""

    def advance(self, made: Iterable[EncodedChanges], diverged: Iterable[str]) -> None:
        super().advance([], diverged)
        raise RuntimeError("a defect")


class Desk:
    """A committer over a gated store, with a feed that records what it announces."""

    def __init__(self, heads: type[Heads] = Heads) -> None:
        self.store = GatedStore()
        self.silence = Silence()
        self.feed = RecordingFeed()
        self.failures: list[None] = []
        limits = MapLimits(keys=10_000, size_bytes=10_000_000)
        codec, self.readers = WireCodec(), Readers(self.store, threads=2, silence=self.silence)
        self.heads = heads(self.readers, codec, limit_bytes=1_000_000, is_shared=False)
        self.committer = Committer(
            self.store,
            self.heads,
            codec,
            self.feed,
            recorder=Recorder(),
            silence=self.silence,
            map_limits=limits,
            on_commit=lambda _: None,
            on_failure=lambda: self.failures.append(None),
            group_limit_changes=10,
        )
        self.asked = 0

    async def commit(self, *keys: str, request_id: str = "") -> Reply:
        """Commit new values, or the one value that a request id has."""
        self.asked += 1
        changes = tuple(Change(key, Value.of_integer(0 if request_id else self.asked)) for key in keys)
        command = CommitCommand("c", None, b"", changes, (), "", Author("ada"), require_base=False)
        request_id = request_id or f"request {self.asked}"
        outcome = await self.committer.submit(RequestKey("", request_id, command.digest()), command)
        return outcome.reply

    async def stop(self) -> None:
        await self.committer.stop()
        await self.readers.close()


async def test_a_commit_that_has_begun_outlives_its_caller() -> None:
    """P1, P12: a caller's deadline cancels the call, not the commit, and watches hear of the commit."""
    desk = Desk()
    caller = asyncio.create_task(desk.commit("x"))
    await asyncio.to_thread(desk.store.entered.wait, 10)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    desk.store.gate.set()
    await desk.stop()
    assert [version.number for version in desk.feed.announced] == [1]


async def test_what_has_not_begun_is_dropped_when_its_caller_leaves() -> None:
    """P1, P2: a caller of the same request that stays gets its answer."""
    desk = Desk()
    first = asyncio.create_task(desk.commit("x"))
    await asyncio.to_thread(desk.store.entered.wait, 10)
    leaving = [asyncio.create_task(desk.commit("left")) for _ in range(2)]
    impatient, patient = (asyncio.create_task(desk.commit("y", request_id="same")) for _ in range(2))
    await asyncio.sleep(0)  # all of them wait for the first
    for task in (*leaving, impatient):
        task.cancel()
    await asyncio.wait([*leaving, impatient])
    desk.store.gate.set()
    assert [(await task).version for task in (first, patient)] == desk.feed.announced
    await desk.stop()
    with desk.store.read() as reading:
        assert [entry.key for entry in reading.entries("c", 2)] == ["x", "y"]


async def test_a_transaction_that_begins_late_drops_those_who_have_left() -> None:
    """P2: a database that was frozen or locked does not carry out what nobody waits for any more."""
    desk = Desk()
    desk.store.gate.set()
    desk.store.may_begin.clear()
    leaving = asyncio.create_task(desk.commit("left"))
    await asyncio.to_thread(desk.store.asked.wait, 10)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    desk.store.may_begin.set()
    assert (await desk.commit("x")).version == desk.feed.announced[0]
    await desk.stop()
    assert len(desk.feed.announced) == 1


async def test_a_commit_for_which_no_thread_is_left_is_refused_and_the_next_one_is_tried() -> None:
    desk = Desk()
    desk.store.gate.set()
    usual = threading.stack_size(1 << 46)  # more than there can be
    try:
        with pytest.raises(UnavailableError, match="nothing was written"):
            await desk.commit("x")
    finally:
        threading.stack_size(usual)
    async with asyncio.timeout(10):
        assert (await desk.commit("y")).created
    await desk.stop()


async def test_a_commit_that_is_durable_is_answered_whatever_breaks_after_it() -> None:
    """P2: an error would be definite, though the version is there."""
    desk = Desk(BrokenHeads)
    desk.store.gate.set()
    with capture_logs() as logged:
        for number in (1, 2):
            reply = await desk.commit("x")
            assert reply.created
            assert reply.version
            assert reply.version.number == number
    assert [each["doing"] for each in logged if each["event"] == "bug"] == ["advance heads"] * 2
    assert [version.number for version in desk.feed.announced] == [1, 2]
    await desk.stop()


async def test_versions_are_announced_in_order_and_before_their_replies() -> None:
    desk = Desk()
    desk.store.gate.set()
    announced_at_reply = []

    async def one(number: int) -> None:
        reply = await desk.commit(f"k{number}")
        assert reply.version in desk.feed.announced
        announced_at_reply.append(reply)

    await asyncio.gather(*(one(number) for number in range(50)))
    assert [version.number for version in desk.feed.announced] == list(range(1, 51))
    assert len(desk.store.threads) == 1
    assert desk.store.threads.pop().startswith("writer")
    await desk.stop()


async def test_stopping_finishes_commits_that_have_begun_and_refuses_others() -> None:
    desk = Desk()
    begun = [asyncio.create_task(desk.commit("x")) for _ in range(3)]
    await asyncio.to_thread(desk.store.entered.wait, 10)
    stopping = asyncio.create_task(desk.stop())
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as refused:
        await desk.commit("y")
    assert refused.value.reason is Reason.DRAINING
    desk.store.gate.set()
    await stopping
    assert sorted(reply.version.number for reply in await asyncio.gather(*begun) if reply.version) == [1, 2, 3]


async def test_keyframes_follow_the_number_of_values() -> None:
    desk = Desk()
    desk.store.gate.set()
    await desk.commit(*(f"k{n}" for n in range(KEYFRAME_VALUES_MINIMUM - 1)))
    await desk.commit("a")
    await desk.commit("b")
    await desk.stop()
    # The second commit made it 256 values on 256 keys: a keyframe at version 2, and one value since.
    assert desk.store.originated_since_keyframe("c") in (0, 1)
