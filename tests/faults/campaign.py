"""One run: faults hit servers under load, one after the other; then all is checked. Knows no kind of fault."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.faults import histories
from tests.faults.checker import Phase, check
from tests.faults.clients import Client, Intent
from tests.faults.final_state import Final
from tests.faults.histories import Commit, History, Outcome, Recorder
from tests.faults.load_processes import PROCESSES, Loads
from tests.faults.nemesis import Fault
from tests.faults.reading import broken_file, broken_rows, compare_everywhere, from_database
from tests.faults.violations import Check, Violation, count
from tests.support.server import ServerProcess

CONFIG = "torture/prod"
WARM_UP, BETWEEN_LEAST, BETWEEN_MOST, AT_LAST = 30, 5, 40, 30
"""How many commits are acknowledged before the first fault, between two faults (drawn), and after the last."""
JITTER_SECONDS = 0.01
"""A pause that is drawn in addition: otherwise each kill would come just when an answer has left."""
RESENT = 100
"""How many acknowledged commits are sent again in the end, and must get the same answer."""
RESOLVING_TRIES = 10


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault, and its times."""

    name: str
    at: int
    recovered: int


@dataclass(slots=True)
class Result:
    """The result of a run."""

    seed: int
    history: History = field(repr=False)
    final: Final = field(repr=False)
    violations: list[Violation]
    struck: list[Struck] = field(default_factory=list)

    @property
    def acknowledged(self) -> int:
        """How many commits were acknowledged."""
        return len({commit.request for commit in self.history.commits if commit.outcome is Outcome.OK})

    @property
    def indeterminate(self) -> int:
        """How many commits lost an answer at least once."""
        return len({c.request for c in self.history.commits if c.outcome is Outcome.INDETERMINATE})

    @property
    def resolved(self) -> int:
        """How many of the indeterminate commits got a definite answer in the end."""
        open_ = sum(violation.check is Check.OPEN for violation in self.violations)
        return self.indeterminate - open_

    def outages_seconds(self) -> list[float]:
        """Return for each fault how long it took until a commit that began after it was acknowledged."""
        answered = sorted((c.at, c.ended) for c in self.history.commits if c.outcome is Outcome.OK and c.ended)
        return [
            (min(ended for at, ended in answered if at > fault.at) - fault.at) / 1e9
            for fault in self.struck
            if any(at > fault.at for at, _ in answered)
        ]

    def explain(self, limit: int = 20) -> str:
        """Describe what is broken, and how to repeat the run."""
        counts = ", ".join(f"{number} {name.name}" for name, number in count(self.violations).items())
        first = "\n".join(map(str, self.violations[:limit]))
        return f"seed {self.seed}: {counts}\n{first}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which faults are to hit which servers.

    faults   the kinds, in the order in which they strike
    url      the database of all servers
    folder   an empty one, for the histories
    between  how many commits are acknowledged between two faults, at most
    watchers how many watch all the time
    on_fault called after each fault, with how many commits are acknowledged by then
    """

    servers: Sequence[ServerProcess]
    url: str
    folder: Path
    faults: Sequence[Fault]
    seed: int
    between: int = BETWEEN_MOST
    watchers: int = PROCESSES
    on_fault: Callable[[int], object] = lambda _: None


def run(plan: Plan) -> Result:
    """Carry out a plan, and check the result."""
    targets = [server.target for server in plan.servers]
    prepare(targets, plan.folder)
    dice = random.Random(plan.seed)
    with Loads(CONFIG, targets, plan.folder, seed=plan.seed, watchers=plan.watchers) as loads:
        loads.wait_for(WARM_UP)
        struck = [_strike(fault, loads, dice, plan) for fault in plan.faults]
        begin = time.monotonic_ns()
        loads.wait_for(AT_LAST)
        healthy = [Phase("after the last fault", begin, time.monotonic_ns())]
    result = judge(plan.url, targets, plan.folder, seed=plan.seed, healthy=[*healthy, *_between(struck)])
    result.struck = struck
    return result


def judge(url: str, targets: Sequence[str], folder: Path, *, seed: int, healthy: Sequence[Phase] = ()) -> Result:
    """Resolve the open commits, read the final state from everywhere, and check everything."""
    before = from_database(url, CONFIG)
    _resolve(targets, folder, random.Random(seed))
    final = from_database(url, CONFIG)
    history = histories.load(folder)
    violations = check(history, final, before=before, healthy=healthy)
    violations += compare_everywhere(final, CONFIG, targets) + broken_file(url) + broken_rows(url)
    return Result(seed, history, final, violations)


def prepare(targets: Sequence[str], folder: Path) -> None:
    """Make the config, so that every read of a load finds one."""
    with Client(CONFIG, targets, Recorder(folder, "creator")) as client:
        answer = client.commit(Intent("creator-1", {"created": "creator-1"}, base=0))
    assert answer.outcome is Outcome.OK, answer


def _strike(fault: Fault, loads: Loads, dice: random.Random, plan: Plan) -> Struck:
    loads.wait_for(dice.randint(BETWEEN_LEAST, max(BETWEEN_LEAST, plan.between)))
    time.sleep(dice.uniform(0, JITTER_SECONDS))  # a random moment; nothing is waited for
    at = time.monotonic_ns()
    fault.strike(dice)
    plan.on_fault(loads.acknowledged)
    return Struck(fault.name, at, time.monotonic_ns())


def _between(struck: Sequence[Struck]) -> list[Phase]:
    """Return the times between faults; each begins when the fault before it was repaired."""
    return [
        Phase(f"before fault {number}", one.recovered, other.at)
        for number, (one, other) in enumerate(pairwise(struck), start=2)
    ]


def _resolve(targets: Sequence[str], folder: Path, dice: random.Random) -> None:
    """Send the open commits again under their request ids until they are answered, and some that were answered."""
    commits = histories.load(folder).commits
    answered = {commit.request: commit for commit in commits if commit.outcome is not Outcome.INDETERMINATE}
    open_ = {commit.request: commit for commit in commits if commit.request not in answered}
    done = [commit for commit in answered.values() if commit.outcome is Outcome.OK]
    with Client(CONFIG, targets, Recorder(folder, "resolver")) as client:
        for commit in [*open_.values(), *dice.sample(done, min(RESENT, len(done)))]:
            for _ in range(RESOLVING_TRIES):
                if client.commit(_intent(commit)).outcome is not Outcome.INDETERMINATE:
                    break


def _intent(commit: Commit) -> Intent:
    return Intent(commit.request, commit.changes, base=commit.base, require=commit.require)
