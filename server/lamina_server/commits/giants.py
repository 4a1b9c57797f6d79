"""Forks and reverts of very many keys: read, planned, hashed, encoded and staged before their transaction.

So others commit meanwhile, and the transaction itself is short. Worked example: a revert of 100,000 keys is planned on
head 7. While its rows are staged, somebody commits version 8. So the revert is decided again, and is refused, because
its base is the head no longer.

What is prepared is no outcome: the transaction looks up the request id, and finds that the head is still the same.
Wherever something is wrong (a refusal, a database that does not answer), nothing is prepared, and the command goes the
usual way, which tells its caller.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from itertools import islice
from typing import Any

import structlog

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.cache.maps import HeadMap
from lamina_server.commits.decide import decide
from lamina_server.commits.group import AbandonedError, GroupResult, Prepared, Submission
from lamina_server.commits.outcome import Outcome
from lamina_server.domain.commands import Command, CommitCommand, ForkCommand, RevertCommand
from lamina_server.domain.errors import ServerError
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import Change, HeadMark, Version, VersionChanges
from lamina_server.domain.secrets import NO_SEALER, Sealer
from lamina_server.store.background import in_background
from lamina_server.store.contract import OvertakenError, Store, Writing

GIANT_CHANGES = 5_000
"""Keys from which on a version is staged. Fewer are written in less time than others notice."""
TRIES_LIMIT = 3
"""How often a command is prepared: it may have given way to a writer that has failed after all."""
LOOKS_AT_ONCE = 4
"""Threads that look at the same time whether a command is a giant."""
GIVEN_UP_SECONDS = 2.0
"""How long a server that ends waits for threads whose work nobody waits for. A database that answers needs less."""

_log = structlog.get_logger(__name__)


class Giants:
    """Prepares commands, one at a time: so memory is bounded. Lives on the event loop.

    submit  called once with each submission, when its transaction may begin
    """

    def __init__(
        self,
        store: Store,
        heads: Heads,
        codec: Codec,
        *,
        limits: MapLimits,
        submit: Callable[[Submission], None],
        now_us: Callable[[], int],
        sealer: Sealer = NO_SEALER,
    ) -> None:
        self._store = store
        self._heads = heads
        self._codec = codec
        self._limits = limits
        self._submit = submit
        self._now_us = now_us
        self._sealer = sealer
        self._looks = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._line = asyncio.Lock()
        self._tasks: dict[asyncio.Task[None], Submission] = {}

    def add(self, submission: Submission) -> None:
        """Submit a command, at once if it is certainly no giant; else prepare it first, if it is one."""
        command = submission.command
        if isinstance(command, CommitCommand) or self._is_known_as_small(command):
            self._submit(submission)
            return
        task = asyncio.get_running_loop().create_task(self._carry(submission))
        self._tasks[task] = submission
        task.add_done_callback(self._tasks.pop)

    @property
    def preparing(self) -> Collection[Submission]:
        """Return what is not submitted yet, and what was submitted and is still staged."""
        return self._tasks.values()

    @property
    def are_awaited(self) -> bool:
        """Whether somebody waits for a command that is not submitted yet, or is still staged."""
        return not all(submission.is_abandoned for submission in self._tasks.values())

    async def finish(self) -> None:
        """Wait until everything that somebody waits for has been submitted, and nothing of it is staged any more."""
        while self.are_awaited:
            answers = (each.future for each in self._tasks.values() if not each.future.done())
            ends: list[asyncio.Future[Any]] = [*self._tasks, *answers]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Wait a moment for the threads of commands that were given up: the database may never answer them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GIVEN_UP_SECONDS)

    async def _carry(self, submission: Submission) -> None:
        loop = asyncio.get_running_loop()
        is_submitted = False

        def submit(prepared: Prepared | None) -> None:
            nonlocal is_submitted
            is_submitted = True
            submission.prepared = prepared
            if submission.is_abandoned:
                submission.drop()
            else:
                self._submit(submission)

        try:
            if submission.tries < TRIES_LIMIT and await self._look(submission):
                async with self._line:
                    if not submission.is_abandoned:
                        work = partial(self._prepare, submission, lambda it: loop.call_soon_threadsafe(submit, it))
                        await in_background(work, name="giants")
        except Exception as error:  # noqa: BLE001 - the usual way tells the caller, if it fails there too
            if not isinstance(error, ServerError):
                _log.error("giant not prepared", exc_info=error)
        if not is_submitted:
            submit(None)

    async def _look(self, submission: Submission) -> bool:
        """Return whether a command is a giant that somebody waits for. Others do not wait while a giant is staged."""
        async with self._looks:
            if submission.is_abandoned:
                return False
            return await in_background(partial(self._is_giant, submission.command), name="giants")

    def _is_known_as_small(self, command: ForkCommand | RevertCommand) -> bool:
        if isinstance(command, ForkCommand):
            held = self._heads.peek(command.source)
            number = command.source_version
            version = held.version_at(held.number if number is None else number) if held else None
            return version is not None and version.key_count < GIANT_CHANGES
        held = self._heads.peek(command.config)
        changed = held.changed_since(command.to_version) if held else None
        return changed is not None and changed < GIANT_CHANGES

    # --- on a thread of its own -----------------------------------------------------------------

    def _is_giant(self, command: Command) -> bool:
        """Return whether a command is about many keys, after a look at no more than GIANT_CHANGES of them."""
        with self._store.read() as reading:
            if isinstance(command, ForkCommand):
                number = command.source_version
                found = reading.versions(command.source, [number]) if number else {0: reading.head(command.source)}
                return any(version is not None and version.key_count >= GIANT_CHANGES for version in found.values())
            assert not isinstance(command, CommitCommand)
            head = reading.head(command.config)
            keys = reading.changed_between(command.config, command.to_version, head.number) if head else ()
            return sum(1 for _ in islice(keys, GIANT_CHANGES)) == GIANT_CHANGES

    def _prepare(self, submission: Submission, ready: Callable[[Prepared], object]) -> None:
        """Prepare a command, say that it is ready, and keep what is staged until it is written or given up."""
        while submission.tries < TRIES_LIMIT and not submission.is_abandoned:
            submission.tries += 1
            with suppress(OvertakenError), ExitStack() as stack:
                prepared = self._prepared(submission.command, stack)
                if prepared is None:
                    return
                ready(prepared)
                prepared.staged.wait()
                return

    def _prepared(self, command: Command, stack: ExitStack) -> Prepared | None:
        with self._store.read() as reading:
            decided = decide(reading, command, now_us=self._now_us(), limits=self._limits, sealer=self._sealer)
        plan, head = decided.plan, decided.head
        if plan is None:
            return None
        parent = HeadMark(head.number, head.hash) if head else None
        made = VersionChanges(plan.version, tuple(Change(each.key, each.value) for each in plan.values))
        encoded = EncodedChanges.of(made, self._codec)
        staged = stack.enter_context(self._store.stage(plan, parent))
        return Prepared(plan, decided.reply, parent, encoded, staged)


# --- on the writer's thread ---------------------------------------------------------------------


def write_prepared(submission: Submission, prepared: Prepared, heads: Mapping[str, HeadMap]) -> GroupResult:
    """Write what was prepared, in a transaction of its own.

    Raises OvertakenError if it is of no use any more, AbandonedError if nobody waits for it; then nothing was written.
    """
    plan, request = prepared.plan, submission.request
    with prepared.staged.write() as writing:
        if not submission.begin():
            raise AbandonedError
        if writing.replies(request.caller, [request.request_id]) or not _has_source(writing, plan.version):
            raise OvertakenError  # and the usual way finds out
        writing.insert(plan)
        writing.remember(request, prepared.reply)
    config, parent = plan.version.config, prepared.parent
    held = heads.get(config)
    is_behind = held is not None and parent is not None and held.number < parent.number
    diverged = [config] if held is not None and not is_behind and held.mark != parent else []
    outcome = Outcome(prepared.reply, prepared.encoded.header)
    return GroupResult([outcome], [prepared.encoded], diverged, {config: parent} if parent else {})


def _has_source(writing: Writing, version: Version) -> bool:
    """Return whether the version that a fork was made of is still part of the history."""
    source = version.source
    if source is None or source.version == 0:
        return True
    found = writing.versions(source.config, [source.version]).get(source.version)
    return found is not None and found.hash == source.hash
