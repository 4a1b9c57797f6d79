"""Validators of what was written: one function for each promise about commits and versions. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.faults.histories import Commit, Outcome
from tests.faults.runs import Run, following
from tests.faults.violations import Check, Violation

CONFLICT = "CONFLICT"


def _lost(run: Run) -> Iterator[Violation]:
    """P1: after an OK the version is there for ever, under its number and hash."""
    for commit in run.history.commits:
        if commit.outcome is not Outcome.OK:
            continue
        number = run.numbers.get(commit.request)
        if number is None:
            yield Violation(Check.LOST, f"{commit.request}, acknowledged as version {commit.version}")
        elif (number, run.versions[number].hash) != (commit.version, commit.hash):
            yield Violation(Check.CHANGED, f"{commit.request}, acknowledged as {commit.version}, is {number}")


def _doubled(run: Run) -> Iterator[Violation]:
    """P8: a request id has one version, and is remembered."""
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
            yield Violation(Check.GAP, f"{version.number} is where {expected} should be")
            return  # all others would be reported as well


def _unasked(run: Run) -> Iterator[Violation]:
    """P2, P4: each version was asked for, is whole, and was not refused."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        if not attempts or attempts[0].changes != version.changes:
            yield Violation(Check.UNASKED, f"version {version.number}, {version.request}")
        elif _definitely_refused(attempts):
            yield Violation(Check.REFUSED, f"version {version.number}, {version.request}")


def _definitely_refused(attempts: Sequence[Commit]) -> bool:
    """Return whether no attempt has written, and none ever will.

    A conflict is final, because no value comes twice: it holds for the attempts before it, too. Any other refusal
    holds for its own attempt alone.
    """
    last = attempts[-1]
    if last.outcome is Outcome.REFUSED and last.reason == CONFLICT:
        return True
    return all(attempt.outcome is Outcome.REFUSED for attempt in attempts)


def _ordered(run: Run) -> Iterator[Violation]:
    """P6: a commit that begins when a version is known gets a later version."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        known = run.known_before(attempts[0].at) if attempts else 0
        if version.number <= known:
            yield Violation(Check.ORDER, f"version {version.number} was asked for after {known} was known")


def _based(run: Run) -> Iterator[Violation]:
    """P7, and merging: a required base is the parent; no change after the base is overwritten."""
    for version in run.final.versions:
        attempts = run.attempts.get(version.request)
        if not attempts or (base := attempts[0].base) is None:
            continue
        if attempts[0].require:
            fine = version.number == base + 1
        else:
            fine = all(following(run.changers(key), base) >= version.number for key in version.changes)
        if not fine:
            yield Violation(Check.BASE, f"version {version.number}, made against {base}")


def _groundless(run: Run) -> Iterator[Violation]:
    """P7: a conflict is with a commit that had been asked for by then."""
    for commit in run.history.commits:
        if commit.outcome is not Outcome.REFUSED or commit.reason != CONFLICT or commit.ended is None:
            continue
        if commit.base is None:
            yield Violation(Check.GROUNDLESS, f"{commit.request}, made against the head")
            continue
        newer = [following(run.changers(key), commit.base) for key in commit.changes]
        first = commit.base + 1 if commit.require else min(newer)
        if first not in run.versions or run.begun(first) > commit.ended:
            yield Violation(Check.GROUNDLESS, f"{commit.request}, made against {commit.base}")


def _acknowledged_early(run: Run) -> Iterator[Violation]:
    """P6: no version is acknowledged before all those below it were asked for."""
    for commit in run.history.commits:
        if commit.outcome is Outcome.OK and commit.ended is not None and run.begun(commit.version) > commit.ended:
            yield Violation(Check.EARLY, f"{commit.request}, acknowledged as {commit.version}")


def _resolved(run: Run) -> Iterator[Violation]:
    """P8: a commit whose answer was lost was sent again until there was an answer."""
    for request, attempts in run.attempts.items():
        if all(attempt.outcome is Outcome.INDETERMINATE for attempt in attempts):
            yield Violation(Check.OPEN, f"{request}, {len(attempts)} attempts, the last: {attempts[-1].reason}")


VALIDATORS = (_lost, _doubled, _contiguous, _unasked, _ordered, _based, _groundless, _acknowledged_early, _resolved)
