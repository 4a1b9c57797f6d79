"""Finds the promises that a run has broken, from the answers to its clients and from the final state.

Pure; knows no server. Every commit writes values that no other writes, so the order of versions needs no search: all
checks together are linear in the history, except for sorting it by time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults import acknowledged, observed
from tests.faults.final_state import Final
from tests.faults.histories import History, Outcome
from tests.faults.runs import Run
from tests.faults.violations import Check, Violation


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which nothing was broken, so that something must have succeeded."""

    name: str
    begin: int
    end: int


def check(
    history: History, final: Final, *, before: Final | None = None, healthy: Sequence[Phase] = ()
) -> list[Violation]:
    """Return everything that is wrong with a run, or nothing.

    before   the final state as it was when the load had ended, before open commits were resolved
    healthy  the times in which nothing was broken
    """
    run = Run(history, final)
    validators = (*acknowledged.VALIDATORS, *observed.VALIDATORS)
    violations = [violation for validate in validators for violation in validate(run)]
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


def _rewritten(before: Final, final: Final) -> Iterator[Violation]:
    """P5: no version ever changes."""
    now = {version.number: version for version in final.versions}
    for version in before.versions:
        if now.get(version.number) != version:
            yield Violation(Check.REWRITTEN, f"version {version.number}")


def _idle(history: History, healthy: Sequence[Phase]) -> Iterator[Violation]:
    """Check that something succeeded: a run in which nothing happens proves nothing."""
    ends = sorted(
        commit.ended for commit in history.commits if commit.outcome is Outcome.OK and commit.ended is not None
    )
    for phase in healthy:
        if bisect_left(ends, phase.begin) == bisect_right(ends, phase.end):
            yield Violation(Check.IDLE, phase.name)
    if not ends:
        yield Violation(Check.IDLE, "the whole run")
