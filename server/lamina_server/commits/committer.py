"""The event loop's half of a commit: commands wait here, go to the writer in groups, and are announced when written.

Knows no wire. While the writer works on one group the next one gathers: so a lone caller waits
for no one else, and many callers share the cost of a transaction. A command that a transaction
has begun is finished even if its caller leaves: a deadline or a lost connection must not decide
whether watches hear of a commit that may already be durable. A command whose caller leaves
before that is dropped, so that nobody waits for what nobody wants any more.

The way of a group: the event loop decides its commands from the heads in memory while they wait
(see proposals), and freezes these heads; the writer checks the decisions, or makes them if memory
cannot, and commits; the event loop advances the heads, replies to the callers and tells the
watches. Then the next group begins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from lamina_server.cache.encoded import Codec
from lamina_server.cache.heads import Heads
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.commits import near_limits
from lamina_server.commits.clock import system_now_us
from lamina_server.commits.counting import outcome_name
from lamina_server.commits.decide import Preview
from lamina_server.commits.giants import Giants
from lamina_server.commits.group import Group, GroupResult, Submission
from lamina_server.commits.keyframes import KeyframeScheduler
from lamina_server.commits.outcome import Outcome
from lamina_server.commits.proposals import Proposals
from lamina_server.commits.transaction import configs_of
from lamina_server.commits.writer import Writer
from lamina_server.domain.commands import Command, CommitCommand
from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import HeadMark, RequestKey
from lamina_server.domain.secrets import NO_SEALER, Sealer
from lamina_server.feed.feed import Feed
from lamina_server.metrics.recorder import Recorder
from lamina_server.store.contract import OvertakenError, Store, StoreFailedError
from lamina_server.store.silence import Silence, SilentError
from lamina_server.traces.traces import NO_TRACES, Traces

KEYS_PROPOSED_ANEW = 64
"""Keys proposed at once when proposals have not held: so many take some milliseconds."""

_log = structlog.get_logger(__name__)


class Committer:
    """Takes commands, returns outcomes, and announces versions. Lives on the event loop.

    committed_at         when the last version was made, in seconds of time.monotonic()
    on_commit            called with the config of each new version
    on_failure           called once, when the store takes no more writes and the process should end
    group_limit_changes  changes of one transaction, if it holds more than one command
    recorder             counts batches, and what becomes of commands
    now_us               the clock, in microseconds since 1970
    sealer               compares secrets, and seals them anew in a fork
    warned_percent       of a limit of `map_limits`, from which on the log warns
    traces               tells of the wait of each command, and of each transaction
    """

    def __init__(
        self,
        store: Store,
        heads: Heads,
        codec: Codec,
        feed: Feed,
        *,
        silence: Silence,
        recorder: Recorder,
        map_limits: MapLimits,
        on_commit: Callable[[str], None],
        on_failure: Callable[[], None],
        group_limit_changes: int,
        cache_limits: CacheLimits = DEFAULT_LIMITS,
        now_us: Callable[[], int] = system_now_us,
        sealer: Sealer = NO_SEALER,
        warned_percent: int = 100,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._store = store
        self._heads = heads
        self._feed = feed
        self._recorder = recorder
        self._traces = traces
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._group_limit_changes = group_limit_changes
        self._writer = Writer(
            store,
            codec,
            map_limits=map_limits,
            cache_limits=cache_limits,
            on_written=self._finish,
            now_us=now_us,
            sealer=sealer,
        )
        self._proposals = Proposals(
            heads, codec, map_limits=map_limits, cache_limits=cache_limits, now_us=now_us, sealer=sealer
        )
        self._giants = Giants(
            store, heads, codec, limits=map_limits, submit=self._enqueue, now_us=now_us, sealer=sealer
        )
        self._keyframes = KeyframeScheduler(store, recorder, on_failure=self.fail)
        self._map_limits = map_limits
        self._warned_percent = warned_percent
        self._silence = silence
        silence.call_at_begin(self._give_up)
        self._waiting: deque[Submission] = deque()
        self._under_way: Sequence[Submission] = ()
        self._begun_at = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False
        self._has_failed = False
        self.committed_at = float("-inf")

    async def submit(self, request: RequestKey, command: Command) -> Outcome:
        """Carry out a command exactly once and return its outcome.

        If the caller is cancelled, a command that has begun is finished all the same, and one
        that has not is dropped. Raises the command's refusal; UnavailableError(DRAINING) once
        `stop` was called; SilentError if the database is silent, or becomes so meanwhile.
        """
        self.refuse()
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        with self._traces.queue() as queue:
            self._giants.add(Submission(request, command, future, queue=queue))
            return await future

    def refuse(self) -> None:
        """Raise UnavailableError if no command is taken at present."""
        if self._is_draining:
            raise UnavailableError(Reason.DRAINING, "the server is stopping; nothing was written", wrote_nothing=True)
        if self._has_failed:
            text = "the server takes no more writes; nothing was written"
            raise UnavailableError(Reason.STORE_UNAVAILABLE, text, wrote_nothing=True)
        if self._silence.is_on:
            raise SilentError.of_commit(self._silence.words, has_begun=False)

    @property
    def waiting(self) -> int:
        """Return how many commands wait for the writer."""
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        """Return how many commands are in the writer's transaction."""
        return len(self._under_way)

    def preview(self, command: Command) -> Preview:
        """Decide a command without writing. Blocks: call it on a reader's thread."""
        return self._writer.preview(command)

    def check_clock(self) -> None:
        """Log it if the newest version is dated later than the clock. Blocks: call it on a reader's thread."""
        self._writer.check_clock()

    async def stop(self) -> None:
        """Refuse new commands, finish those that have begun, and end the threads."""
        self._is_draining = True
        while self._giants.are_awaited or not self._idle.is_set():  # again: what is overtaken is prepared once more
            await self._giants.finish()
            await self._idle.wait()
        await self._giants.close()
        await self._writer.stop()
        await self._keyframes.stop()

    # --- the way of a group -----------------------------------------------------------------

    def _enqueue(self, submission: Submission) -> None:
        submission.proposal = self._proposals.add(submission.request, submission.command)
        self._waiting.append(submission)
        if submission.proposal is None:
            for config in configs_of(submission.command):
                self._heads.warm(config)  # for later commits: this one does not wait for it
        if not self._under_way:
            self._begin()

    def _begin(self) -> None:
        """Hand the writer a group of the commands that wait, if any; it will call `_finish`."""
        submissions = self._next_group()
        self._under_way = submissions
        if not submissions:
            self._idle.set()
            return
        self._idle.clear()
        self._begun_at = time.perf_counter()
        heads = self._heads.freeze({config for each in submissions for config in configs_of(each.command)})
        trace = self._traces.batch(each.queue for each in submissions)
        group = Group(submissions, heads, asyncio.get_running_loop(), trace)
        try:
            self._writer.write(group)
        except RuntimeError:  # the writer gets no thread; the next group tries again
            text = "the server has no thread left; nothing was written"
            error = UnavailableError(Reason.STORE_UNAVAILABLE, text, wrote_nothing=True)
            self._finish(group, GroupResult([error] * len(submissions)))

    def _next_group(self) -> list[Submission]:
        """Take the commands that somebody waits for, in order, as many as fit into one transaction."""
        self._drop_abandoned()
        room = self._group_limit_changes
        group: list[Submission] = []
        while self._waiting:
            room -= _weigh(self._waiting[0], self._group_limit_changes)
            if group and room < 0:
                break
            group.append(self._waiting.popleft())
        return group

    def _drop_abandoned(self) -> None:
        """Drop the commands that nobody waits for any more, and the proposals on top of theirs."""
        abandoned = [each for each in self._waiting if each.is_abandoned]
        if abandoned:
            for each in abandoned:
                each.drop()
            self._waiting = deque(each for each in self._waiting if not each.is_abandoned)
            if any(each.proposal for each in abandoned):
                self._propose_anew()

    def _propose_anew(self) -> None:
        """Decide the first of the commands that wait again, on the heads in memory; the others need the store."""
        self._proposals.restart()
        room = KEYS_PROPOSED_ANEW
        for each in self._waiting:
            room -= _weigh(each, self._group_limit_changes)
            if room < 0:
                self._proposals.pause()
            each.proposal = self._proposals.add(each.request, each.command)

    def _finish(self, group: Group, result: GroupResult) -> None:
        """Advance the heads, reply, tell the watches, and begin the next group, without giving up the event loop."""
        group.trace.end()
        outcomes = result.outcomes
        self._recorder.batch(len(outcomes), time.perf_counter() - self._begun_at)
        try:
            self._heads.advance(result.made, result.diverged)
        except Exception as error:  # noqa: BLE001 - a bug, but what was committed is durable, and is answered
            _log.error("bug", doing="advance heads", exc_info=error)
            for config in {name for each in group.submissions for name in configs_of(each.command)}:
                self._heads.forget(config)
            result.is_as_proposed = False
        # First, so that a reply does not stand in line behind the messages to thousands of watches.
        for submission, outcome in zip(group.submissions, outcomes, strict=True):
            if isinstance(outcome, OvertakenError):
                submission.has_begun = False
                self._giants.add(submission)
            else:
                submission.drop()  # if no transaction has begun
                _set_outcome(submission.future, outcome)
                self._recorder.commit(outcome_name(outcome))
        try:
            self._announce(result)
        except Exception as error:  # noqa: BLE001 - a bug: a watch that was not told hears of it with the next version
            _log.error("bug", doing="announce", exc_info=error)
        if any(isinstance(outcome, Outcome) and outcome.header is not None for outcome in outcomes):
            self.committed_at = time.monotonic()
        try:
            if result.is_as_proposed:
                self._proposals.settle(each.proposal for each in group.submissions if each.proposal)
            else:
                self._propose_anew()
        except Exception as error:  # noqa: BLE001 - a bug: the commands are decided in their transaction
            _log.error("bug", doing="propose", exc_info=error)
            self._proposals.pause()
        self._begin()

    def _announce(self, result: GroupResult) -> None:
        for config in result.diverged:
            self._feed.reset(config)
        for config, mark in result.marks.items():
            self._feed.check_head(config, mark)  # the versions just committed follow this one, whatever the feed knew
        for made in result.made:
            self._feed.append(made)
            self._on_commit(made.version.config)
            if near_limits.warn(made.version, self._map_limits, self._warned_percent):
                self._recorder.near_limit()
            self._keyframes.committed(made.version, is_busy=bool(self._waiting))
        for outcome in result.outcomes:
            # A remembered reply: maybe of a COMMIT that was not confirmed, so that no watch was told.
            if isinstance(outcome, Outcome) and outcome.header is None and (version := outcome.reply.version):
                self._feed.skip_to(version.config, HeadMark(version.number, version.hash))
        if any(isinstance(outcome, StoreFailedError) for outcome in result.outcomes) or self._store.failure:
            self.fail()

    def _give_up(self) -> None:
        """Answer all callers, because the database is silent. It may go on at any time with what has begun."""
        for submission in (*self._under_way, *self._waiting, *self._giants.preparing):
            submission.give_up(lambda has_begun: SilentError.of_commit(self._silence.words, has_begun=has_begun))

    def fail(self) -> None:
        """Take no more writes, and call `on_failure` once."""
        if not self._has_failed:
            self._has_failed = True
            self._on_failure()


def _weigh(submission: Submission, limit: int) -> int:
    """Count the keys of a command. What was prepared is alone in its group; a revert or a fork begins with no other."""
    if submission.prepared:
        return limit + 1
    command = submission.command
    return len(command.changes) + len(command.read_keys) if isinstance(command, CommitCommand) else limit


def _set_outcome(future: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if future.done():  # its caller has left
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
