"""The only writer: one thread through which every command passes, in the order of arrival, many in one transaction.

Knows no event loop but the one that it answers. There is one thread because a database has
one write lock anyway, and because decisions made in order need no other lock.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from queue import SimpleQueue
from typing import Any

import structlog

from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.limits import CacheLimits
from lamina_server.cache.maps import HeadMap
from lamina_server.commits.clock import FutureTimesLog
from lamina_server.commits.decide import Preview, perform, preview
from lamina_server.commits.giants import write_prepared
from lamina_server.commits.group import AbandonedError, Group, GroupResult, Submission
from lamina_server.commits.outcome import Outcome, outcome_of
from lamina_server.commits.proposals import Proposal, adopt, hold, write
from lamina_server.commits.transaction import Transaction, configs_of, expected_of
from lamina_server.domain.commands import Command
from lamina_server.domain.errors import ServerError, UnavailableError
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import HeadMark, Reply
from lamina_server.domain.secrets import Sealer
from lamina_server.store.contract import CommitUnknownError, Store, StoreFailedError

NAMED_LIMIT = 8
"""Commands that a line of the log names."""

_log = structlog.get_logger(__name__)


class Writer:
    """Decides and writes groups of commands.

    on_written  called on the group's event loop with each group and its result
    now_us      the clock, in microseconds since 1970
    """

    def __init__(
        self,
        store: Store,
        codec: Codec,
        *,
        map_limits: MapLimits,
        cache_limits: CacheLimits,
        on_written: Callable[[Group, GroupResult], None],
        now_us: Callable[[], int],
        sealer: Sealer,
    ) -> None:
        self._store = store
        self._codec = codec
        self._map_limits = map_limits
        self._cache_limits = cache_limits
        self._on_written = on_written
        self._now_us = now_us
        self._sealer = sealer
        self._future_times = FutureTimesLog()
        # No executor: its futures, one within the other, would take longer than a commit does to decide.
        self._groups: SimpleQueue[Group | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def write(self, group: Group) -> None:
        """Write a group soon. Its heads must not change until `on_written` is called."""
        if not self._thread.ident:
            self._thread.start()
        self._groups.put(group)

    def preview(self, command: Command) -> Preview:
        """Decide a command without writing. Blocks: call it on a reader's thread."""
        with self._store.read() as reading:
            return preview(reading, command, now_us=self._now_us(), limits=self._map_limits, sealer=self._sealer)

    def check_clock(self) -> None:
        """Log it if the newest version is dated later than the clock. Blocks: call it on a reader's thread."""
        with suppress(ServerError), self._store.read() as reading:  # a database that is gone again is not its concern
            self._future_times.opened(reading.newest_commit_time_us(), self._now_us())

    async def stop(self) -> None:
        """End the thread, once it has written what it was given."""
        if self._thread.is_alive():
            self._groups.put(None)
            await asyncio.to_thread(self._thread.join)

    # --- on the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        while self._write_next():
            pass  # nothing of a group is kept while the next one is awaited: it may have large maps

    def _write_next(self) -> bool:
        """Wait for a group, and write it; return False if there will be none."""
        group = self._groups.get()
        if group is None:
            return False
        try:
            with group.trace.current():
                result = self._write(group.submissions, group.heads)
        except Exception as error:  # noqa: BLE001 - a bug, of which the callers must hear
            result = GroupResult([error] * len(group.submissions), diverged=list(group.heads))
        group.loop.call_soon_threadsafe(self._on_written, group, result)
        return True

    def _write(self, submissions: Sequence[Submission], heads: Mapping[str, HeadMap]) -> GroupResult:
        """Carry out commands in one transaction; if it fails, find out what that means for each of them."""
        try:
            return self._transact(submissions, heads)
        except StoreFailedError as error:
            return _left_open(submissions, error, error)
        except CommitUnknownError:
            return self._resolve(submissions, heads)
        except UnavailableError as error:  # the database cannot be asked, so each command alone would fail too
            return GroupResult([error] * len(submissions))
        except Exception as error:  # noqa: BLE001 - raised in the callers that it concerns
            if len(submissions) == 1:
                return GroupResult([error])
        _log.warning("group taken apart", commands=len(submissions))
        result = GroupResult([])
        for submission in submissions:
            result.add(self._write([submission], heads))
        return result

    def _resolve(self, submissions: Sequence[Submission], heads: Mapping[str, HeadMap]) -> GroupResult:
        """Carry out once more the commands of a COMMIT that was not confirmed: their request ids tell if it happened.

        The transaction that has the write lock now sees everything that was committed before.
        """
        _log.warning("commit not confirmed, asking again", **_named(submissions))
        try:
            return self._transact(submissions, heads)
        except Exception as error:  # noqa: BLE001 - whatever it is, the first try is still open
            return _left_open(submissions, CommitUnknownError(), error)

    def _transact(self, submissions: Sequence[Submission], heads: Mapping[str, HeadMap]) -> GroupResult:
        """Write the versions that commands make, in one transaction. Drop the commands that nobody waits for."""
        if prepared := submissions[0].take_prepared():  # which makes a group of its own
            result = write_prepared(submissions[0], prepared, heads)
            self._note_time(prepared.reply, self._now_us())
            return result
        expected = expected_of((one.request, one.command) for one in submissions)
        with self._store.write(expected) as writing:  # which may have waited for long
            for one in submissions:
                one.begin()
            transaction = Transaction(writing, self._codec, limits=self._cache_limits)
            transaction.begin(heads, expected)
            proposed = proposals_of(submissions)
            if not hold(proposed, transaction, self._now_us()):
                proposed = []
            if len(proposed) == len(submissions) and not transaction.made and not transaction.diverged:
                write(proposed, writing)
                result = _written(proposed, transaction.marks)
            else:
                adopt(proposed, transaction)
                result = self._decide(transaction, proposed, submissions[len(proposed) :])
        last = {each.outcome.reply.config: each for each in proposed}
        for each in last.values():
            self._note_time(each.outcome.reply, each.now_us)
        return result

    def _decide(
        self, transaction: Transaction, proposed: Sequence[Proposal], rest: Sequence[Submission]
    ) -> GroupResult:
        """Decide the commands after those whose proposals were adopted, and write the versions that they make."""
        outcomes: list[Outcome | Exception] = [proposal.outcome for proposal in proposed]
        replies = [self._perform(transaction, one) for one in rest]
        # Before the end, so that nothing can fail, and little time passes, between it and the heads' advance.
        encoded = {proposal.made.version.hash: proposal.made for proposal in proposed if proposal.made}
        made = [encoded.get(each.version.hash) or EncodedChanges.of(each, self._codec) for each in transaction.made]
        headers = {(each.version.config, each.version.number): each.header for each in made}
        outcomes += [reply if isinstance(reply, Exception) else outcome_of(reply, headers) for reply in replies]
        return GroupResult(outcomes, made, transaction.diverged, transaction.marks)

    def _perform(self, transaction: Transaction, submission: Submission) -> Reply | Exception:
        """Return a command's reply or refusal. If the block is lost, its end raises for the whole group."""
        if not submission.has_begun:
            return AbandonedError()
        request, command, now_us = submission.request, submission.command, self._now_us()
        try:
            reply = perform(transaction, request, command, now_us=now_us, limits=self._map_limits, sealer=self._sealer)
        except ServerError as error:
            return error
        self._note_time(reply, now_us)
        return reply

    def _note_time(self, reply: Reply, now_us: int) -> None:
        if reply.version is not None:
            self._future_times.committed(reply.version, now_us)


def proposals_of(submissions: Sequence[Submission]) -> list[Proposal]:
    """Return the proposals of the first commands, up to one that has none or was dropped."""
    proposed = takewhile(lambda one: one.proposal is not None and one.has_begun, submissions)
    return [one.proposal for one in proposed if one.proposal]


def _written(proposed: Sequence[Proposal], marks: dict[str, HeadMark]) -> GroupResult:
    made = [proposal.made for proposal in proposed if proposal.made]
    return GroupResult([proposal.outcome for proposal in proposed], made, [], marks, is_as_proposed=True)


def _left_open(submissions: Sequence[Submission], answer: CommitUnknownError, why: Exception) -> GroupResult:
    """Return the result of commands that may have been carried out or not, and log which ones they are."""
    _log.warning("commit left open", **_named(submissions), exc_info=why)
    return GroupResult([answer] * len(submissions))


def _named(submissions: Sequence[Submission]) -> dict[str, Any]:
    """Return for the log how many commands these are, and the configs and request ids of the first ones."""
    first = submissions[:NAMED_LIMIT]
    return {
        "commands": len(submissions),
        "configs": list(dict.fromkeys(name for one in first for name in configs_of(one.command))),
        "request_ids": [one.request.request_id for one in first],
        "cause": first[0].request.request_id,  # each is logged: somebody may look for it
    }
