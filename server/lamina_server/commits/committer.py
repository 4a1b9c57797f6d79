"""The only writer: one thread through which every command passes, in the order of arrival, many in one transaction.

Knows no wire. One thread, because a database has one write lock anyway, and because what
is decided in order needs no other lock. While it works on one batch the next one gathers:
so a lone caller waits for nobody, and many share the cost of a transaction. A command that
was begun is finished, whatever becomes of its caller: a deadline or a lost connection must
not decide whether a commit that may already be durable is told to the watchers.

The way of a batch: the event loop lends the heads that it has in memory, the thread
decides and commits, the event loop advances the heads, tells the watchers, and only then
are replies given. Then comes the next.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue

import structlog

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.cache.maps import HeadMap
from lamina_server.commits.decide import Preview, perform, preview
from lamina_server.commits.group import Commands, Group, GroupResult, Outcome, Submission, outcome_of
from lamina_server.commits.keyframes import KeyframeScheduler
from lamina_server.commits.transaction import Transaction, configs_of
from lamina_server.domain.commands import Command, CommitCommand
from lamina_server.domain.errors import Reason, ServerError, UnavailableError
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import HeadMark, Reply, RequestKey
from lamina_server.feed.feed import Feed
from lamina_server.store.contract import CommitUnknownError, Store, StoreFailedError

_log = structlog.get_logger(__name__)


def system_now_us() -> int:
    """Read the system's clock, in microseconds since the epoch."""
    return time.time_ns() // 1000


class Committer:
    """Commands in, replies out, versions announced in between.

    on_commit     called on the event loop with the config of each new version
    on_failure    called on the event loop, once, when the store takes no more writes and
                  the process should end
    now_us        the clock, in microseconds since the epoch
    batch_limit_changes  changes of one transaction, if it holds more than one command
    """

    def __init__(
        self,
        store: Store,
        heads: Heads,
        codec: Codec,
        feed: Feed,
        *,
        limits: MapLimits,
        on_commit: Callable[[str], None],
        on_failure: Callable[[], None],
        batch_limit_changes: int,
        now_us: Callable[[], int] = system_now_us,
    ) -> None:
        self._store = store
        self._heads = heads
        self._codec = codec
        self._limits = limits
        self._feed = feed
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._batch_limit_changes = batch_limit_changes
        self._now_us = now_us
        # No executor: its futures, one within the other, would take longer than a commit does to decide.
        self._batches: SimpleQueue[Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._keyframing = KeyframeScheduler(store, on_failure=self._fail)
        self._waiting: deque[Submission] = deque()
        self._is_writing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._failed = False

    async def submit(self, request: RequestKey, command: Command) -> Outcome:
        """Carry a command out exactly once and return its outcome.

        Cancelling the caller does not cancel the command. Raises what the command is
        refused with; UnavailableError(DRAINING) once `stop` was called.
        """
        if self._draining:
            raise UnavailableError(Reason.DRAINING, "the server is stopping; nothing was written")
        if self._failed:
            raise UnavailableError(Reason.STORE_UNAVAILABLE, "the server takes no more writes; nothing was written")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(Submission(request, command, future))
        for config in configs_of(command):
            self._heads.warm(config)  # for the commits that will follow: this one does without
        if not self._is_writing:
            self._begin()
        return await future

    def preview(self, command: Command) -> Preview:
        """Decide a command without writing. Blocks: call it on a reader's thread."""
        with self._store.read() as reading:
            return preview(reading, command, now_us=self._now_us(), limits=self._limits)

    async def stop(self) -> None:
        """Refuse new commands, finish those begun, and end the threads."""
        self._draining = True
        await self._idle.wait()
        if self._thread.is_alive():
            self._batches.put(None)
            await asyncio.to_thread(self._thread.join)
        await self._keyframing.stop()

    # --- on the event loop ------------------------------------------------------------------

    def _begin(self) -> None:
        """Hand the writer a batch of what waits; `_end` will hear of it."""
        if not self._thread.ident:
            self._thread.start()
        waiting = self._next_batch()
        commands = [(each.request, each.command) for each in waiting]
        held = self._heads.freeze({config for _, command in commands for config in configs_of(command)})
        self._is_writing = True
        self._idle.clear()
        self._batches.put(Group(waiting, commands, held, asyncio.get_running_loop()))

    def _next_batch(self) -> list[Submission]:
        """Take what waits, in order, as far as it fits into one transaction."""
        room = self._batch_limit_changes - _weigh(self._waiting[0].command, self._batch_limit_changes)
        batch = [self._waiting.popleft()]
        while self._waiting:
            room -= _weigh(self._waiting[0].command, self._batch_limit_changes)
            if room < 0:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _end(self, batch: Group, written: GroupResult) -> None:
        """Advance the heads, reply, tell the watchers, and begin the next batch: all at once for the event loop."""
        outcomes = written.outcomes
        try:
            self._heads.advance(written.made, written.forked)
        except Exception as error:  # noqa: BLE001 - a bug, of which those who wait have to hear
            outcomes = [error] * len(batch.waiting)
        # First, so that a reply does not stand in line behind the messages to thousands of watchers.
        for waiting, outcome in zip(batch.waiting, outcomes, strict=True):
            _give(waiting.future, outcome)
        try:
            self._announce(written)
        except Exception as error:  # noqa: BLE001 - a bug: a watcher that was not told hears of it with the next version
            _log.error("bug", doing="announce", exc_info=error)
        self._is_writing = False
        if self._waiting:
            self._begin()
        else:
            self._idle.set()

    def _announce(self, written: GroupResult) -> None:
        for config in written.forked:
            self._feed.fork(config)
        for config, mark in written.marks.items():
            self._feed.compare(config, mark)  # what was committed follows this, whatever was known here
        for made in written.made:
            self._feed.append(made)
            self._on_commit(made.version.config)
            self._keyframing.note(made.version, is_busy=bool(self._waiting))
        for outcome in written.outcomes:
            # Remembered: maybe from a try whose end was not known, so that nobody was told.
            if isinstance(outcome, Outcome) and outcome.header is None and (version := outcome.reply.version):
                self._feed.skip(version.config, HeadMark(version.number, version.hash))
        if any(isinstance(outcome, StoreFailedError) for outcome in written.outcomes) or self._store.has_failed:
            self._fail()

    def _fail(self) -> None:
        """Take no more writes, and say so once."""
        if not self._failed:
            self._failed = True
            self._on_failure()

    # --- on the writer's thread -------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._batches.get()) is not None:
            try:
                written = self._write(batch.commands, batch.held)
            except Exception as error:  # noqa: BLE001 - a bug, of which those who wait have to hear
                written = GroupResult([error] * len(batch.commands), forked=list(batch.held))
            batch.loop.call_soon_threadsafe(self._end, batch, written)

    def _write(self, commands: Commands, held: Mapping[str, HeadMap]) -> GroupResult:
        """Carry out a batch; where that fails, find out for each command what that means for it."""
        try:
            return self._transact(commands, held)
        except StoreFailedError as error:
            return GroupResult([error] * len(commands))
        except CommitUnknownError:
            return self._resolve(commands, held)
        except UnavailableError as error:  # the database cannot be asked, whatever is in the batch
            return GroupResult([error] * len(commands))
        except Exception as error:  # noqa: BLE001 - told to those whom it concerns
            if len(commands) == 1:
                return GroupResult([error])
        _log.warning("batch taken apart", commands=len(commands))
        written = GroupResult([])
        for command in commands:
            written.add(self._write([command], held))
        return written

    def _resolve(self, commands: Commands, held: Mapping[str, HeadMap]) -> GroupResult:
        """Find out what became of a batch whose COMMIT was not confirmed: each request id knows.

        Whoever holds the write lock now sees what was committed before; what was not is done now.
        """
        _log.warning("commit not confirmed, asking again", commands=len(commands))
        try:
            return self._transact(commands, held)
        except Exception as error:  # noqa: BLE001 - whatever it is, the first try is still open
            _log.warning("commit left open", error=type(error).__name__)
            return GroupResult([CommitUnknownError()] * len(commands))

    def _transact(self, commands: Commands, held: Mapping[str, HeadMap]) -> GroupResult:
        """Decide commands and write what they come to, in one transaction."""
        replies: list[Reply | Exception] = []
        with self._store.write() as writing:
            batch = Transaction(writing, self._codec, held, dict(commands))
            for request, command in commands:
                replies.append(self._perform(batch, request, command))
            # Before the end, so that nothing can fail, and little time passes, between it and the heads' advance.
            made = [EncodedChanges.of(each, self._codec) for each in batch.made]
        headers = {(each.version.config, each.version.number): each.header for each in made}
        outcomes = [reply if isinstance(reply, Exception) else outcome_of(reply, headers) for reply in replies]
        return GroupResult(outcomes, made, batch.forked, batch.marks)

    def _perform(self, batch: Transaction, request: RequestKey, command: Command) -> Reply | Exception:
        """Answer one command. What it is refused with is its own; a lost block raises at its end, for all."""
        try:
            return perform(batch, request, command, now_us=self._now_us(), limits=self._limits)
        except ServerError as error:
            return error


def _weigh(command: Command, limit: int) -> int:
    """Count the keys that a command is about; a revert or a fork may be about any number, and goes alone."""
    return len(command.changes) + len(command.read_keys) if isinstance(command, CommitCommand) else limit


def _give(future: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if future.done():  # its caller has left
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
