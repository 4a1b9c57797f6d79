"""Many callers at once, in one asyncio process: commits a second against etcd, the floor, and between our databases."""

import asyncio
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import TypeAlias

import grpc
from sqlalchemy import create_engine, make_url, text

from tests.benchmarks import floor, machine, ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Bars, Check, Figure, ratio
from tests.benchmarks.measuring import RATE, AsyncCall, Samples, rates_in_turn
from tests.support.postgres import DISK, find_bindir

CONFIG = "bench/shared"
KEYS = 1_000
PGBENCH_SECONDS = 3
PGBENCH_SCRIPT = "INSERT INTO inserted(value) VALUES ('value 000000000000000000000042');\n"

Side: TypeAlias = tuple[str, Callable[[grpc.aio.Channel], Sequence[AsyncCall]]]
"""A target, and how to make the callers of it on a channel."""


def against_etcd(bench: Bench) -> Figure:
    """Have 64 callers commit to one config, put into etcd, and call the empty handler."""
    number = bench.scale.callers
    with bench.server() as server:
        request = ours.Writer(CONFIG, ours.keys_all_over(KEYS), base=1).request
        sides = {
            "Lamina: commits": _ours(bench, server.target),
            "floor: empty handler": (bench.floor, lambda channel: floor.empty_callers(channel, request, number)),
        }
        if etcd := bench.etcd:
            keys = [ours.key(each) for each in range(number)]
            sides["etcd: puts"] = (etcd.target, lambda channel: etcd.callers_on(channel, "r/", keys))
        rates = _measure(bench, sides)
    checks = [
        ratio(
            "commits/s of 64 callers vs the empty handler",
            rates["Lamina: commits"],
            rates["floor: empty handler"],
            must=0.3,
            aim=0.5,
            at_least=True,
        )
    ]
    if theirs := rates.get("etcd: puts"):
        what = "commits/s of 64 callers vs etcd puts"
        checks.insert(0, ratio(what, rates["Lamina: commits"], theirs, must=0.35, aim=0.6, at_least=True))
    return Figure(
        "4",
        f"{number} callers in one asyncio process, on one config",
        list(rates.values()),
        checks=checks,
        reference=rates["floor: empty handler"],
        remark="The same Python client process for all, one channel each: a part of every figure is the client's own.",
        plots=[_bars("throughput", f"{number} callers in one asyncio process", rates)],
    )


def on_postgresql(bench: Bench) -> Figure:
    """Have 64 callers commit on SQLite and on PostgreSQL, and pgbench insert rows in PostgreSQL."""
    title = f"{bench.scale.callers} callers on PostgreSQL and on SQLite"
    if bench.postgres is None:
        return Figure("8", title, [], remark="Not measured: this machine has no PostgreSQL.")
    url = bench.postgres.new_database()
    with ExitStack() as stack:
        sqlite, postgresql = (stack.enter_context(bench.server(each)).target for each in (None, url))
        rates = _measure(bench, {"SQLite": _ours(bench, sqlite), "PostgreSQL": _ours(bench, postgresql)})
    checks: list[Check] = [
        ratio(
            "PostgreSQL vs SQLite, commits/s of 64 callers",
            rates["PostgreSQL"],
            rates["SQLite"],
            must=0.8,
            aim=1.0,
            at_least=True,
        )
    ]
    inserts = _pgbench(bench.postgres.new_database(), bench.scale.callers)
    rates |= {each.name: each for each in inserts}
    return Figure(
        "8",
        title,
        list(rates.values()),
        checks=checks,
        remark=(
            f"PostgreSQL's data is on {machine.file_system(DISK)}. pgbench inserts one row a transaction; it is no "
            "Python, and runs after the others, by itself."
        ),
        reference=rates["SQLite"],
        plots=[_bars("databases", title, rates)],
    )


def _ours(bench: Bench, target: str) -> Side:
    with ours.stub_of(target) as stub:
        base = ours.load(stub, CONFIG, ours.a_map(KEYS))
    return target, lambda channel: ours.callers(channel, CONFIG, bench.scale.callers, base=base)


def _measure(bench: Bench, sides: Mapping[str, Side]) -> dict[str, Samples]:
    async def measure() -> dict[str, Samples]:
        async with AsyncExitStack() as stack:
            callers = {}
            for name, (target, make) in sides.items():
                channel = await stack.enter_async_context(grpc.aio.insecure_channel(target))
                callers[name] = make(channel)
            return await rates_in_turn(callers, bench.scale.rate_rounds, bench.scale.rate_seconds)

    return asyncio.run(measure())


def _pgbench(url: str, clients: int) -> Sequence[Samples]:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE inserted(id BIGINT GENERATED ALWAYS AS IDENTITY, value TEXT NOT NULL)"))
    engine.dispose()
    program = find_bindir() / "pgbench"
    if not program.exists():
        return ()
    parsed = make_url(url)
    place = ["-h", str(parsed.query["host"]), "-U", str(parsed.username), str(parsed.database)]
    samples = []
    for number in (clients, 1):
        options = ["-n", "-f", "-", "-c", str(number), "-T", str(PGBENCH_SECONDS)]
        done = subprocess.run(
            [program, *options, *place], input=PGBENCH_SCRIPT, check=True, capture_output=True, text=True
        )
        found = re.search(r"^tps = ([\d.]+)", done.stdout, re.MULTILINE)
        assert found, done.stdout
        samples.append(
            Samples(f"pgbench: one-row inserts, {number} client{'s' * (number > 1)}", RATE, [float(found[1])])
        )
    return samples


def _bars(name: str, title: str, rates: Mapping[str, Samples]) -> Bars:
    return Bars(name, title, "a second", {each: samples.median for each, samples in rates.items()})
