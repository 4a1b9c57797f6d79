"""When keyframes are written: as many as pay, beside the commits, and never instead of one."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from lamina_server.commits.keyframes import KEYFRAME_VALUES_MINIMUM, OVERDUE, KeyframeScheduler
from lamina_server.domain.records import Version
from lamina_server.store.contract import StoreFailedError
from lamina_server.store.memory import MemoryStore

KEYS = 1_000


class CountingStore(MemoryStore):
    """A store that counts its keyframes, and can be made to wait for a gate or to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.originated: Counter[str] = Counter()
        self.written: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()
        self.error: Exception | None = None

    def originated_since_keyframe(self, config: str) -> int:
        return self.originated[config]

    def write_keyframe(self, config: str) -> None:
        at_the_head = self.originated[config]
        self.begun.set()
        assert self.gate.wait(10)
        if self.error:
            raise self.error
        self.written.append(config)
        self.originated[config] -= at_the_head


class Past:
    """Notes one version after another, as a committer does."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.failures = 0
        self.keyframing = KeyframeScheduler(self.store, on_failure=self._fail)
        self.numbers: dict[str, int] = {}

    def commit(self, changes: int, *, config: str = "c", keys: int = KEYS, is_busy: bool = False) -> None:
        number = self.numbers[config] = self.numbers.get(config, 0) + 1
        self.store.originated[config] += changes
        version = Version(config, number, b"h" * 32, "ada", False, "", number, keys, changes, 0)
        self.keyframing.note(version, is_busy=is_busy)

    async def settled(self) -> list[str]:
        """Wait for a keyframe that is being written; return all that were."""
        if task := self.keyframing._under_way:
            await task
        return self.store.written

    def _fail(self) -> None:
        self.failures += 1


@pytest.fixture
async def past() -> AsyncIterator[Past]:
    past = Past()
    yield past
    past.store.gate.set()
    await past.keyframing.stop()


async def test_one_is_due_after_as_many_values_as_keys(past: Past) -> None:
    past.commit(KEYS - 1)
    assert await past.settled() == []
    past.commit(1)
    assert await past.settled() == ["c"]
    for _ in range(KEYS - 1):
        past.commit(1)
    assert await past.settled() == ["c"]
    past.commit(1)
    assert await past.settled() == ["c", "c"]


async def test_none_of_a_small_map_before_it_pays(past: Past) -> None:
    for _ in range(KEYFRAME_VALUES_MINIMUM - 1):
        past.commit(1, keys=1)
    assert await past.settled() == []
    past.commit(1, keys=1)
    assert await past.settled() == ["c"]


async def test_commits_go_first_but_not_for_ever(past: Past) -> None:
    past.commit(KEYS, is_busy=True)
    past.commit((OVERDUE - 1) * KEYS - 1, is_busy=True)
    assert await past.settled() == []
    past.commit(1, is_busy=True)
    assert await past.settled() == ["c"]
    past.commit(KEYS, is_busy=True)
    past.commit(1)  # a moment without commits
    assert await past.settled() == ["c", "c"]


async def test_one_is_written_at_a_time_and_what_comes_meanwhile_counts(past: Past) -> None:
    past.store.gate.clear()
    past.commit(KEYS)
    await asyncio.to_thread(past.store.begun.wait, 10)
    past.commit(KEYS - 1)
    past.commit(KEYS, config="d")
    past.store.gate.set()
    assert await past.settled() == ["c"]
    past.commit(1)
    assert await past.settled() == ["c", "c"]
    past.commit(1, config="d")
    assert await past.settled() == ["c", "c", "d"]


async def test_a_server_that_starts_late_counts_first(past: Past) -> None:
    """A restart, or another server's commits and keyframes: the store knows."""
    past.numbers["c"] = 7
    past.store.originated["c"] = KEYS - 2
    past.commit(1)
    assert await past.settled() == []
    past.commit(1)
    assert await past.settled() == ["c"]


async def test_a_failure_is_told_and_tried_again_when_the_next_is_due(past: Past) -> None:
    past.store.error = OSError("no room")
    with capture_logs() as log:
        past.commit(KEYS)
        assert await past.settled() == []
    assert [line["event"] for line in log] == ["keyframe not written"]
    past.store.error = None
    past.commit(1)
    await asyncio.sleep(0)
    assert await past.settled() == []
    past.commit(KEYS)
    assert await past.settled() == ["c"]
    assert past.failures == 0


async def test_a_store_that_fails_at_a_keyframe_is_told_of(past: Past) -> None:
    """P1: it takes no more writes, so the process has to end."""
    past.store.error = StoreFailedError()
    past.store.has_failed = True
    with capture_logs():
        past.commit(KEYS)
        await past.settled()
    assert past.failures == 1
