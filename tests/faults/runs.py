"""A history and its final state, with the indexes that all validators share. Checks nothing."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

from tests.faults.final_state import Final
from tests.faults.histories import Call, Commit, History, Outcome

NEVER = 1 << 63
"""After every version, and after every time."""


class Run:
    """A history and its final state, with the indexes that the checks share."""

    def __init__(self, history: History, final: Final) -> None:
        self.history = history
        self.final = final
        self.versions = {version.number: version for version in final.versions}
        self.numbers = {version.request: version.number for version in final.versions}
        # In the order of time: the attempts that resolve an open commit are in another file than the first ones.
        self.attempts: dict[str, list[Commit]] = {}
        for commit in sorted(history.commits, key=invoked):
            self.attempts.setdefault(commit.request, []).append(commit)

    def known_before(self, time: int) -> int:
        """Return the newest version that any client had received before a time."""
        position = bisect_left(self._known[0], time)
        return self._known[1][position - 1] if position else 0

    def begun(self, version: int) -> int:
        """Return when the last commit up to a version began: no client can have seen the version earlier."""
        return self._begun[bisect_right(self._ordered, version) - 1] if version in self.versions else 0

    def changers(self, key: str) -> Sequence[int]:
        """Return the versions that changed a key, in order."""
        return self._changers.get(key, ())

    @cached_property
    def _known(self) -> tuple[list[int], list[int]]:
        """The times at which a client received a version, and the newest version known since each."""
        received = [
            (call.ended, call.version)
            for calls in (self.history.commits, self.history.reads)
            for call in calls
            if call.outcome is Outcome.OK and call.ended is not None
        ]
        received.extend((seen.at, seen.version) for seen in self.history.seen)
        received.sort()
        return [time for time, _ in received], list(accumulate((version for _, version in received), max))

    @cached_property
    def _ordered(self) -> list[int]:
        return sorted(self.versions)

    @cached_property
    def _begun(self) -> list[int]:
        # Another check reports a version that no client asked for; here it counts for nothing.
        attempts = (self.attempts.get(self.versions[number].request) for number in self._ordered)
        return list(accumulate((found[0].at if found else 0 for found in attempts), max))

    @cached_property
    def _changers(self) -> dict[str, list[int]]:
        changers: dict[str, list[int]] = defaultdict(list)
        for number in self._ordered:
            for key in self.versions[number].changes:
                changers[key].append(number)
        return changers


def following(changers: Sequence[int], after: int) -> int:
    """Return the first version after another among those that changed a key, or NEVER."""
    position = bisect_right(changers, after)
    return changers[position] if position < len(changers) else NEVER


def invoked(call: Call) -> int:
    """Return when a call was invoked, as a key to sort by."""
    return call.at
