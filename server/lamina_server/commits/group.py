"""The commands of one transaction, and their outcomes: records between the event loop and the writer."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.maps import HeadMap
from lamina_server.commits.outcome import Outcome
from lamina_server.commits.proposals import Proposal
from lamina_server.domain.commands import Command
from lamina_server.domain.planning import Plan
from lamina_server.domain.record import record
from lamina_server.domain.records import HeadMark, Reply, RequestKey
from lamina_server.store.contract import Staged
from lamina_server.traces.traces import NO_BATCH, NO_QUEUE, BatchTrace, QueueTrace


@record
class Prepared:
    """A large version that was decided and staged before its transaction.

    parent  the head that it follows; None if it is version 1
    """

    plan: Plan
    reply: Reply
    parent: HeadMark | None
    encoded: EncodedChanges
    staged: Staged


_beginning = threading.Lock()
"""Held for a moment by the one of two threads that decides whether a command begins or is given up."""


@dataclass(slots=True)
class Submission:
    """A command, and the future in which a caller waits for its outcome. A caller that leaves cancels the future.

    proposal     a decision that was made before the transaction; None if only the store can tell
    prepared  a large version that was staged before the transaction
    tries     how often it was prepared
    queue     tells of its wait for a transaction
    """

    request: RequestKey
    command: Command
    future: "asyncio.Future[Outcome]"
    proposal: Proposal | None = None
    has_begun: bool = False
    prepared: Prepared | None = None
    tries: int = 0
    queue: QueueTrace = NO_QUEUE

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller has left before a transaction had begun: then nothing was written, and nothing will be."""
        return self.future.done() and not self.has_begun

    def begin(self) -> bool:
        """Note that a transaction carries the command out; return False if nobody waits for it any more.

        Called on the writer's thread. A command that has once begun goes on to its end, whoever leaves.
        """
        with _beginning:
            self.has_begun = not self.is_abandoned
        return self.has_begun

    def give_up(self, error: Callable[[bool], Exception]) -> None:
        """Answer a caller that still waits with an error, which is made from whether the command has begun.

        Called on the event loop. What has begun goes on to its end; what has not will never begin.
        """
        if not self.future.done():
            with _beginning:
                self.future.set_exception(error(self.has_begun))

    def take_prepared(self) -> Prepared | None:
        """Return what was made ready, for one transaction: the next one decides anew."""
        prepared, self.prepared = self.prepared, None
        return prepared

    def drop(self) -> None:
        """Give up what was made ready, because no transaction will carry the command out."""
        if prepared := self.take_prepared():
            prepared.staged.end()


class AbandonedError(Exception):
    """The outcome of a command that was dropped: its caller had left before a transaction had begun."""


@dataclass(slots=True)
class GroupResult:
    """What became of a group.

    outcomes    an outcome or an error for each command
    made        the versions that memory lacks, in order, also those of other servers
    diverged    the configs of which memory holds another epoch than the store
    marks       the heads of the configs, as the transaction found them
    is_as_proposed  whether all was written as it was proposed
    """

    outcomes: list[Outcome | Exception]
    made: list[EncodedChanges] = field(default_factory=list)
    diverged: list[str] = field(default_factory=list)
    marks: dict[str, HeadMark] = field(default_factory=dict)
    is_as_proposed: bool = False

    def add(self, other: "GroupResult") -> None:
        """Append the result of the next part of the group. Parts overlap: drop versions already listed."""
        known = {(made.version.config, made.version.number) for made in self.made}
        self.outcomes += other.outcomes
        self.made += [made for made in other.made if (made.version.config, made.version.number) not in known]
        self.diverged += other.diverged
        self.marks = other.marks | self.marks


@record
class Group:
    """What the writer gets: the submissions, the frozen heads of their configs, and the loop that waits for it.

    trace  tells of its transaction
    """

    submissions: Sequence[Submission]
    heads: Mapping[str, HeadMap]
    loop: asyncio.AbstractEventLoop
    trace: BatchTrace = NO_BATCH
