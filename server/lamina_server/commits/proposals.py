"""Decisions made before their transaction, from the heads in memory, while another transaction is written.

A proposal is a decision on top of those before it, some of which may still be on their way to the
disk. Whoever has the write lock checks what it was decided on: each config's head must be the
one that memory held, by number and hash, so the whole past is the same; and no request id may
have an outcome. Then to decide once more would give the same, and the proposals are inserted as
they are. Otherwise they are thrown away, and the commands are decided from the store.

So a proposal is never told to anyone before its transaction is durable, and the transactions
before it are durable by then, because its head is theirs.

Lives on the event loop: there is one thread that decides, and the writer's has less to do while
it wants Python's lock.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import structlog

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.cache.limits import CacheLimits
from lamina_server.cache.maps import HeadMap
from lamina_server.commits.decide import perform
from lamina_server.commits.outcome import Outcome
from lamina_server.commits.transaction import Transaction
from lamina_server.domain.commands import Command, CommitCommand
from lamina_server.domain.errors import ServerError
from lamina_server.domain.planning import MapLimits, Plan
from lamina_server.domain.record import record
from lamina_server.domain.records import HeadMark, Reply, RequestKey, VersionChanges
from lamina_server.domain.secrets import NO_SEALER, Sealer
from lamina_server.store.contract import Writing

PROPOSED_KEYS_LIMIT = 64
PROPOSED_BYTES_LIMIT = 64 * 1024
"""Keys of one proposal, and their values: they take a millisecond, in which the event loop serves nobody else."""
AGE_LIMIT_US = 250_000
"""How long a proposal may wait for its transaction: its version is dated by its decision, and readers ask by time."""

_log = structlog.get_logger(__name__)


@record
class Proposal:
    """A decision on a command.

    base    the head that it was decided on
    since   the version that its changes were made against; None: the head
    plan    the version to insert; None if it changes nothing. `changes` and `made` are other forms of it
    is_new  whether the reply is to be remembered: not if it is that of an earlier proposal with the same request id
    now_us  the clock
    """

    request: RequestKey
    base: HeadMark
    since: int | None
    outcome: Outcome
    plan: Plan | None
    changes: VersionChanges | None
    made: EncodedChanges | None
    is_new: bool
    now_us: int


class Proposals:
    """Makes proposals, each on top of those before it."""

    def __init__(
        self,
        heads: Heads,
        codec: Codec,
        *,
        map_limits: MapLimits,
        cache_limits: CacheLimits,
        now_us: Callable[[], int],
        sealer: Sealer = NO_SEALER,
    ) -> None:
        self._heads = heads
        self._codec = codec
        self._map_limits = map_limits
        self._cache_limits = cache_limits
        self._now_us = now_us
        self._sealer = sealer
        self.restart()

    def restart(self) -> None:
        """Decide on the heads in memory alone: what was proposed before will not be written."""
        self._memory = _Memory()
        self._transaction = Transaction(cast("Writing", self._memory), self._codec, limits=self._cache_limits)
        self._has_gap = False

    def add(self, request: RequestKey, command: Command) -> Proposal | None:
        """Decide a command. None if only the store can tell; then all later commands wait for its outcome, too."""
        proposal = None
        try:
            proposal = None if self._has_gap else self._proposal(request, command)
        except Exception as error:  # noqa: BLE001 - a bug, which its caller hears of when the command is decided again
            _log.error("bug", doing="propose", exc_info=error)
        self._has_gap = proposal is None
        return proposal

    def pause(self) -> None:
        """Make no more proposals before the next `restart`."""
        self._has_gap = True

    def settle(self, written: Iterable[Proposal]) -> None:
        """Note that proposals were written as they are, and that the heads in memory have advanced by them."""
        requests: dict[str, list[RequestKey]] = {}
        for each in written:
            requests.setdefault(each.outcome.reply.config, []).append(each.request)
        for config, those in requests.items():
            if not self._transaction.settle(config, those, self._heads.peek(config)):
                self.pause()

    def _proposal(self, request: RequestKey, command: Command) -> Proposal | None:
        if not isinstance(command, CommitCommand):
            return None
        held = self._heads.peek(command.config)
        base = self._transaction.follow(held) if held and _is_small(command, held) else None
        if base is None:
            return None
        now_us = self._now_us()
        self._memory.clear()
        try:
            reply = perform(
                self._transaction, request, command, now_us=now_us, limits=self._map_limits, sealer=self._sealer
            )
        except (ServerError, _NotInMemoryError):  # a refusal is of no use before the store has confirmed the head
            return None
        changes = self._transaction.made.pop() if self._transaction.made else None
        made = EncodedChanges.of(changes, self._codec) if changes else None
        outcome = Outcome(reply, made.header if made else None)
        return Proposal(
            request,
            base,
            command.base_version,
            outcome,
            self._memory.plan,
            changes,
            made,
            self._memory.has_reply,
            now_us,
        )


def _is_small(command: CommitCommand, held: HeadMap) -> bool:
    """Return whether a command can be decided in a moment, with the values that it sets and those that it finds."""
    if len(command.changes) + len(command.read_keys) > PROPOSED_KEYS_LIMIT:
        return False
    base = command.base_version
    known = (held.number,) if base in {None, held.number} or not held.reaches(base or 0) else (held.number, base or 0)
    found = [held.entry_at(key, number) for number in known for key in _keys(command)]
    size_bytes = sum([len(encoded) for encoded in found if encoded])
    return size_bytes + sum([each.value.size_bytes for each in command.changes if each.value]) <= PROPOSED_BYTES_LIMIT


def _keys(command: CommitCommand) -> Iterable[str]:
    return (*[change.key for change in command.changes], *command.read_keys)


def hold(proposals: Sequence[Proposal], transaction: Transaction, now_us: int) -> bool:
    """Return whether a transaction would decide the same: each is on its config's head, or on the one before it."""
    heads: dict[str, HeadMark | None] = dict(transaction.marks)
    for proposal in proposals:
        config = proposal.outcome.reply.config
        if heads.get(config) != proposal.base or transaction.remembers(proposal.request):
            return False
        if proposal.since and proposal.since < transaction.oldest(config):
            return False
        if abs(now_us - proposal.now_us) > AGE_LIMIT_US:
            return False
        if proposal.plan is not None:
            heads[config] = HeadMark(proposal.plan.version.number, proposal.plan.version.hash)
    return True


def adopt(proposals: Sequence[Proposal], transaction: Transaction) -> None:
    """Write proposals, so that other commands can be decided on top of them."""
    for proposal in proposals:
        if proposal.plan is not None and proposal.changes is not None:
            transaction.add(proposal.plan, proposal.changes)
        if proposal.is_new:
            transaction.remember(proposal.request, proposal.outcome.reply)


def write(proposals: Sequence[Proposal], writing: Writing) -> None:
    """Write proposals on top of which nothing else is decided."""
    for proposal in proposals:
        if proposal.plan is not None:
            writing.insert(proposal.plan)
        if proposal.is_new:
            writing.remember(proposal.request, proposal.outcome.reply)


class _NotInMemoryError(Exception):
    """A decision needs what only the store knows."""


class _Memory:
    """Stands for the store's Writing: keeps what a decision would insert, and can answer nothing."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.plan: Plan | None = None
        self.has_reply = False

    def oldest(self, _: str) -> int:
        return 1  # `hold` asks the store

    def insert(self, plan: Plan) -> None:
        self.plan = plan

    def remember(self, _: RequestKey, __: Reply) -> None:
        self.has_reply = True

    def __getattr__(self, _: str) -> Any:
        raise _NotInMemoryError
