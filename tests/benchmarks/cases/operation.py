"""What an operator sees: a server's start and memory, what metrics and traces cost, and what a second worker brings."""

import re
import shutil
import struct
import subprocess
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from lamina_protos.v1 import lamina_pb2 as pb
from tests.benchmarks import ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, ratio
from tests.benchmarks.machine import resident_mb
from tests.benchmarks.measuring import RATE, Call, Samples
from tests.support.server import ServerProcess

STARTS = 20
CONFIG, SIZE = "bench/small", 10
CONNECTIONS, READERS = 8, 64
PARTS = 9
"""Connections are shared out among the workers by chance, so each part of a measurement makes new ones."""
READS = 6_000
FINISHED = re.compile(r"^finished in .*?, (?P<rate>[\d.]+) req/s", re.MULTILINE)
SUCCEEDED = re.compile(r"\b(?P<calls>\d+) succeeded\b")


def empty_start(bench: Bench) -> Figure:
    """Start a server on no file, again and again, and look at its memory."""
    ready, memory = Samples("process started until ready"), Samples("memory (VmRSS)", "MB")
    for _ in range(STARTS):
        server = ServerProcess(f"sqlite:///{bench.new_database()}")
        with ExitStack() as stack:
            ready.time(partial(stack.enter_context, server))
            memory.values.append(resident_mb(server.pid))
    return Figure(
        "O1",
        "a first start, on SQLite",
        [ready, memory],
        checks=[
            Check("a first start on SQLite, until ready, p50", ready.median, must=1_000, aim=600, unit="ms"),
            Check("memory at idle (VmRSS)", memory.median, must=90, aim=70, unit="MB"),
        ],
    )


def with_metrics(bench: Bench) -> Figure:
    """Read a small map, and commit one change, at a server without metrics and at one with metrics, in turn."""
    sides: dict[str, Call] = {}
    with ExitStack() as stack:
        for side, arguments in {"off": (), "on": ("--metrics-listen", "localhost:0")}.items():
            server = stack.enter_context(ServerProcess(f"sqlite:///{bench.new_database()}", *arguments))
            stub = stack.enter_context(ours.stub_of(server.target))
            base = ours.load(stub, CONFIG, ours.a_map(SIZE))
            sides[f"read, metrics {side}"] = partial(stub.GetVersion, pb.GetVersionRequest(config=CONFIG))
            writer = ours.Writer(CONFIG, ours.keys_all_over(SIZE), base=base)
            sides[f"commit, metrics {side}"] = writer.through(stub)
        samples = bench.in_turn(sides)
    return Figure(
        "O2",
        "metrics on and off",
        list(samples.values()),
        checks=[
            ratio(
                f"{what}, metrics on vs off, p50",
                samples[f"{what}, metrics on"],
                samples[f"{what}, metrics off"],
                must=1.05,
                aim=1.02,
            )
            for what in ("read", "commit")
        ],
    )


def two_workers(bench: Bench) -> Figure:
    """Read a small map by 64 readers over 8 connections, from one worker and from two, in turn."""
    title = f"{READERS} readers over {CONNECTIONS} connections, by the number of workers, on PostgreSQL"
    if bench.postgres is None or shutil.which("h2load") is None:
        return Figure("O3", title, [], remark="Not measured: this needs PostgreSQL, and h2load (nghttp2-client).")
    url = bench.postgres.new_database()
    samples = [Samples(f"--workers {number}", RATE) for number in (1, 2)]
    with ExitStack() as stack:
        servers = [stack.enter_context(ServerProcess(url, "--workers", str(number))) for number in (1, 2)]
        with ours.stub_of(servers[0].target) as stub:
            ours.load(stub, CONFIG, ours.a_map(SIZE))
        body = bench.folder / "read"
        body.write_bytes(_framed(pb.GetVersionRequest(config=CONFIG).SerializeToString()))
        for part in range(1 + PARTS):
            for server, each in zip(servers, samples, strict=True):
                rate = _reads_per_second(server.target, body)
                if part:  # the first one is a warm-up
                    each.values.append(rate)
    one, two = samples
    return Figure(
        "O3",
        title,
        samples,
        checks=[ratio("--workers 2 vs 1, reads/s", two, one, must=1.5, aim=1.8, at_least=True)],
        remark=(
            "The client is h2load, which needs little of the two cores that all share: a client in Python would need"
            " more of them than the server. The system shares the connections out by chance, three to five at times."
        ),
        reference=one,
    )


def _reads_per_second(target: str, body: Path) -> float:
    streams = READERS // CONNECTIONS
    program = ["h2load", "-c", str(CONNECTIONS), "-m", str(streams), "-n", str(READS), "-d", str(body)]
    program += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    program += [f"http://{target}/lamina.v1.ConfigService/GetVersion"]
    printed = subprocess.run(program, check=True, capture_output=True, text=True).stdout
    rate, succeeded = FINISHED.search(printed), SUCCEEDED.search(printed)
    assert rate, printed
    assert succeeded, printed
    assert int(succeeded["calls"]) == READS, printed
    return float(rate["rate"])


def _framed(message: bytes) -> bytes:
    """Return a message as gRPC sends it: not compressed, its length before it."""
    return struct.pack(">BI", 0, len(message)) + message
