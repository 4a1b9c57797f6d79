"""Measures the way of a commit: what both ends spend on it, and each stage in the server."""

import asyncio
import itertools
import json
import signal
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import NamedTuple

from tests.benchmarks import machine
from tests.benchmarks.bench import Bench
from tests.benchmarks.cases.choices import empty_callers, sdk_callers, stub_callers
from tests.benchmarks.measuring import at_once, calls_within
from tests.benchmarks.where import server
from tests.support.server import ServerProcess

COUNTED_CALLS = 5
SDK, STUBS, EMPTY = "sdk", "stubs", "empty"


class Ends(NamedTuple):
    """What one call takes, in microseconds: on the wall, and of CPU at both ends."""

    wall: float
    client: float
    server: float


class Stage(NamedTuple):
    """Calls of a stage, and microseconds of one call: the median on the wall, and the mean of CPU."""

    calls: int
    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Served:
    """What was measured in a server whose stages are timed.

    stages      by name
    threads     the microseconds of CPU of each thread, and of the process, for each commit
    cost        what it takes to measure a stage
    calls       that the SDK makes for each commit
    statements  of SQL, by their first words, for each group
    """

    stages: Mapping[str, Stage]
    threads: Mapping[str, float]
    cost: float
    calls: float
    statements: Mapping[str, float]

    @property
    def commits(self) -> int:
        """How many commits the stages are of."""
        return self.stages[server.HANDLER].calls

    @property
    def group(self) -> float:
        """The commits of one transaction."""
        return self.commits / self.stages[server.FROM_WRITER].calls

    def spent(self, *names: str) -> tuple[float, float]:
        """Return what stages take for each commit: on the wall, and of CPU."""
        stages = [stage for name in names if (stage := self.stages.get(name))]
        wall, cpu = (sum(each.calls * each.wall for each in stages), sum(each.calls * each.cpu for each in stages))
        return wall / self.commits, cpu / self.commits


class Way(NamedTuple):
    """All that was measured of the commits of so many callers; `ends` by kind of call."""

    ends: Mapping[str, Ends]
    served: Served

    def beyond(self, more: str, less: str) -> tuple[float, float]:
        """Return what a kind of call takes more than another for its caller: on the wall, and of the client's CPU."""
        mine, others = self.ends[more], self.ends[less]
        return mine.wall - others.wall, mine.client - others.client


def way_of(bench: Bench, number: int) -> Way:
    """Measure the commits of so many callers."""
    return Way(asyncio.run(_ends(bench, number)), served(bench, number))


async def _ends(bench: Bench, number: int) -> Mapping[str, Ends]:
    """Measure what so many callers' calls take, each kind in turn in slices of time; the first is a warm-up."""
    async with AsyncExitStack() as stack:
        enter, ours = stack.enter_async_context, stack.enter_context(bench.server())
        sides = {
            SDK: (await enter(sdk_callers(ours.target, number)), ours.pid),
            STUBS: (await enter(stub_callers(ours.target, number)), ours.pid),
            EMPTY: (await enter(empty_callers(bench.floor, number)), bench.floor_server.pid),
        }
        slices: dict[str, list[Ends]] = {name: [] for name in sides}
        for round_, (name, (callers, pid)) in itertools.product(range(1 + bench.scale.rate_rounds), sides.items()):
            client, served = time.process_time(), machine.cpu_seconds(pid)
            calls, wall = await calls_within(callers, bench.scale.rate_seconds)
            spent = wall, time.process_time() - client, machine.cpu_seconds(pid) - served
            if round_:
                slices[name].append(Ends(*(seconds * 1_000_000 / calls for seconds in spent)))
    return {name: _best(each) for name, each in slices.items()}


def _best(slices: Sequence[Ends]) -> Ends:
    """Return the quickest slice's time on the wall, which other programs change most, and the medians of CPU."""
    wall, client, server_ = zip(*slices, strict=True)
    return Ends(min(wall), statistics.median(client), statistics.median(server_))


def served(bench: Bench, number: int) -> Served:
    """Measure the stages of so many callers' commits, and count calls and statements."""
    database = bench.new_database()
    output = database.with_suffix(".json")
    program = [sys.executable, "-m", server.__name__, f"sqlite:///{database}", str(output)]
    with ServerProcess.of_program(program) as running:
        asyncio.run(_drive(running, number, bench.scale.rate_seconds * bench.scale.rate_rounds))
    result = json.loads(output.read_text(encoding="utf-8"))
    stages = {name: Stage(*values) for name, values in result["stages"].items()}
    commits = stages[server.HANDLER].calls
    threads = {name: us / commits for name, us in result["threads_us"].items()}
    statements = {word: count / result["statements"]["COMMIT"] for word, count in result["statements"].items()}
    return Served(stages, threads, result["cost_us"], result["calls"] / result["counted"], statements)


async def _drive(running: ServerProcess, number: int, seconds: float) -> None:
    told = itertools.count(1)

    def tell(signal_: int) -> None:
        running.signal(signal_)
        running.until_logged(server.HEARD.format(next(told)))

    async with stub_callers(running.target, number) as callers:
        await calls_within(callers, seconds / 4)  # a warm-up
        tell(signal.SIGUSR1)
        await calls_within(callers, seconds)
        tell(signal.SIGUSR2)
    async with sdk_callers(running.target, number) as callers:
        await at_once(callers, 1)
        tell(signal.SIGUSR2)
        await at_once(callers, COUNTED_CALLS)
