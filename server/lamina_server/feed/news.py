"""What other servers have committed, brought to the feed of this one. Knows no wire and no database.

The truth is what the store says: for all configs that are watched every few seconds, and
for one at once when another server tells of it. A notice says that it is time to ask, and
no more. So one that is lost, late, doubled or out of order changes nothing but the delay.

One question is under way at a time; what is heard meanwhile waits for the next, because the
answer may be older than the notice. What the feed has learnt meanwhile by this server's own
commits is newer than the answer. Worked example: the feed is at version 7 when the question
is sent, and the answer says 9.

    feed at 7   8 and 9 were read with the answer: they are handed over, in order
    feed at 10  own commits have gone on: the answer is old, and says nothing
    feed at 8   an own commit came in between: ask again
    feed at 7, and the answer says 6, or that 7 has another hash: another past
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from lamina_server.cache import catch_up
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.logs import OutageLog
from lamina_server.store.contract import Reading, Store
from lamina_server.store.readers import Readers

ASKED_AT_ONCE = 1_000
"""Configs of one question: it takes some milliseconds, and what is heard meanwhile waits no longer than that."""
LAST_NOTICES_SECONDS = 1.0
"""How long the end waits for the last commits to be told: others would find them by themselves soon after."""


class Log(Protocol):
    """What News needs of the feed."""

    def watched(self) -> Collection[str]:
        """Return the configs that somebody watches; `in` is asked for each notice."""

    def last(self, config: str) -> HeadMark | None:
        """Return the newest version that is known; None where none is."""

    def append(self, made: EncodedChanges) -> None:
        """Take in the next version; one that is known already is ignored."""

    def skip(self, config: str, mark: HeadMark) -> None:
        """Take note of versions up to this one, which watchers read from the store."""

    def fork(self, config: str) -> None:
        """Take note that what is known is not the past any more."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the store says of a config.

    mark     its head
    is_past  whether the version that was known is part of its past
    made     what came after that one; None where it is too much, or cannot be read
    """

    mark: HeadMark
    is_past: bool = True
    made: Sequence[EncodedChanges] | None = ()


class News:
    """Hears and asks for what other servers commit, and tells them of what this one does. Lives on the event loop.

    Does nothing where the store is not shared.
    """

    def __init__(
        self,
        store: Store,
        readers: Readers,
        log: Log,
        codec: Codec,
        *,
        poll_interval_seconds: float,
    ) -> None:
        self._is_shared = store.is_shared
        self._notices = store.notices() if store.is_shared else None
        self._readers = readers
        self._log = log
        self._codec = codec
        self._poll_interval_seconds = poll_interval_seconds
        self._poll_at = 0.0
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._due: OrderedDict[str, None] = OrderedDict()
        self._is_called = asyncio.Event()
        self._untold: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._not_read = OutageLog("news not read", "news read again")

    def start(self) -> None:
        """Begin to ask and to hear."""
        if self._is_shared:
            self._tasks.append(asyncio.create_task(self._run()))
        if self._notices is not None:
            self._tasks.append(asyncio.create_task(self._notices.hear(self._ask_for_all, self._ask_for)))

    async def stop(self) -> None:
        """Tell what is still to be told, and end. Nothing may be committed after this."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=LAST_NOTICES_SECONDS)
        tasks = [*self._tasks, *([self._telling] if self._telling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        notices, self._notices = self._notices, None
        if notices is not None:
            await notices.close()

    # --- what this server has committed ------------------------------------------------------

    def committed(self, config: str) -> None:
        """Tell other servers soon, and together with what is committed meanwhile."""
        if self._notices is None:
            return
        self._untold[config] = None
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell(self._notices.tell))

    async def _tell(self, tell: Callable[[Collection[str]], Any]) -> None:
        try:
            while self._untold:
                configs, self._untold = self._untold, {}
                await tell(configs)
        finally:
            self._telling = None

    # --- what others have ---------------------------------------------------------------------

    def _ask_for(self, config: str) -> None:
        self._heard[config] = None
        self._is_called.set()

    def _ask_for_all(self) -> None:
        self._poll_at = 0.0
        self._is_called.set()

    async def _run(self) -> None:
        while True:
            if not self._heard and not self._due:
                await self._wait()
            if _now() >= self._poll_at:
                self._poll_at = _now() + self._poll_interval_seconds
                self._due.update(dict.fromkeys(self._log.watched()))
            if configs := self._next():
                await self._ask(configs)

    async def _wait(self) -> None:
        """Wait until there is something to ask for."""
        self._is_called.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._poll_at):
                await self._is_called.wait()

    def _next(self) -> list[str]:
        """Choose what the next question is about: what was heard comes first."""
        watched = self._log.watched()
        configs: dict[str, None] = {}
        for waiting in (self._heard, self._due):
            while waiting and len(configs) < ASKED_AT_ONCE:
                config, _ = waiting.popitem(last=False)
                if waiting is self._due or config in watched:
                    configs[config] = None
        return list(configs)

    async def _ask(self, configs: Collection[str]) -> None:
        known = {config: self._log.last(config) for config in configs}
        try:
            answers = await self._readers.read(partial(_answers, known=known, codec=self._codec))
            for config, last in known.items():
                if config not in answers or not self._take(config, last, answers[config]):
                    self._ask_for(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next poll asks for all of them again
            self._not_read.failed(error)
        else:
            self._not_read.is_over()

    def _take(self, config: str, known: HeadMark | None, answer: _Answer) -> bool:
        """Hand an answer to the feed; tell whether it has settled what was asked."""
        last = self._log.last(config)
        if last is None or last == answer.mark:
            return True
        if last != known:  # the feed has learnt something meanwhile, that this answer does not go together with
            return answer.mark.number < last.number
        if answer.mark.number <= last.number or not answer.is_past:
            self._log.fork(config)
        elif answer.made is None:
            self._log.skip(config, answer.mark)
        else:
            for made in answer.made:
                self._log.append(made)
        return True


def _answers(reading: Reading, known: Mapping[str, HeadMark | None], codec: Codec) -> dict[str, _Answer]:
    """Ask for heads, and read what came after the known ones, as much as there is room for: the rest has no answer."""
    marks = reading.head_marks(known)
    answers: dict[str, _Answer] = {}
    size_bytes = 0
    for config, last in known.items():
        mark = marks.get(config, NO_VERSION)
        if last is None or mark.number <= last.number:
            answers[config] = _Answer(mark)
        elif size_bytes <= catch_up.LIMIT_BYTES:
            try:
                answers[config] = _read_on(reading, config, last, mark, codec)
            except HashMismatchError:  # of this one's headers: its watchers are told when they read them, nobody else
                answers[config] = _Answer(mark, made=None)
            size_bytes += sum(made.size_bytes + len(made.header) for made in answers[config].made or ())
    return answers


def _read_on(reading: Reading, config: str, known: HeadMark, mark: HeadMark, codec: Codec) -> _Answer:
    """Read what came after a known version."""
    found = None
    with suppress(HashMismatchError):  # of a value: the watchers that want it are told when they read it
        found = catch_up.read_encoded(reading, config, after=known.number, through=mark.number, codec=codec)
    if found is not None:
        before, made = found
        return _Answer(mark, is_past=before == known, made=made)
    header = reading.versions(config, [known.number]).get(known.number)
    is_past = known == NO_VERSION or (header is not None and header.hash == known.hash)
    return _Answer(mark, is_past=is_past, made=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
