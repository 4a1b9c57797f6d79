"""One run of watchers: they watch a few configs while writers race, streams are cut and servers are killed.

Then what each has received is compared with the tables. Knows no kind of watcher, and no guarantee by name.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.nemesis import server_kill
from tests.faults.proxy import PASS, Proxy
from tests.faults.reading import broken_rows, from_database
from tests.faults.violations import Violation
from tests.faults.watches.cutting import cuts
from tests.faults.watches.guarantees import Breach, breaches
from tests.faults.watches.logbook import Logbook
from tests.faults.watches.records import Cursor, Filter, Part, Truth, Watcher, dump, events
from tests.faults.watches.watchers import Watchers
from tests.faults.watches.writers import BLOBS, FOLDERS, RARE_KEY, SMALL_KEYS, Writers
from tests.support.server import ServerProcess

CONFIGS = ("torture/one", "torture/two", "torture/three")
CATCH_UP_SECONDS = 60.0
"""How long the last watcher may take to receive the last version, after all faults: a stream may be half-open, and its
watcher leaves it after 15 s."""
_WANT_ALL = (3, 4, 8)
LARGE_SHARE, LARGE_LEAST = 1 / 500, 3
"""The share of versions that are larger than a message, and the least number of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is to be done, to which servers.

    servers   up, over one database, with this URL
    folder    where the histories go if something is wrong
    versions  of all configs together
    verifies  whether `lamina-server verify` also checks the database in the end
    on_fault  called after each fault, with how many versions are acknowledged by then
    """

    servers: Sequence[ServerProcess]
    url: str
    folder: Path
    seed: int
    versions: int
    watchers: int
    cuts: int
    kills: int
    verifies: bool = False
    on_fault: Callable[[int], object] = lambda _: None


@dataclass(slots=True)
class Result:
    """The result of a run."""

    seed: int
    watchers: Sequence[Watcher] = field(repr=False)
    versions: int
    breaches: Sequence[Breach | Violation]
    struck: Counter[str]
    streams_cut: int
    streams_cancelled: int
    unfinished: Sequence[str]

    @property
    def sessions(self) -> int:
        """How many streams there were; the SDK's own resumptions are not counted."""
        return sum(len(watcher.sessions) for watcher in self.watchers)

    @property
    def events(self) -> int:
        """How many versions all watchers received."""
        return events(self.watchers)

    @property
    def parts(self) -> int:
        """How many parts of versions came that said `more`."""
        items = (item for watcher in self.watchers for session in watcher.sessions for item in session.received)
        return sum(isinstance(item, Part) and item.more for item in items)

    def explain(self, limit: int = 20) -> str:
        """Describe what is broken, and how to repeat the run."""
        first = "\n".join(map(str, self.breaches[:limit]))
        unfinished = ", ".join(self.unfinished) or "none"
        return f"seed {self.seed}: {len(self.breaches)} breaches, not finished: {unfinished}\n{first}"


def run(plan: Plan) -> Result:
    """Carry out a plan, and judge it."""
    dice = random.Random(plan.seed)
    direct = [server.target for server in plan.servers]
    large = max(LARGE_LEAST, round(plan.versions * LARGE_SHARE))
    with ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(target, seed=plan.seed)) for target in direct]
        faults = [*cuts(proxies, plan.cuts, dice), *[server_kill(plan.servers)] * plan.kills]
        dice.shuffle(faults)
        writers = stack.enter_context(Writers(CONFIGS, direct, versions=plan.versions, large=large, seed=plan.seed))
        logs = [_logbook(number, writers, dice, plan.seed) for number in range(plan.watchers)]
        watchers = stack.enter_context(Watchers(logs, [proxy.target for proxy in proxies]))
        watchers.wait_until_begun(CATCH_UP_SECONDS)
        writers.start()
        between = writers.left // (len(faults) + 1)
        for fault in faults:
            writers.release(between)
            writers.progress.wait_for(dice.randint(1, between))
            fault.strike(dice)
            plan.on_fault(writers.progress.acknowledged)
        writers.finish()
        for proxy in proxies:
            proxy.switch(PASS)
        watchers.wait(CATCH_UP_SECONDS)
        unfinished = [log.watcher.name for log in logs if not log.done]  # before they are stopped
    return _judged(plan, logs, Counter(fault.name for fault in faults), unfinished)


def _judged(plan: Plan, logs: Sequence[Logbook], struck: Counter[str], unfinished: Sequence[str]) -> Result:
    truths = {config: Truth(from_database(plan.url, config)) for config in CONFIGS}
    watchers = [log.watcher for log in logs]
    found = [breach for watcher in watchers for breach in breaches(watcher, truths[watcher.config])]
    if found or unfinished:
        dump(watchers, plan.folder)
    return Result(
        seed=plan.seed,
        watchers=watchers,
        versions=sum(truth.head for truth in truths.values()),
        breaches=[*found, *(broken_rows(plan.url) if plan.verifies else [])],
        struck=struck,
        streams_cut=sum(log.cuts for log in logs),
        streams_cancelled=sum(log.cancels for log in logs),
        unfinished=unfinished,
    )


def _logbook(number: int, writers: Writers, dice: random.Random, seed: int) -> Logbook:
    config = writers.configs[number % len(writers.configs)]
    header = dice.choice(writers.first[config])
    start = dice.choice([None, Cursor(0), Cursor(header.version, header.hash.hex())])
    return Logbook(f"watcher-{number}", config, _filter(number, dice), start, seed)


def _filter(number: int, dice: random.Random) -> Filter:
    """Draw a filter. On each config a watcher with the stubs wants all keys, and sees the parts of large versions."""
    if number % 10 in _WANT_ALL:
        return Filter()
    kinds = (
        Filter(),
        Filter(keys=tuple(dice.sample(SMALL_KEYS, dice.randint(1, 3)))),
        Filter(prefixes=(dice.choice(FOLDERS),)),
        Filter(prefixes=(BLOBS, dice.choice(FOLDERS))),
        Filter(keys=(dice.choice(SMALL_KEYS), RARE_KEY), prefixes=(dice.choice(SMALL_KEYS)[:3],)),
        Filter(keys=(RARE_KEY,)),
    )
    return dice.choice(kinds)
