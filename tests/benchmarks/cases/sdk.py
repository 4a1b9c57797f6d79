"""The SDK as its users see it: reads of keys in memory, its import, and the opening of configs."""

import subprocess
import sys
import threading
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import lamina
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.measuring import Call, Samples

CONFIG = "bench/sdk"
READS_AT_ONCE = 20_000
"""So many that the time of the clock and of the loop does not matter."""
NANOSECONDS = "ns"

VALUE_BYTES = 600
LARGEST_KEYS_AT_ONCE = 5_000
"""Keys in one commit of the largest map: a commit may have 4 MiB."""
COMMIT_EVERY_SECONDS = 0.02

TIMEOUT_SECONDS = 1.0
FOLLOW = f"""
import sys, time
began = time.perf_counter()
from lamina import connect
imported = time.perf_counter()
live = connect(sys.argv[1], cache_dir=sys.argv[2], timeout=float(sys.argv[3])).live({CONFIG!r})
live["{ours.key(0)}"]
print(imported - began, time.perf_counter() - imported, live.state)
"""
"""The program of a new interpreter that follows a config."""

IMPORT = "import time; before = time.perf_counter(); {}; print(time.perf_counter() - before)"
"""The program of a new interpreter that imports: the interpreter's own start is not measured."""


def local_reads(bench: Bench) -> Figure:
    """Read one key of a plain dict of 1,000 keys and of the SDK's objects of the same map, many times."""
    size = 1_000
    plain = ours.a_map(size)
    with bench.server() as server, ours.stub_of(server.target) as stub, lamina.connect(server.target) as client:
        ours.load(stub, CONFIG, plain)
        config = client.config(CONFIG)
        sides: dict[str, Any] = {"dict": plain, "config": config, "live": client.live(CONFIG), "snapshot": config.at(1)}
        samples = {name: Samples(f'{name}["x"]', NANOSECONDS) for name in sides}
        for _ in range(bench.scale.few_rounds):
            for name, mapping in sides.items():
                samples[name].values.append(_nanoseconds(mapping, ours.key(size // 2)))
    return Figure(
        "S1",
        "reading a key of what is here already",
        list(samples.values()),
        checks=[
            ratio(f'{name}["x"] vs a plain dict, p50', samples[name], samples["dict"], must=10, aim=4)
            for name in sides
            if name != "dict"
        ],
        remark=f"Of {size:,} keys, one that was read before; {READS_AT_ONCE:,} reads are one measurement.",
        reference=samples["dict"],
    )


def imports(bench: Bench) -> Figure:
    """Import Lamina, its clients' dependencies, and gRPC alone, each in an interpreter of its own."""
    grpc = "import grpc"
    statements = [
        grpc,
        "import lamina",
        "from lamina import connect",
        "from lamina.aio import connect",
        f"{grpc}; from google.protobuf import struct_pb2",
    ]
    samples = {statement: Samples(statement) for statement in statements}
    for number in range(1 + bench.scale.interpreters):
        for statement, each in samples.items():
            taken = _import(statement)
            if number:  # the first import compiles modules
                each.values.append(taken)
    return Figure(
        "S2",
        "imports, each in a new interpreter",
        list(samples.values()),
        checks=[ratio("import lamina vs import grpc, p50", samples["import lamina"], samples[grpc], must=1.25, aim=1)],
        remark=(
            "`import lamina` brings neither gRPC nor protobuf: they come with the first client. The rows of `connect` "
            "are all that a client needs, gRPC and protobuf included, which the last row has without ours."
        ),
        reference=samples[grpc],
    )


def opening(bench: Bench) -> Figure:
    """Open a config of 10,000 keys; open it and read every key; and read the same map by bare stubs."""
    size = 10_000
    with bench.server() as server, ours.stub_of(server.target) as stub, lamina.connect(server.target) as client:
        ours.load(stub, CONFIG, ours.a_map(size))
        read = ours.read_map(stub, CONFIG, size)
        sides: dict[str, Call] = {
            "bare stubs": read,
            "client.config(name)": lambda: client.config(CONFIG),
            "dict(client.config(name))": lambda: dict(client.config(CONFIG)),
        }
        samples = bench.in_turn(sides, rounds=bench.scale.few_rounds)
    opened = samples["client.config(name)"]
    return Figure(
        "S3",
        f"opening a config of {size:,} keys",
        list(samples.values()),
        checks=[Check(f"opening a config of {size:,} keys, p50", opened.median, must=15, unit="ms")],
        remark="Values are decoded when they are first read: in the last row that is all of them.",
        reference=samples["bare stubs"],
    )


def largest(bench: Bench) -> Figure:
    """Open the largest config that a server accepts: after its start, again from memory, and while others commit."""
    size, starts = bench.scale.largest_keys
    database = bench.new_database()
    with bench.server(database) as server, ours.stub_of(server.target) as stub:
        head = ours.load(stub, CONFIG, _large_map(size), at_once=LARGEST_KEYS_AT_ONCE)
    cold, warm, moving = (Samples(f"opened {when}") for when in ("first", "again", "while others commit"))
    writer = ours.Writer(CONFIG, ours.keys_all_over(size), base=head)
    for _ in range(starts):
        with (
            bench.server(database) as server,
            ours.stub_of(server.target) as stub,
            lamina.connect(server.target) as client,  # with the default timeout
        ):
            opening = partial(client.config, CONFIG)
            cold.time(opening)
            warm.time(opening)
            with _meanwhile(writer.through(stub)):
                moving.time(opening)
    mebibytes = size * (VALUE_BYTES + len(ours.key(0))) / 2**20
    return Figure(
        "S4",
        f"opening a config of {size:,} keys, {mebibytes:,.0f} MiB",
        [cold, warm, moving],
        checks=[
            Check(f"{size:,} keys, {each.name}, the slowest", each.worst, must=10_000, aim=5_000, unit="ms")
            for each in (cold, warm, moving)
        ],
        remark=(
            "First: by a server that has just started, and reads all of it from its database, checking every digest. "
            "What must be reached is `timeout`, after which a verb gives up. While others commit, pages are of a "
            "version that is not the head any more."
        ),
    )


def without_server(bench: Bench) -> Figure:
    """Follow a config in new processes without a server, from the last-known-good file of an earlier process."""
    size, starts, cache = 10_000, bench.scale.interpreters, bench.folder / "cache"
    with bench.server() as server, ours.stub_of(server.target) as stub:
        ours.load(stub, CONFIG, ours.a_map(size))
        followed = _follow(server.target, cache, timeout=60.0)
        assert followed.state == "LIVE"
        server.kill()
        offline = [_follow(server.target, cache, timeout=TIMEOUT_SECONDS) for _ in range(starts)]
    assert all(each.state == "OFFLINE" for each in offline)
    live = Samples("connect and live(name)", values=[each.live for each in offline])
    imports = Samples("imports, before that", values=[each.imports for each in offline])
    return Figure(
        "S5",
        f"following a config of {size:,} keys while no server is there",
        [live, imports],
        checks=[Check("the slowest start, beyond `timeout`", live.worst - TIMEOUT_SECONDS * 1_000, must=50, unit="ms")],
        remark=f"New processes, with a timeout of {TIMEOUT_SECONDS:g} s and a last-known-good file.",
    )


class _Followed(NamedTuple):
    """The milliseconds in which a process imported Lamina, and connected and followed; and the state that it got."""

    imports: float
    live: float
    state: str


def _follow(target: str, cache: Path, *, timeout: float) -> _Followed:
    program = [sys.executable, "-c", FOLLOW, target, str(cache), str(timeout)]
    printed = subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()
    return _Followed(float(printed[0]) * 1_000, float(printed[1]) * 1_000, printed[2])


def _nanoseconds(mapping: Any, key: str) -> float:
    """Return how many nanoseconds one read takes."""
    seconds = timeit.timeit("mapping[key]", globals={"mapping": mapping, "key": key}, number=READS_AT_ONCE)
    return seconds / READS_AT_ONCE * 1e9


def _import(statement: str) -> float:
    """Return how many milliseconds a statement takes in a new interpreter."""
    program = [sys.executable, "-c", IMPORT.format(statement)]
    return float(subprocess.run(program, capture_output=True, text=True, check=True).stdout) * 1_000


def _large_map(size: int) -> dict[str, str]:
    return {ours.key(number): ours.text(number).ljust(VALUE_BYTES, ".") for number in range(size)}


@contextmanager
def _meanwhile(call: Call) -> Iterator[None]:
    """Call again and again, in a thread of its own, while the block lasts."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(COMMIT_EVERY_SECONDS):
            call()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
