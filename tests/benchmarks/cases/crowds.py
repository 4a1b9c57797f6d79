"""Ten thousand watchers of one server: while nothing changes, while one key changes, and when all reconnect."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack

from tests.benchmarks import floor, machine, ours
from tests.benchmarks.audience import audience
from tests.benchmarks.bench import Bench
from tests.benchmarks.cases.watches import CONFIG, WATCHED, watching
from tests.benchmarks.crowd import Crowd, Plan
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.measuring import Samples, times_in_turn
from tests.support.server import ServerProcess

SETTLING_SECONDS = 3.0
LIMIT_SECONDS = 60.0
"""After this time there are no more rounds: the result is clear then."""


def idle(bench: Bench) -> Figure:
    """Have ten thousand watchers wait without an event, at our server and at an empty one, at the same time."""
    watchers, connections = bench.scale.crowd
    interval, window = bench.scale.idle_seconds
    with ExitStack() as stack:
        server, empty = stack.enter_context(bench.server()), stack.enter_context(floor.server())
        with ours.stub_of(server.target) as stub:
            ours.load(stub, CONFIG, ours.a_map(watchers))
        sides = [_Idle("Lamina", server), _Idle("floor: empty handlers", empty)]
        for side, config in zip(sides, (CONFIG, None), strict=True):
            plan = Plan(side.target, watchers, connections, config, bookmark_seconds=interval)
            side.gather(stack.enter_context(Crowd(plan)))
        time.sleep(SETTLING_SECONDS)
        for side in sides:
            side.begin()
        time.sleep(window)
        for side in sides:
            side.end()
    lamina, least = sides
    what = f"{watchers:,} idle watchers over {connections} connections"
    return Figure(
        "W3",
        f"{what}, a bookmark every {interval} s",
        [samples for side in sides for samples in side.samples()],
        checks=[
            Check(f"{what}: growth of the server's memory (VmRSS)", lamina.grown_mib, must=400, aim=250, unit="MiB"),
            Check(f"{what}: the server's share of a core", lamina.cpu_percent, must=6, aim=2, unit="%"),
        ],
        remark=(
            f"Over {window} s, in which each watcher had {lamina.fewest} bookmarks at least ({least.fewest} of the "
            f"floor). Half of them watch a whole config of {watchers:,} keys, the others a key each, from a process of "
            "their own. The floor is an empty gRPC server in Python with as many streams, to which it writes as "
            f"often. Of the floor: memory {lamina.grown_mib / max(least.grown_mib, 0.1):.2f}x, "
            f"CPU {lamina.cpu_percent / max(least.cpu_percent, 0.1):.2f}x."
        ),
    )


class _Idle:
    """An idle server, measured from outside."""

    def __init__(self, name: str, server: ServerProcess) -> None:
        self.target = server.target
        self._name = name
        self._pid = server.pid
        self._empty_bytes = machine.resident_bytes(self._pid)

    def gather(self, crowd: Crowd) -> None:
        """Note the crowd of its watchers."""
        self._crowd = crowd

    def begin(self) -> None:
        """Begin to measure."""
        self._crowd.ask(count=True)
        self._begun = time.monotonic(), machine.cpu_seconds(self._pid)

    def end(self) -> None:
        """End the measurement."""
        seconds = time.monotonic() - self._begun[0]
        self.cpu_percent = (machine.cpu_seconds(self._pid) - self._begun[1]) / seconds * 100
        self.grown_mib = (machine.resident_bytes(self._pid) - self._empty_bytes) / 2**20
        answer = self._crowd.ask(count=True)
        self.fewest = answer["fewest"]
        assert self.fewest, "a watcher had no bookmark"
        assert not answer["lost"], "a stream was lost"

    def samples(self) -> Sequence[Samples]:
        """Return the measured values."""
        return [
            Samples(f"{self._name}: growth of memory", "MiB", [self.grown_mib]),
            Samples(f"{self._name}: share of a core", "%", [self.cpu_percent]),
            Samples(f"{self._name}: until all were open", "s", [self._crowd.opening_seconds]),
        ]


def of_other_keys(bench: Bench) -> Figure:
    """Commit to a key with one watcher, while each of ten thousand keys has a watcher, and while no other key has."""
    watchers, connections = bench.scale.crowd
    alone, among = "one watcher alone", f"the same among {watchers:,} of other keys"
    before = f"{alone}, before, on the server that the others come to"
    with bench.server() as crowded, bench.server() as other:
        bases = []
        for server in (crowded, other):
            with ours.stub_of(server.target) as stub:
                bases.append(ours.load(stub, CONFIG, ours.a_map(watchers)))

        async def measure() -> dict[str, Samples]:
            async with AsyncExitStack() as stack:
                heard, control = [
                    await stack.enter_async_context(audience(watching(server.target, base)))
                    for server, base in zip((crowded, other), bases, strict=True)
                ]
                rounds, warm_up = bench.scale.few_rounds, bench.scale.warm_up
                first = await times_in_turn({before: heard.event}, rounds, warm_up=warm_up)
                plan = Plan(crowded.target, watchers - 1, connections, CONFIG, first=1, only_keys=True)
                with Crowd(plan) as crowd:
                    sides = {among: heard.event, alone: control.event}
                    measured = await times_in_turn(sides, rounds, warm_up=warm_up, limit_seconds=LIMIT_SECONDS)
                    assert not crowd.ask(count=True)["lost"], "a stream was lost"
            return first | measured

        samples = asyncio.run(measure())
    what = f"an event among {watchers:,} watchers of {watchers:,} keys"
    return Figure(
        "W4",
        f"commit of one key of {watchers:,}, each watched by another",
        list(samples.values()),
        checks=[ratio(f"{what} vs one watcher alone, p50", samples[among], samples[alone], must=2.0, aim=1.1)],
        reference=samples[alone],
        remark=(
            "From the commit call until the event at the watcher of the key, in one process; the other watchers are in "
            "another process. Alone: on a second, equal server, in turn with the first."
        ),
    )


def coming_back(bench: Bench) -> Figure:
    """Kill a server under ten thousand watchers, start it again, commit, and wait until all have resumed."""
    watchers, connections = bench.scale.crowd
    with bench.server() as server:
        with ours.stub_of(server.target) as stub:
            base = ours.load(stub, CONFIG, ours.a_map(watchers))
        with Crowd(Plan(server.target, watchers, connections, CONFIG)) as crowd:
            changed = [WATCHED, ours.key(1)]
            crowd.ask(**{"await": base + 1, "keys": changed})
            client_seconds = machine.cpu_seconds(crowd.pid)
            killed = time.monotonic()
            server.kill()
            server.restart()
            ready = time.monotonic()
            with ours.stub_of(server.target) as stub:
                ours.Writer(CONFIG, iter(changed), base=base, width=2).through(stub)()
            committed = time.monotonic()
            answer = crowd.ask(resumed=True)
            client_seconds = machine.cpu_seconds(crowd.pid) - client_seconds
            server_seconds = machine.cpu_seconds(server.pid)
    resumed = Samples("each watcher: killed until resumed", "s", [each - killed for each in answer["resumed"]])
    last = max(resumed.values)
    what = f"{watchers:,} watchers, server killed and restarted: all resumed"
    return Figure(
        "W7",
        what,
        [
            resumed,
            Samples("killed until the last has resumed", "s", [last]),
            Samples("killed until the server is ready", "s", [ready - killed]),
            Samples("ready until a commit is answered", "s", [committed - ready]),
            Samples("ready until the last has resumed", "s", [last - (ready - killed)]),
            Samples("CPU of the new server until then", "s", [server_seconds]),
            Samples("CPU of the watchers' process until then", "s", [client_seconds]),
        ],
        checks=[Check(f"{what}, from the kill", last, must=30, aim=10, unit="s")],
        remark=(
            f"Over {connections} connections, from one process, with the SDK's channel options and pauses. Resumed: a "
            "new stream has brought a message, and to each whom it concerns the commit made after the restart: to the "
            "half that watches the whole config, and to one watcher of a single key."
        ),
    )
