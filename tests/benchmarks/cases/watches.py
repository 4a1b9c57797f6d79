"""From a commit to its watchers: one, and a thousand, compared with etcd and the floor."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from tests.benchmarks import floor, machine, ours
from tests.benchmarks.audience import Side, audience
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.measuring import Samples, times_in_turn
from tests.benchmarks.peers.etcd import Etcd
from tests.support.server import ServerProcess

CONFIG = "bench/watched"
KEYS = 1_000
WATCHED = ours.key(0)
CPU = "ms of CPU"


def one_watcher(bench: Bench) -> Figure:
    """Commit, and wait for the commit to arrive at the one watcher of its key."""
    with _sides(bench) as sides:
        samples = _measure(bench, sides, streams=1, connections=1, rounds=bench.scale.rounds)
    return Figure(
        "W1",
        "commit call until the event at one watcher",
        list(samples.values()),
        checks=_against_etcd(samples, "commit call until the event at a watcher", must=2.0, aim=1.3),
        remark=(
            "Each side is called, and listened to, by the same asyncio process through its generated stubs, on two "
            "connections. Until the event: from before the call is sent until the watcher has its message."
        ),
        reference=samples["floor: empty handlers"],
    )


def many_watchers(bench: Bench) -> Figure:
    """Commit, and wait until the commit has arrived on the last of a thousand streams."""
    streams, connections = bench.scale.streams
    with _sides(bench) as sides:
        samples = _measure(bench, sides, streams=streams, connections=connections, rounds=bench.scale.events)
    what = f"one event to {streams:,} streams"
    return Figure(
        "W2",
        f"{what}, until the last has it",
        list(samples.values()),
        checks=_against_etcd(samples, what, must=1.3, aim=1.0),
        remark=(
            f"Each side has {streams:,} streams with one watch of the same key each, over {connections} connections to "
            "the same asyncio process, which takes its part of every figure: it reads and parses each message. CPU: of "
            "all of the server's threads, its watching and its committing; a busy machine changes it least."
        ),
        reference=samples["floor: empty handlers"],
    )


def until_seen(bench: Bench) -> Figure:
    """Commit, and wait for the commit to arrive at a watch."""
    with bench.server() as server, lamina.connect(server.target) as client:
        config = client.config(CONFIG, create=True)
        with config.watch(after=0) as watch:
            seen = watch.versions()

            def call() -> None:
                config["x"] = ours.new_text()
                version = config.commit("bench")
                assert next(seen).version == version.number

            samples = bench.in_turn({"commit until seen by a watch": call})
    return Figure("watch", "commit until seen by a watch, through the SDK", list(samples.values()))


def watching(target: str, base: int, *, config: str = CONFIG, caller: str | None = None) -> Side:
    """Watch the key of a config that changes, perhaps at another server than the caller's."""
    request = pb.WatchKeyHistoryRequest(config=config, keys=[WATCHED])
    return Side(
        target,
        watch=lambda channel: ours.watch(channel, request),
        change=lambda channel: ours.callers(channel, config, 1, base=base)[0],
        is_event=lambda message: len(message.changes) > 0,
        caller=caller,
    )


@contextmanager
def _sides(bench: Bench) -> Iterator[Mapping[str, Side]]:
    with bench.server() as server:
        with ours.stub_of(server.target) as stub:
            base = ours.load(stub, CONFIG, ours.a_map(KEYS))
        lamina_side = replace(watching(server.target, base), pid=server.pid)
        sides = {"Lamina: commit": lamina_side, "floor: empty handlers": _floor(bench.floor_server)}
        if etcd := bench.etcd:
            sides["etcd: put"] = _etcd(etcd)
        yield sides


def _etcd(etcd: Etcd) -> Side:
    prefix = "watched/"
    return Side(
        etcd.target,
        watch=lambda channel: etcd.watch(channel, prefix + WATCHED),
        change=lambda channel: etcd.callers_on(channel, prefix, [WATCHED])[0],
        is_event=lambda message: len(message.events) > 0,
        pid=etcd.pid,
    )


def _floor(server: ServerProcess) -> Side:
    return Side(
        server.target,
        watch=floor.watch,
        change=lambda channel: floor.sending(channel, bytes(200)),  # about as many as an event of ours has
        is_event=bool,
        pid=server.pid,
    )


def _measure(
    bench: Bench, sides: Mapping[str, Side], *, streams: int, connections: int, rounds: int
) -> dict[str, Samples]:
    async def measure() -> dict[str, Samples]:
        async with AsyncExitStack() as stack:
            audiences = {
                name: await stack.enter_async_context(audience(side, streams=streams, connections=connections))
                for name, side in sides.items()
            }
            events = {name: each.event for name, each in audiences.items()}
            before = _cpu_ms(sides)
            samples = await times_in_turn(events, rounds, warm_up=bench.scale.warm_up)
            after = _cpu_ms(sides)
        others = [
            Samples(f"{name}, its own answer", values=each.answered_ms[-rounds:]) for name, each in audiences.items()
        ]
        number = rounds + bench.scale.warm_up
        others += [
            Samples(f"{name}, CPU of the server", CPU, [(after[name] - before[name]) / number]) for name in sides
        ]
        return samples | {each.name: each for each in others}

    return asyncio.run(measure())


def _cpu_ms(sides: Mapping[str, Side]) -> Mapping[str, float]:
    return {name: machine.cpu_seconds(side.pid) * 1_000 for name, side in sides.items() if side.pid}


def _against_etcd(samples: Mapping[str, Samples], what: str, *, must: float, aim: float) -> list[Check]:
    theirs = samples.get("etcd: put")
    return [ratio(f"{what} vs etcd, p50", samples["Lamina: commit"], theirs, must=must, aim=aim)] if theirs else []
