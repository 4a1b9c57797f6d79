"""Judges a run: from what clients were told and from what is there in the end, to the promises that were broken.

Pure, and knows no server. Every commit writes values that no other writes, so the order of versions needs no search:
all checks together are linear in the history, but for sorting it by time.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import accumulate

from tests.faults.finals import Final, FinalVersion
from tests.faults.histories import Call, Commit, History, Outcome

CONFLICT = "CONFLICT"
EXPECTED_REFUSALS = frozenset({CONFLICT, "DISK_FULL"})
BUG = "BUG"
NEVER = 1 << 63


class Check(StrEnum):
    """What can be broken, by name."""

    LOST = "an acknowledged version is lost"
    DOUBLED = "a request id has more than one version"
    GAP = "versions are not exactly 1..head"
    CHANGED = "an acknowledged version has another number or hash now"
    UNASKED = "a version is there that nobody asked for"
    REFUSED = "a version is there that was refused"
    FORGOTTEN = "a version's request id is not remembered"
    ORDER = "the order of versions contradicts the order in time"
    BASE = "a version was written over changes that its base did not know"
    GROUNDLESS = "a conflict was reported where there is none"
    STALE = "a read did not see what was acknowledged before it"
    EARLY = "something was seen before anybody asked for it"
    WRONG = "something else was seen than the version holds"
    BACKWARD = "a client went back"
    WATCH = "a watcher missed a version, or saw it twice"
    OPEN = "an indeterminate commit was never resolved"
    REWRITTEN = "what was there before the last calls has changed"
    DISAGREEMENT = "two places tell two histories"
    IDLE = "nothing succeeded while nothing was broken"
    UNEXPECTED = "an answer that no fault explains"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    check: Check
    text: str

    def __str__(self) -> str:
        return f"{self.check.name}: {self.check}: {self.text}"


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which nothing was broken, so that something must have succeeded."""

    name: str
    begin: int
    end: int


class Run:
    """A history and its final state, with the indexes that the checks share."""

    def __init__(self, history: History, final: Final) -> None:
        self.history = history
        self.final = final
        self.versions = {version.number: version for version in final.versions}
        self.numbers = {version.request: version.number for version in final.versions}
        # In the order of time: a client's own file has them so, but that of whoever resolves them is another.
        self.attempts: dict[str, list[Commit]] = {}
        for commit in sorted(history.commits, key=_invoked):
            self.attempts.setdefault(commit.request, []).append(commit)

    def known_before(self, time: int) -> int:
        """Return the newest version that anybody had been told of before a time."""
        position = bisect_left(self._told[0], time)
        return self._told[1][position - 1] if position else 0

    def begun(self, version: int) -> int:
        """When the last of the commits up to a version was first asked for: nobody can have seen it before."""
        return self._begun[bisect_right(self._ordered, version) - 1] if version in self.versions else 0

    def changers(self, key: str) -> Sequence[int]:
        """Return the versions that changed a key, in order."""
        return self._changers.get(key, ())

    @cached_property
    def _told(self) -> tuple[list[int], list[int]]:
        """When somebody was told of a version, and the newest known from then on."""
        told = [
            (call.ended, call.version)
            for calls in (self.history.commits, self.history.reads)
            for call in calls
            if call.outcome is Outcome.OK and call.ended is not None
        ]
        told.extend((seen.at, seen.version) for seen in self.history.seen)
        told.sort()
        return [time for time, _ in told], list(accumulate((version for _, version in told), max))

    @cached_property
    def _ordered(self) -> list[int]:
        return sorted(self.versions)

    @cached_property
    def _begun(self) -> list[int]:
        # A version that nobody asked for is found by another check, and shall not spoil this one.
        attempts = (self.attempts.get(self.versions[number].request) for number in self._ordered)
        return list(accumulate((found[0].at if found else 0 for found in attempts), max))

    @cached_property
    def _changers(self) -> dict[str, list[int]]:
        changers: dict[str, list[int]] = defaultdict(list)
        for number in self._ordered:
            for key in self.versions[number].changes:
                changers[key].append(number)
        return changers


Validator = Callable[[Run], Iterator[Violation]]


def check(
    history: History, final: Final, *, before: Final | None = None, healthy: Sequence[Phase] = ()
) -> list[Violation]:
    """Return everything that is wrong with a run, or nothing.

    before   the final state as it was when the load had ended, before open commits were resolved
    healthy  the times in which nothing was broken
    """
    run = Run(history, final)
    violations = [violation for validate in VALIDATORS for violation in validate(run)]
    if before is not None:
        violations += _rewritten(before, final)
    return violations + list(_idle(history, healthy))


def agree(one: Final, other: Final) -> list[Violation]:
    """Compare the same state as read from two places."""
    if len(one.versions) != len(other.versions):
        heads = f"{len(one.versions)} versions in {one.source}, {len(other.versions)} in {other.source}"
        return [Violation(Check.DISAGREEMENT, heads)]
    return [
        Violation(Check.DISAGREEMENT, f"version {here.number} in {one.source} and in {other.source}")
        for here, there in zip(one.versions, other.versions, strict=True)
        if here != there
    ]


def count(violations: Sequence[Violation]) -> Counter[Check]:
    """Count violations by check."""
    return Counter(violation.check for violation in violations)


def _invoked(call: Call) -> int:
    return call.at


def _lost(run: Run) -> Iterator[Violation]:
    """P1: an OK means that the version is there for ever, under its number and hash."""
    for commit in run.history.commits:
        if commit.outcome is not Outcome.OK:
            continue
        number = run.numbers.get(commit.request)
        if number is None:
            yield Violation(Check.LOST, f"{commit.request}, acknowledged as version {commit.version}")
        elif (number, run.versions[number].hash) != (commit.version, commit.hash):
            yield Violation(Check.CHANGED, f"{commit.request}, acknowledged as {commit.version}, is {number}")


def _doubled(run: Run) -> Iterator[Violation]:
    """P8: one version for a request id, which is remembered."""
    for request, times in Counter(version.request for version in run.final.versions).items():
        if times > 1:
            yield Violation(Check.DOUBLED, f"{request} has {times} versions")
    if run.final.requests is None:
        return
    for request, number in run.numbers.items():
        if run.final.requests.get(request) != number:
            yield Violation(Check.FORGOTTEN, f"{request}, which is version {number}")


def _contiguous(run: Run) -> Iterator[Violation]:
    """P3: versions are exactly 1..head, each the child of the one before."""
    for expected, version in enumerate(run.final.versions, start=1):
        if (version.number, version.parent) != (expected, expected - 1):
            yield Violation(Check.GAP, f"{version.number} stands where {expected} should")
            return  # all others are off by as much


def _unasked(run: Run) -> Iterator[Violation]:
    """P2, P4: what is there was asked for, whole, and was not refused."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        if not attempts or attempts[0].changes != version.changes:
            yield Violation(Check.UNASKED, f"version {version.number}, {version.request}")
        elif _definitely_refused(attempts):
            yield Violation(Check.REFUSED, f"version {version.number}, {version.request}")


def _definitely_refused(attempts: Sequence[Commit]) -> bool:
    """Tell whether no attempt can have written, nor ever will.

    A conflict is for ever, as no value comes twice: it speaks for the attempts before it, too. Any other refusal
    speaks for its own attempt alone.
    """
    last = attempts[-1]
    if last.outcome is Outcome.REFUSED and last.reason == CONFLICT:
        return True
    return all(attempt.outcome is Outcome.REFUSED for attempt in attempts)


def _ordered(run: Run) -> Iterator[Violation]:
    """P6: a commit that was asked for when a version was known comes after that version."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        known = run.known_before(attempts[0].at) if attempts else 0
        if version.number <= known:
            yield Violation(Check.ORDER, f"version {version.number} was asked for after {known} was known")


def _based(run: Run) -> Iterator[Violation]:
    """P7, and merging: a required base is the parent; nothing is overwritten that the base did not know."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        if not attempts or (base := attempts[0].base) is None:
            continue
        if attempts[0].require:
            fine = version.number == base + 1
        else:
            fine = all(_next(run.changers(key), base) >= version.number for key in version.changes)
        if not fine:
            yield Violation(Check.BASE, f"version {version.number}, made against {base}")


def _groundless(run: Run) -> Iterator[Violation]:
    """P7: a conflict names something that had been asked for by then."""
    for commit in run.history.commits:
        if commit.outcome is not Outcome.REFUSED or commit.reason != CONFLICT or commit.ended is None:
            continue
        if commit.base is None:
            yield Violation(Check.GROUNDLESS, f"{commit.request}, made against the head")
            continue
        newer = [_next(run.changers(key), commit.base) for key in commit.changes]
        first = commit.base + 1 if commit.require else min(newer)
        if first not in run.versions or run.begun(first) > commit.ended:
            yield Violation(Check.GROUNDLESS, f"{commit.request}, made against {commit.base}")


def _next(changers: Sequence[int], after: int) -> int:
    position = bisect_right(changers, after)
    return changers[position] if position < len(changers) else NEVER


def _reads(run: Run) -> Iterator[Violation]:
    """P6, P12: a read sees all that was known before it began, and what it sees is there for ever."""
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


def _acknowledged_early(run: Run) -> Iterator[Violation]:
    """P6: no version is acknowledged before all those below it were asked for."""
    for commit in run.history.commits:
        if commit.outcome is Outcome.OK and commit.ended is not None and run.begun(commit.version) > commit.ended:
            yield Violation(Check.EARLY, f"{commit.request}, acknowledged as {commit.version}")


def _backward(run: Run) -> Iterator[Violation]:
    """P13: what one client is told never goes back. A repeated commit may be answered by an old version."""
    newest: dict[str, int] = defaultdict(int)
    calls: list[Call] = [attempts[0] for attempts in run.attempts.values()]
    for call in sorted([*calls, *run.history.reads], key=_invoked):
        if call.outcome is Outcome.OK:
            if call.version < newest[call.client]:
                yield Violation(Check.BACKWARD, f"{call.client} was at {newest[call.client]}, then at {call.version}")
            newest[call.client] = call.version


def _watched(run: Run) -> Iterator[Violation]:
    """P9: a watcher's sessions, one after the other, are the history itself."""
    at: dict[str, int] = defaultdict(int)
    for seen in run.history.seen:
        if seen.version != at[seen.client] + 1:
            yield Violation(Check.WATCH, f"{seen.client} saw {seen.version} after {at[seen.client]}")
        at[seen.client] = seen.version
        version = run.versions.get(seen.version)
        if version is None or version.hash != seen.hash:
            yield Violation(Check.WRONG, f"{seen.client} was told another version {seen.version}")
        elif run.begun(seen.version) > seen.at:
            yield Violation(Check.EARLY, f"{seen.client} was told of {seen.version}")


def _resolved(run: Run) -> Iterator[Violation]:
    """P8: a commit whose answer was lost has been asked for again until there was one."""
    for request, attempts in run.attempts.items():
        if all(attempt.outcome is Outcome.INDETERMINATE for attempt in attempts):
            yield Violation(Check.OPEN, f"{request}, {len(attempts)} attempts, the last: {attempts[-1].reason}")


def _unexpected(run: Run) -> Iterator[Violation]:
    """No fault explains a bug, or any refusal but a few."""
    for call in [*run.history.commits, *run.history.reads, *run.history.watches]:
        refused = call.outcome is Outcome.REFUSED and call.reason not in EXPECTED_REFUSALS
        if refused or call.reason == BUG:
            yield Violation(Check.UNEXPECTED, f"{call.client} was answered {call.reason}")


def _rewritten(before: Final, final: Final) -> Iterator[Violation]:
    """P5: the past stays as it was."""
    now: dict[int, FinalVersion] = {version.number: version for version in final.versions}
    for version in before.versions:
        if now.get(version.number) != version:
            yield Violation(Check.REWRITTEN, f"version {version.number}")


def _idle(history: History, healthy: Sequence[Phase]) -> Iterator[Violation]:
    """See that something succeeded: a run in which nothing happens proves nothing."""
    ends = sorted(
        commit.ended for commit in history.commits if commit.outcome is Outcome.OK and commit.ended is not None
    )
    for phase in healthy:
        if bisect_left(ends, phase.begin) == bisect_right(ends, phase.end):
            yield Violation(Check.IDLE, phase.name)
    if not ends:
        yield Violation(Check.IDLE, "the whole run")


VALIDATORS: Sequence[Validator] = (
    _lost,
    _doubled,
    _contiguous,
    _unasked,
    _ordered,
    _based,
    _groundless,
    _reads,
    _acknowledged_early,
    _backward,
    _watched,
    _resolved,
    _unexpected,
)
