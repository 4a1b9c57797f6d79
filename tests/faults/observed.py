"""Validators of what clients observed: one function for each promise about reads, watches and answers. Pure."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.acknowledged import CONFLICT
from tests.faults.histories import Call, Outcome
from tests.faults.runs import Run, invoked
from tests.faults.violations import Check, Violation

EXPECTED_REFUSALS = frozenset({CONFLICT, "DISK_FULL"})
BUG = "BUG"


def _reads(run: Run) -> Iterator[Violation]:
    """P6, P12: a read sees every version that was known before it began, and the version that it sees stays."""
    for read in run.history.reads:
        if read.outcome is not Outcome.OK or read.ended is None:
            continue
        known = run.known_before(read.at)
        if read.version < known:
            yield Violation(Check.STALE, f"{read.client} read {read.version} when {known} was known")
        if run.begun(read.version) > read.ended:
            yield Violation(Check.EARLY, f"{read.client} read {read.version}")
        version = run.versions.get(read.version)
        if version is None or version.hash != read.hash or read.value != _value(run, read.key, read.version):
            yield Violation(Check.WRONG, f"{read.client} read {read.key} at {read.version}")


def _value(run: Run, key: str, version: int) -> str | None:
    changers = run.changers(key)
    position = bisect_right(changers, version)
    return run.versions[changers[position - 1]].changes[key] if position else None


def _backward(run: Run) -> Iterator[Violation]:
    """P13: the versions in the answers to one client never go back. A repeated commit may get an old version."""
    newest: dict[str, int] = defaultdict(int)
    calls: list[Call] = [attempts[0] for attempts in run.attempts.values()]
    for call in sorted([*calls, *run.history.reads], key=invoked):
        if call.outcome is Outcome.OK:
            if call.version < newest[call.client]:
                yield Violation(Check.BACKWARD, f"{call.client} was at {newest[call.client]}, then at {call.version}")
            newest[call.client] = call.version


def _watched(run: Run) -> Iterator[Violation]:
    """P9: a watcher's sessions together are the whole history, in order."""
    at: dict[str, int] = defaultdict(int)
    for seen in run.history.seen:
        if seen.version != at[seen.client] + 1:
            yield Violation(Check.WATCH, f"{seen.client} saw {seen.version} after {at[seen.client]}")
        at[seen.client] = seen.version
        version = run.versions.get(seen.version)
        if version is None or version.hash != seen.hash:
            yield Violation(Check.WRONG, f"{seen.client} received another version {seen.version}")
        elif run.begun(seen.version) > seen.at:
            yield Violation(Check.EARLY, f"{seen.client} received {seen.version}")


def _unexpected(run: Run) -> Iterator[Violation]:
    """No fault explains a bug, or any refusal but a few."""
    for call in [*run.history.commits, *run.history.reads, *run.history.watches]:
        refused = call.outcome is Outcome.REFUSED and call.reason not in EXPECTED_REFUSALS
        if refused or call.reason == BUG:
            yield Violation(Check.UNEXPECTED, f"{call.client} was answered {call.reason}")


VALIDATORS = (_reads, _backward, _watched, _unexpected)
