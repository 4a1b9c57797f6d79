"""Fakes of both sides of News: a shared store with its notices, and the feed."""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.records import HeadMark, Version
from lamina_server.store import memory
from lamina_server.store.memory import MemoryStore
from tests.conformance.commits import CONFIG


class FakeNotices:
    """Notices that arrive when a test calls `notice`."""

    def __init__(self) -> None:
        self.told: list[list[str]] = []
        self.may_tell = asyncio.Event()
        self.may_tell.set()
        self.is_closed = False
        self.notice: Callable[[str], None] = lambda _: None
        self.listen: Callable[[], None] = lambda: None

    async def tell(self, configs: Collection[str]) -> None:
        self.told.append(list(configs))
        await self.may_tell.wait()

    async def hear(self, on_listening: Callable[[], None], on_heard: Callable[[str], None]) -> NoReturn:
        self.notice, self.listen = on_heard, on_listening
        await asyncio.Event().wait()
        raise AssertionError

    async def close(self) -> None:
        self.is_closed = True


class SharedStore(MemoryStore):
    """A memory store that others write to as well; its readings can be counted, held up and made to fail."""

    is_shared: Any = True

    def __init__(self) -> None:
        super().__init__()
        self.fake_notices = FakeNotices()
        self.questions = 0
        self.error: Exception | None = None
        self.damaged: dict[str, str] = {}
        self.asked_for: set[str] = set()
        self.asked, self.answer = threading.Event(), threading.Event()
        self.answer.set()

    def notices(self) -> Any:
        return self.fake_notices

    @contextmanager
    def read(self) -> Iterator[memory._Reading]:
        self.questions += 1
        if self.error:
            raise self.error
        yield _RecordingReading(self._content, self)  # as of now
        self.asked.set()
        assert self.answer.wait(30)

    def replace_content(self, other: MemoryStore) -> None:
        """Start a new epoch with another store's versions, as if a backup had been restored."""
        self._content = other._content

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """Hold up the answers of readings that begin within the block until it ends."""
        self.answer.clear()
        self.asked.clear()
        try:
            yield
        finally:
            self.answer.set()


class _RecordingReading(memory._Reading):
    """Records the configs that are asked for, and raises for those in `damaged`."""

    def __init__(self, content: Any, store: SharedStore) -> None:
        super().__init__(content)
        self._store = store

    def head_marks(self, configs: Collection[str]) -> dict[str, HeadMark]:
        self._store.asked_for |= set(configs)
        return super().head_marks(configs)

    def versions(self, config: str, numbers: Collection[int]) -> dict[int, Version]:
        self._check(config, "header")
        return super().versions(config, numbers)

    def log(self, config: str, **options: Any) -> list[Version]:
        self._check(config, "header")
        return super().log(config, **options)

    def changes(self, config: str, **options: Any) -> Any:
        self._check(config, "value")
        return super().changes(config, **options)

    def _check(self, config: str, what: str) -> None:
        if self._store.damaged.get(config) == what:
            raise HashMismatchError(what)


class FakeFeed:
    """A feed with a fixed list of watched configs, which records its calls."""

    def __init__(self, *watched: str) -> None:
        self.configs = dict.fromkeys(watched)
        self.marks: dict[str, HeadMark] = dict.fromkeys(watched, HeadMark(0, b""))
        self.made: dict[str, list[EncodedChanges]] = {}
        self.skipped: list[tuple[str, int]] = []
        self.resets: list[str] = []
        self._changed = asyncio.Event()

    def watched(self) -> Collection[str]:
        return self.configs.keys()

    def last(self, config: str) -> HeadMark | None:
        return self.marks.get(config)

    def append(self, made: EncodedChanges) -> None:
        version = made.version
        last = self.marks[version.config]
        if version.number > last.number:
            assert version.number == last.number + 1
            self.marks[version.config] = mark_of(version)
            self.made.setdefault(version.config, []).append(made)
            self._changed.set()

    def skip_to(self, config: str, mark: HeadMark) -> None:
        assert mark.number > self.marks[config].number
        self.marks[config] = mark
        self.skipped.append((config, mark.number))
        self._changed.set()

    def reset(self, config: str) -> None:
        del self.marks[config]
        self.resets.append(config)
        self._changed.set()

    def numbers(self, config: str = CONFIG) -> list[int]:
        return [made.version.number for made in self.made.get(config, [])]

    async def until(self, is_so: Callable[["FakeFeed"], bool]) -> None:
        async with asyncio.timeout(30):
            while not is_so(self):
                await self._changed.wait()
                self._changed.clear()

    async def until_at(self, *versions: Version) -> None:
        await self.until(lambda feed: all(feed.last(version.config) == mark_of(version) for version in versions))


def mark_of(version: Version) -> HeadMark:
    return HeadMark(version.number, version.hash)
