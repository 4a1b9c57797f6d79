"""Decisions made before their transaction, from the heads in memory, while another transaction is written.

A draft is a decision on top of those before it, some of which may still be on their way to the
disk. Whoever has the write lock checks what it was decided on: each config's head must be the
one that memory held, by number and hash, so the whole past is the same; and no request id may
have an outcome. Then to decide once more would give the same, and the drafts are inserted as
they are. Otherwise they are thrown away, and the commands are decided from the store.

So a draft is never told to anyone before its transaction is durable, and the transactions
before it are durable by then, because its head is theirs.

Lives on the event loop: there is one thread that decides, and the writer's has less to do while
it wants Python's lock.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.heads import Heads
from lamina_server.cache.limits import CacheLimits
from lamina_server.commits.decide import perform
from lamina_server.commits.outcome import Outcome
from lamina_server.commits.transaction import Transaction
from lamina_server.domain.commands import Command, CommitCommand
from lamina_server.domain.errors import ServerError
from lamina_server.domain.planning import MapLimits, Plan
from lamina_server.domain.record import record
from lamina_server.domain.records import HeadMark, Reply, RequestKey, VersionChanges
from lamina_server.store.contract import Writing

DRAFTED_KEYS_LIMIT = 64
DRAFTED_BYTES_LIMIT = 64 * 1024
"""Changed and read keys of one draft, and its values: they take a millisecond, in which the loop serves nobody else."""


@record
class Draft:
    """A decision on a command.

    base    the head that it was decided on
    plan    the version to insert; None if it changes nothing. `changes` and `made` are other forms of it
    is_new  whether the reply is to be remembered: not if it is that of an earlier draft with the same request id
    now_us  the clock
    """

    request: RequestKey
    base: HeadMark
    outcome: Outcome
    plan: Plan | None
    changes: VersionChanges | None
    made: EncodedChanges | None
    is_new: bool
    now_us: int


class Drafts:
    """Makes drafts, each on top of those before it."""

    def __init__(
        self,
        heads: Heads,
        codec: Codec,
        *,
        map_limits: MapLimits,
        cache_limits: CacheLimits,
        now_us: Callable[[], int],
    ) -> None:
        self._heads = heads
        self._codec = codec
        self._map_limits = map_limits
        self._cache_limits = cache_limits
        self._now_us = now_us
        self.restart()

    def restart(self) -> None:
        """Decide on the heads in memory alone: what was drafted before will not be written."""
        self._memory = _Memory()
        self._transaction = Transaction(cast("Writing", self._memory), self._codec, limits=self._cache_limits)
        self._has_gap = False

    def add(self, request: RequestKey, command: Command) -> Draft | None:
        """Decide a command. None if only the store can tell; then all later commands wait for its outcome, too."""
        draft = None if self._has_gap else self._draft(request, command)
        self._has_gap = draft is None
        return draft

    def pause(self) -> None:
        """Make no more drafts before the next `restart`."""
        self._has_gap = True

    def settle(self, written: Iterable[Draft]) -> None:
        """Note that drafts were written as they are, and that the heads in memory have advanced by them."""
        requests: dict[str, list[RequestKey]] = {}
        for each in written:
            requests.setdefault(each.outcome.reply.config, []).append(each.request)
        for config, those in requests.items():
            self._transaction.settle(config, those)

    def _draft(self, request: RequestKey, command: Command) -> Draft | None:
        if not isinstance(command, CommitCommand) or not _is_small(command):
            return None
        held = self._heads.peek(command.config)
        base = self._transaction.follow(held) if held else None
        if base is None:
            return None
        now_us = self._now_us()
        self._memory.clear()
        try:
            reply = perform(self._transaction, request, command, now_us=now_us, limits=self._map_limits)
        except (ServerError, _NotInMemoryError):  # a refusal is of no use before the store has confirmed the head
            return None
        changes = self._transaction.made.pop() if self._transaction.made else None
        made = EncodedChanges.of(changes, self._codec) if changes else None
        outcome = Outcome(reply, made.header if made else None)
        return Draft(request, base, outcome, self._memory.plan, changes, made, self._memory.has_reply, now_us)


def _is_small(command: CommitCommand) -> bool:
    if len(command.changes) + len(command.read_keys) > DRAFTED_KEYS_LIMIT:
        return False
    return sum([each.value.size_bytes for each in command.changes if each.value]) <= DRAFTED_BYTES_LIMIT


def hold(drafts: Sequence[Draft], transaction: Transaction) -> bool:
    """Return whether a transaction would decide the same: each draft is on its config's head, or on the one before."""
    heads: dict[str, HeadMark | None] = dict(transaction.marks)
    for draft in drafts:
        config = draft.outcome.reply.config
        if heads.get(config) != draft.base or transaction.remembers(draft.request):
            return False
        if draft.plan is not None:
            heads[config] = HeadMark(draft.plan.version.number, draft.plan.version.hash)
    return True


def adopt(drafts: Sequence[Draft], transaction: Transaction) -> None:
    """Write drafts, so that other commands can be decided on top of them."""
    for draft in drafts:
        if draft.plan is not None and draft.changes is not None:
            transaction.add(draft.plan, draft.changes)
        if draft.is_new:
            transaction.remember(draft.request, draft.outcome.reply)


def write(drafts: Sequence[Draft], writing: Writing) -> None:
    """Write drafts on top of which nothing else is decided."""
    for draft in drafts:
        if draft.plan is not None:
            writing.insert(draft.plan)
        if draft.is_new:
            writing.remember(draft.request, draft.outcome.reply)


class _NotInMemoryError(Exception):
    """A decision needs what only the store knows."""


class _Memory:
    """Stands for the store's Writing: keeps what a decision would insert, and can answer nothing."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.plan: Plan | None = None
        self.has_reply = False

    def insert(self, plan: Plan) -> None:
        self.plan = plan

    def remember(self, _: RequestKey, __: Reply) -> None:
        self.has_reply = True

    def __getattr__(self, _: str) -> Any:
        raise _NotInMemoryError
