"""What other servers have committed, brought to the feed of this one. Knows no wire and no database.

The store knows the truth. It is asked for all watched configs every few seconds, and for one
config at once when another server sends a notice. A notice says that it is time to ask, and
no more. So a notice that is lost, late, doubled or out of order changes nothing but the delay.

One question is under way at a time. A notice that comes meanwhile waits for the next question,
because the answer may be older than the notice. What the feed has got meanwhile by this
server's own commits is newer than the answer. Worked example: the feed is at version 7 when
the question is sent, and the answer says 9.

    feed at 7   8 and 9 were read with the answer: the feed gets them, in order
    feed at 10  own commits have gone on: the answer is old, and is ignored
    feed at 8   an own commit came in between: ask again
    feed at 7, and the answer says 6, or that 7 has another hash: another epoch
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from lamina_server.cache.catch_up import read_encoded_changes
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.logs import OutageLog
from lamina_server.store.contract import Reading, Store
from lamina_server.store.readers import Readers

QUESTION_LIMIT_CONFIGS = 1_000
"""Configs of one question: it takes some milliseconds, and notices that come meanwhile wait no longer than that."""
LAST_NOTICES_SECONDS = 1.0
"""How long `stop` waits until the last commits are told: other servers would find them by themselves soon after."""


class NewsFeed(Protocol):
    """What News needs of the feed; see Feed."""

    def watched(self) -> Collection[str]:
        """Return the configs that have a subscriber. `in` is asked for each notice."""

    def last(self, config: str) -> HeadMark | None:
        """Return the newest version that is known; None if none is."""

    def append(self, made: EncodedChanges) -> None:
        """Add the next version; a version that is known already is ignored."""

    def skip_to(self, config: str, mark: HeadMark) -> None:
        """Note that the store has versions up to this one, which watches read there."""

    def reset(self, config: str) -> None:
        """Start a new epoch of a config."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the store says of a config.

    mark           its head
    is_same_epoch  whether the version that the feed knew is part of the store's history
    made           the versions after that one; None if they exceed a limit or cannot be read
    """

    mark: HeadMark
    is_same_epoch: bool = True
    made: Sequence[EncodedChanges] | None = ()


class News:
    """Asks for what other servers commit, and tells them what this one commits. Lives on the event loop.

    Does nothing if the store is not shared.

    told                    configs that other servers were told of, so far
    heard                   notices of other servers, so far
    questions               questions that the store has answered, so far
    failed_questions        and those that it has not
    question_limit_configs  configs that one question asks for
    last_notices_seconds    how long `stop` waits until the last commits are told
    """

    def __init__(
        self,
        store: Store,
        readers: Readers,
        feed: NewsFeed,
        codec: Codec,
        *,
        poll_interval_seconds: float,
        limits: CacheLimits = DEFAULT_LIMITS,
        question_limit_configs: int = QUESTION_LIMIT_CONFIGS,
        last_notices_seconds: float = LAST_NOTICES_SECONDS,
    ) -> None:
        self._is_shared = store.is_shared
        self._notices = store.notices() if store.is_shared else None
        self._readers = readers
        self._feed = feed
        self._codec = codec
        self._poll_interval_seconds = poll_interval_seconds
        self._limits = limits
        self._question_limit_configs = question_limit_configs
        self._last_notices_seconds = last_notices_seconds
        self._poll_at = 0.0
        # Configs to ask for: by notices, and by the poll.
        self._noticed: OrderedDict[str, None] = OrderedDict()
        self._polled: OrderedDict[str, None] = OrderedDict()
        self._has_work = asyncio.Event()
        self._untold: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self.told = self.heard = self.questions = self.failed_questions = 0
        self._outage = OutageLog("news not read", "news read again")

    def start(self) -> None:
        """Begin to ask, and to listen for notices."""
        if self._is_shared:
            self._tasks.append(asyncio.create_task(self._run()))
        if self._notices is not None:
            self._tasks.append(asyncio.create_task(self._notices.hear(self._poll_now, self._hear)))

    async def stop(self) -> None:
        """Tell the last commits, and end. Nothing may be committed after this."""
        if self._telling is not None:
            await asyncio.wait({self._telling}, timeout=self._last_notices_seconds)
        tasks = [*self._tasks, *([self._telling] if self._telling else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        notices, self._notices = self._notices, None
        if notices is not None:
            await notices.close()

    # --- what this server has committed ------------------------------------------------------

    def committed(self, config: str) -> None:
        """Tell other servers soon of a commit, together with other commits that come meanwhile."""
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
                self.told += len(configs)
        finally:
            self._telling = None

    # --- what others have ---------------------------------------------------------------------

    def _hear(self, config: str) -> None:
        self.heard += 1
        self._notice(config)

    def _notice(self, config: str) -> None:
        self._noticed[config] = None
        self._has_work.set()

    def _poll_now(self) -> None:
        self._poll_at = 0.0
        self._has_work.set()

    async def _run(self) -> None:
        while True:
            if not self._noticed and not self._polled:
                await self._wait_for_work()
            if _now() >= self._poll_at:
                self._poll_at = _now() + self._poll_interval_seconds
                self._polled.update(dict.fromkeys(self._feed.watched()))
            if configs := self._next_configs():
                await self._ask(configs)

    async def _wait_for_work(self) -> None:
        """Wait until a notice comes or the next poll is due."""
        self._has_work.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._poll_at):
                await self._has_work.wait()

    def _next_configs(self) -> list[str]:
        """Choose the configs of the next question: those with a notice come first."""
        watched = self._feed.watched()
        configs: dict[str, None] = {}
        for waiting in (self._noticed, self._polled):
            while waiting and len(configs) < self._question_limit_configs:
                config, _ = waiting.popitem(last=False)
                if waiting is self._polled or config in watched:
                    configs[config] = None
        return list(configs)

    async def _ask(self, configs: Collection[str]) -> None:
        known = {config: self._feed.last(config) for config in configs}
        try:
            answers = await self._readers.read_apart(
                partial(_answers, known=known, codec=self._codec, limits=self._limits),
            )
            for config, last in known.items():
                if config not in answers or not self._apply(config, last, answers[config]):
                    self._notice(config)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next poll asks for all of them again
            self.failed_questions += 1
            self._outage.failed(error)
        else:
            self.questions += 1
            self._outage.recovered()

    def _apply(self, config: str, known: HeadMark | None, answer: _Answer) -> bool:
        """Hand an answer to the feed; return whether the config needs no other question."""
        last = self._feed.last(config)
        if last is None or last == answer.mark:
            return True
        if last != known:  # the feed has changed meanwhile, so that this answer does not follow it
            return answer.mark.number < last.number
        if answer.mark.number <= last.number or not answer.is_same_epoch:
            self._feed.reset(config)
        elif answer.made is None:
            self._feed.skip_to(config, answer.mark)
        else:
            for made in answer.made:
                self._feed.append(made)
        return True


def _answers(
    reading: Reading, known: Mapping[str, HeadMark | None], codec: Codec, limits: CacheLimits
) -> dict[str, _Answer]:
    """Read the heads, and the versions after the known ones up to a limit; configs beyond it have no answer."""
    marks = reading.head_marks(known)
    answers: dict[str, _Answer] = {}
    size_bytes = 0
    for config, last in known.items():
        mark = marks.get(config, NO_VERSION)
        if last is None or mark.number <= last.number:
            answers[config] = _Answer(mark)
        elif size_bytes <= limits.catch_up_bytes:
            try:
                answers[config] = _read_on(reading, config, last, mark, codec=codec, limits=limits)
            except HashMismatchError:  # of its headers: its watches hear of it when they read them
                answers[config] = _Answer(mark, made=None)
            size_bytes += sum(made.size_bytes + len(made.header) for made in answers[config].made or ())
    return answers


def _read_on(
    reading: Reading, config: str, known: HeadMark, mark: HeadMark, *, codec: Codec, limits: CacheLimits
) -> _Answer:
    """Read the versions after a known one."""
    found = None
    with suppress(HashMismatchError):  # of a value: the watches that want it hear of it when they read it
        found = read_encoded_changes(
            reading, config, after=known.number, through=mark.number, codec=codec, limits=limits
        )
    if found is not None:
        before, made = found
        return _Answer(mark, is_same_epoch=before == known, made=made)
    header = reading.versions(config, [known.number]).get(known.number)
    is_same_epoch = known == NO_VERSION or (header is not None and header.hash == known.hash)
    return _Answer(mark, is_same_epoch=is_same_epoch, made=None)


def _now() -> float:
    return asyncio.get_running_loop().time()
