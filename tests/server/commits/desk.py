"""A committer over a store that fails as a test wants, and short ways to ask it."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lamina_server.cache.heads import Heads
from lamina_server.commits.committer import Committer
from lamina_server.commits.outcome import Outcome
from lamina_server.domain.commands import CommitCommand
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

CONFIG = "shop/prod"
GROUP_LIMIT = 10
"""Changes of one transaction; the commands of `Desk.ask` change one key each."""


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
    def write(self, expected: Expected | None = None) -> Iterator[Writing]:  # type: ignore[override]  # as the contract words it, not the memory store
        self.entered.set()
        assert self.gate.wait(10)
        self.blocks += 1
        with super().write(expected) as writing:
            before = {name: len(layers) for name, layers in writing.content.configs.items()}
            yield writing
            added = {name: layers[before.get(name, 0) :] for name, layers in writing.content.configs.items()}
            self.before_end([layer.version.message for layers in added.values() for layer in layers])
        self.after_end()


class Desk:
    """A committer over a faulty store."""

    def __init__(self, codec: WireCodec | None = None) -> None:
        self.store = FaultyStore()
        codec = codec or WireCodec()
        self.silence = Silence()
        self.feed = RecordingFeed()
        self.failures = 0
        self.readers = Readers(self.store, threads=2, silence=self.silence)
        self.heads = Heads(self.readers, codec, limit_bytes=1_000_000, is_shared=False)
        self.committer = Committer(
            self.store,
            self.heads,
            codec,
            self.feed,
            recorder=Recorder(),
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

    async def under_way(self, key: str, number: int) -> Any:
        """Ask for a commit, and return it when its transaction waits at the gate."""
        self.store.entered.clear()
        self.store.gate.clear()
        asked = self.ask(key, number)
        await asyncio.to_thread(self.store.entered.wait, 10)
        return asked

    async def gathered(self, *asked: Callable[[], Any]) -> list[Any]:
        """Let commands gather behind one that is under way, so that they make one group; return their outcomes."""
        await self.ask("first", 1)
        under_way = await self.under_way("first", 2)
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


def numbers(outcomes: list[Any]) -> list[int | str]:
    """Return the version number of each reply, and the reason of each refusal."""
    return [
        outcome.version.number if isinstance(outcome, Reply) and outcome.version else str(getattr(outcome, "reason", 0))
        for outcome in outcomes
    ]
