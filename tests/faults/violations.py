"""The checks by name, and one violation. Knows neither histories nor how they are checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """The checks, each with the text of its violation."""

    LOST = "an acknowledged version is lost"
    DOUBLED = "a request id has more than one version"
    GAP = "versions are not exactly 1..head"
    CHANGED = "an acknowledged version has another number or hash now"
    UNASKED = "a version is there that no client asked for"
    REFUSED = "a version is there that was refused"
    FORGOTTEN = "a version's request id is not remembered"
    ORDER = "the order of versions contradicts the order in time"
    BASE = "a version was written over changes that its base did not know"
    GROUNDLESS = "a conflict was reported where there is none"
    STALE = "a read did not see what was acknowledged before it"
    EARLY = "a version was seen before its commit began"
    WRONG = "a client saw something that the version does not hold"
    BACKWARD = "a client got an older version than before"
    WATCH = "a watcher missed a version, or saw it twice"
    OPEN = "an indeterminate commit was never resolved"
    REWRITTEN = "a version has changed since the load ended"
    DISAGREEMENT = "two places show different histories"
    IDLE = "nothing succeeded while nothing was broken"
    UNEXPECTED = "an answer that no fault explains"


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise."""

    check: Check
    text: str

    def __str__(self) -> str:
        return f"{self.check.name}: {self.check}: {self.text}"


def count(violations: Sequence[Violation]) -> Counter[Check]:
    """Count violations by check."""
    return Counter(violation.check for violation in violations)
