"""When keyframes are written: apart from commits, and only if they save time."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from lamina_server.commits.keyframes import KEYFRAME_VALUES_MINIMUM, OVERDUE_FACTOR, KeyframeScheduler
from lamina_server.domain.records import Version
from lamina_server.metrics.recorder import Recorder
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


class History:
    """Reports one version after another to a scheduler, as a committer does."""

    def __init__(self) -> None:
        self.store = CountingStore()
        self.failures = 0
        self.scheduler = KeyframeScheduler(self.store, Recorder(), on_failure=self._fail)
        self.numbers: dict[str, int] = {}

    def commit(self, changes: int, *, config: str = "c", keys: int = KEYS, is_busy: bool = False) -> None:
        number = self.numbers[config] = self.numbers.get(config, 0) + 1
        self.store.originated[config] += changes
        version = Version(config, number, b"h" * 32, "ada", False, "", number, keys, changes, 0)
        self.scheduler.committed(version, is_busy=is_busy)

    async def written(self) -> list[str]:
        """Wait until the scheduler has no task left; return the configs of all keyframes."""
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return self.store.written

    def _fail(self) -> None:
        self.failures += 1


@pytest.fixture
async def history() -> AsyncIterator[History]:
    history = History()
    yield history
    history.store.gate.set()
    await history.scheduler.stop()


async def test_a_keyframe_is_due_after_as_many_values_as_keys(history: History) -> None:
    history.commit(KEYS - 1)
    assert await history.written() == []
    history.commit(1)
    assert await history.written() == ["c"]
    for _ in range(KEYS - 1):
        history.commit(1)
    assert await history.written() == ["c"]
    history.commit(1)
    assert await history.written() == ["c", "c"]


async def test_a_small_map_gets_no_keyframe_before_it_pays(history: History) -> None:
    for _ in range(KEYFRAME_VALUES_MINIMUM - 1):
        history.commit(1, keys=1)
    assert await history.written() == []
    history.commit(1, keys=1)
    assert await history.written() == ["c"]


async def test_a_keyframe_waits_for_commits_but_not_for_ever(history: History) -> None:
    history.commit(KEYS, is_busy=True)
    history.commit((OVERDUE_FACTOR - 1) * KEYS - 1, is_busy=True)
    assert await history.written() == []
    history.commit(1, is_busy=True)
    assert await history.written() == ["c"]
    history.commit(KEYS, is_busy=True)
    history.commit(1)  # a moment without commits
    assert await history.written() == ["c", "c"]


async def test_one_keyframe_is_written_at_a_time_and_values_meanwhile_count(history: History) -> None:
    history.store.gate.clear()
    history.commit(KEYS)
    await asyncio.to_thread(history.store.begun.wait, 10)
    history.commit(KEYS - 1)
    history.commit(KEYS, config="d")
    history.store.gate.set()
    assert await history.written() == ["c"]
    history.commit(1)
    assert await history.written() == ["c", "c"]
    history.commit(1, config="d")
    assert await history.written() == ["c", "c", "d"]


async def test_after_a_restart_the_store_is_asked_for_the_count(history: History) -> None:
    """The same holds for another server's commits and keyframes."""
    history.numbers["c"] = 7
    history.store.originated["c"] = KEYS - 2
    history.commit(1)
    assert await history.written() == []
    history.commit(1)
    assert await history.written() == ["c"]


async def test_a_failure_is_logged_and_the_next_due_keyframe_is_tried(history: History) -> None:
    history.store.error = OSError("no room")
    with capture_logs() as log:
        history.commit(KEYS)
        assert await history.written() == []
    assert [line["event"] for line in log] == ["keyframe not written"]
    history.store.error = None
    history.commit(1)
    await asyncio.sleep(0)
    assert await history.written() == []
    history.commit(KEYS)
    assert await history.written() == ["c"]
    assert history.failures == 0


async def test_a_keyframe_that_gets_no_thread_is_logged_and_the_next_due_one_is_tried(history: History) -> None:
    usual = threading.stack_size(1 << 46)  # more than there can be
    try:
        with capture_logs() as log:
            history.commit(KEYS)
            assert await history.written() == []
    finally:
        threading.stack_size(usual)
    assert [line["event"] for line in log] == ["keyframe not written"]
    history.commit(KEYS)
    assert await history.written() == ["c"]


async def test_a_store_that_fails_at_a_keyframe_is_reported(history: History) -> None:
    """P1: it accepts no more writes, so the process must end."""
    history.store.error = StoreFailedError()
    history.store.failure = "made up by the test"
    with capture_logs():
        history.commit(KEYS)
        await history.written()
    assert history.failures == 1


async def test_the_end_does_not_wait_for_a_slow_keyframe(history: History) -> None:
    """No answer depends on it, and the grace is for those that wait for one."""
    history.store.gate.clear()
    history.commit(KEYS)
    await asyncio.to_thread(history.store.begun.wait, 10)
    async with asyncio.timeout(5):
        await history.scheduler.stop()
    assert history.store.written == []
