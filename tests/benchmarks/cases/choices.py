"""Lamina beside the servers that a team may choose instead, all in one run on one disk."""

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

import lamina
import lamina.aio
from tests.benchmarks import floor, machine, ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Bars, Check, Figure, ratio
from tests.benchmarks.measuring import RATE, AsyncCall, Call, Samples, calls_within
from tests.benchmarks.peers.etcd import Etcd
from tests.benchmarks.peers.peer import Peer, WatchedPeer
from tests.benchmarks.peers.zookeeper import ZooKeeper

CONFIG = "bench/choices"
KEYS = 1_000
CPU = "ms of CPU"
CALLED_SECONDS = 30.0

SDK, STUBS, EMPTY = "Lamina: SDK", "Lamina: bare stubs", "floor: empty handler"
ETCD, ZOOKEEPER, DATA_WATCH = Etcd.name, ZooKeeper.name, ZooKeeper.watch_name
ON_CHANGE = "Lamina: live.on_change"
DURABLE = "synced before the answer (synchronous=FULL)"


def one_caller(bench: Bench) -> Figure:
    """Write one value again and again, through the client of each server."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(bench.server()) for _ in range(2))  # so that each has its own CPU
        client = stack.enter_context(lamina.connect(first.target))
        stub = stack.enter_context(ours.stub_of(second.target))
        config = client.config(CONFIG, create=True)
        config.update(ours.a_map(KEYS))
        config.commit("bench")
        writer = ours.Writer(CONFIG, ours.keys_all_over(KEYS), base=ours.load(stub, CONFIG, ours.a_map(KEYS)))
        sides = {
            SDK: _Metered(_through_sdk(config), first.pid),
            STUBS: _Metered(writer.through(stub), second.pid),
            EMPTY: _Metered(floor.empty(bench.floor_channel, writer.request()), bench.floor_server.pid),
        }
        for peer in bench.peers:
            sides[peer.name] = _Metered(stack.enter_context(peer.put()), peer.pid)
        samples = bench.in_turn(sides)
        costs = [cost for name, side in sides.items() for cost in side.costs(name)]
    return Figure(
        "K1",
        "one caller writes one value",
        [*samples.values(), *costs],
        checks=_check(samples, SDK, ZOOKEEPER, "SDK commit of 1 change vs ZooKeeper's set, p50", must=1.0, aim=0.8),
        remark=_durable(bench.peers),
        reference=samples[EMPTY],
    )


def many_callers(bench: Bench) -> Figure:
    """Let 64 callers in one asyncio process write, each to a key of its own."""
    rates, costs = asyncio.run(_rates(bench, bench.peers))  # which may need an event loop of their own to start
    at_least = partial(_check, rates, at_least=True)
    checks = [
        *at_least(STUBS, ETCD, "64 callers, bare stubs vs etcd puts", must=0.4, aim=0.6),
        *at_least(STUBS, EMPTY, "64 callers, bare stubs vs the empty handler", must=0.55, aim=0.7),
        *at_least(SDK, STUBS, "64 callers, lamina.aio vs bare stubs", must=0.6, aim=0.8),
    ]
    return Figure(
        "K3",
        f"{bench.scale.callers} callers in one asyncio process, on one config",
        [*rates.values(), *costs],
        checks=checks,
        remark="One client or channel for all callers of a side. " + _durable(bench.peers),
        reference=rates[EMPTY],
        plots=[Bars("choices", "64 callers write", "a second", {name: each.median for name, each in rates.items()})],
    )


def until_called(bench: Bench) -> Figure:
    """Write, and wait until the client has called the function that watches."""
    with ExitStack() as stack, bench.server() as server:
        client = stack.enter_context(lamina.connect(server.target))
        sides: dict[str, Call] = {ON_CHANGE: stack.enter_context(_on_change(client))}
        for peer in bench.peers:
            if isinstance(peer, WatchedPeer):
                sides[peer.watch_name] = stack.enter_context(peer.until_called())
        samples = bench.in_turn(sides)
    what = "commit until live.on_change vs ZooKeeper's DataWatch, p50"
    return Figure(
        "K6",
        "from a write until the function is called that watches it",
        list(samples.values()),
        checks=_check(samples, ON_CHANGE, DATA_WATCH, what, must=1.0, aim=0.7),
        remark="The process that writes has the watch, too. " + _durable(bench.peers),
        reference=samples[ON_CHANGE],
    )


class _Metered:
    """A call, and what it costs: the CPU that this process and the server spend on it."""

    def __init__(self, call: Call, server: int) -> None:
        self._call = call
        self._server = server
        self._server_before = machine.cpu_seconds(server)
        self._client_ms = 0.0
        self._calls = 0

    def __call__(self) -> None:
        started = time.process_time()
        self._call()
        self._client_ms += (time.process_time() - started) * 1_000
        self._calls += 1

    def costs(self, name: str) -> Sequence[Samples]:
        server_ms = (machine.cpu_seconds(self._server) - self._server_before) * 1_000
        return _costs(name, client_ms=self._client_ms / self._calls, server_ms=server_ms / self._calls)


def _costs(name: str, *, client_ms: float, server_ms: float) -> Sequence[Samples]:
    ends = {"client": client_ms, "server": server_ms}
    return [Samples(f"{name}, CPU of the {end}", CPU, [spent]) for end, spent in ends.items()]


async def _rates(bench: Bench, peers: Sequence[Peer]) -> tuple[dict[str, Samples], Sequence[Samples]]:
    """Measure all sides in turn, in slices of time; return calls a second, and what a call costs both ends."""
    async with AsyncExitStack() as stack:
        server = stack.enter_context(bench.server())
        enter = stack.enter_async_context
        sides = {
            SDK: (await enter(sdk_callers(server.target, bench.scale.callers)), server.pid),
            STUBS: (await enter(stub_callers(server.target, bench.scale.callers)), server.pid),
            EMPTY: (await enter(empty_callers(bench.floor, bench.scale.callers)), bench.floor_server.pid),
        }
        for peer in peers:
            sides[peer.name] = (await enter(peer.callers(bench.scale.callers)), peer.pid)
        rates = {name: Samples(name, RATE) for name in sides}
        spent = {name: _Spent() for name in sides}
        for number, (name, (callers, pid)) in itertools.product(range(1 + bench.scale.rate_rounds), sides.items()):
            before = time.process_time(), machine.cpu_seconds(pid)
            calls, seconds = await calls_within(callers, bench.scale.rate_seconds)
            if number:  # the first is a warm-up
                rates[name].values.append(calls / seconds)
                spent[name].add(calls, time.process_time() - before[0], machine.cpu_seconds(pid) - before[1])
    return rates, [cost for name, each in spent.items() for cost in each.costs(name)]


@dataclass(slots=True)
class _Spent:
    calls: int = 0
    client_seconds: float = 0.0
    server_seconds: float = 0.0

    def add(self, calls: int, client_seconds: float, server_seconds: float) -> None:
        self.calls += calls
        self.client_seconds += client_seconds
        self.server_seconds += server_seconds

    def costs(self, name: str) -> Sequence[Samples]:
        client_ms, server_ms = (1_000 * each / self.calls for each in (self.client_seconds, self.server_seconds))
        return _costs(name, client_ms=client_ms, server_ms=server_ms)


def _through_sdk(config: lamina.Config) -> Call:
    keys = ours.keys_all_over(KEYS)

    def call() -> None:
        config[next(keys)] = ours.new_text()
        config.commit("bench")

    return call


@contextmanager
def _on_change(client: lamina.Client) -> Iterator[Call]:
    config = client.config(CONFIG, create=True)
    config["x"] = ours.new_text()
    config.commit("bench")
    live = client.live(CONFIG)
    called = threading.Event()
    live.on_change(lambda _: called.set())

    def call() -> None:
        called.clear()
        config["x"] = ours.new_text()
        config.commit("bench")
        assert called.wait(CALLED_SECONDS)

    yield call


@asynccontextmanager
async def sdk_callers(target: str, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
    """Yield callers that commit through `lamina.aio`, each to a key of its own."""
    async with lamina.aio.connect(target) as client:
        first = await client.config(CONFIG, create=True)
        first.update(ours.a_map(KEYS))
        await first.commit("bench")
        configs = [await client.config(CONFIG) for _ in range(number)]

        def caller(config: lamina.aio.Config, key: str) -> AsyncCall:
            async def call() -> None:
                config[key] = ours.new_text()
                await config.commit("bench")

            return call

        yield [caller(config, ours.key(each)) for each, config in enumerate(configs)]


@asynccontextmanager
async def stub_callers(target: str, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
    """Yield callers that do the same through bare stubs."""
    config = CONFIG + "/stubs"
    with ours.stub_of(target) as stub:
        base = ours.load(stub, config, ours.a_map(KEYS))
    async with grpc.aio.insecure_channel(target) as channel:
        yield ours.callers(channel, config, number, base=base)


@asynccontextmanager
async def empty_callers(target: str, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
    """Yield callers of the empty handler, with requests of the same size."""
    request = ours.Writer(CONFIG, ours.keys_all_over(KEYS), base=1).request
    async with grpc.aio.insecure_channel(target) as channel:
        yield floor.empty_callers(channel, request, number)


def _check(samples: Mapping[str, Samples], mine: str, theirs: str, what: str, **limits: Any) -> Sequence[Check]:
    """Compare two sides, unless one was left out."""
    return [ratio(what, samples[mine], samples[theirs], **limits)] if theirs in samples else []


def _durable(peers: Sequence[Peer]) -> str:
    promises = {"Lamina": DURABLE} | {peer.name.partition(":")[0]: peer.durable for peer in peers}
    return "What an answer promises: " + "; ".join(f"{name}: {each}" for name, each in promises.items()) + "."
