"""The start of a server on a database with a long history, and its first reads."""

import os
from contextlib import ExitStack
from pathlib import Path

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import ours, past
from tests.benchmarks.bench import CACHE, Bench
from tests.benchmarks.figures import Check, Figure
from tests.benchmarks.measuring import Call, Samples
from tests.support.server import ServerProcess


def long_past(bench: Bench) -> Figure:
    """Start a server on a million versions, read the head and the version half-way, several times."""
    scale = bench.scale
    database = past.database(CACHE, versions=scale.past_versions, keys=scale.past_keys)
    middle = scale.past_versions // 2
    start = _Start(database, scale.past_keys, middle)
    cold, warm = start.samples("not cached"), start.samples("cached")
    for _ in range(scale.starts):
        _drop_from_cache(database)
        start.measure(cold)
        start.measure(warm)
    what = f"{scale.past_versions:,} versions of {scale.past_keys:,} keys"
    ready, head, old = cold
    return Figure(
        "7",
        f"a database of {what}, {database.stat().st_size / 2**20:,.0f} MiB",
        [*cold, *warm],
        checks=[
            Check(f"{what}: server ready", ready.median, must=1_500, unit="ms"),
            Check(f"{what}: first read of the head", head.median, must=50, unit="ms"),
            Check(f"{what}: first read of version {middle:,}", old.median, must=50, unit="ms"),
        ],
        remark=(
            "Not cached: the system was told to drop the database's file from its cache before the start, so the disk "
            "(or what lies below a virtual one) has its part; the server's program stays in the cache. What must be "
            "reached is held against these."
        ),
    )


class _Start:
    """Starts a server on a database, and makes the first reads."""

    def __init__(self, database: Path, keys: int, middle: int) -> None:
        self._database = database
        self._keys = keys
        self._middle = middle

    def samples(self, state: str) -> tuple[Samples, Samples, Samples]:
        """Make the samples that `measure` fills."""
        asked = ("process started until ready", "first read of the head", f"first read of version {self._middle:,}")
        ready, head, old = (Samples(f"{each}, {state}") for each in asked)
        return ready, head, old

    def measure(self, samples: tuple[Samples, Samples, Samples]) -> None:
        """Start a server, read the head, read the version half-way, stop the server."""
        ready, head, old = samples
        server = ServerProcess(f"sqlite:///{self._database}")
        with ExitStack() as stack:
            ready.time(lambda: stack.enter_context(server))
            stub = stack.enter_context(ours.stub_of(server.target))
            head.time(_read(stub, self._keys, pb.GetVersionRequest(config=past.CONFIG)))
            old.time(_read(stub, self._keys, pb.GetVersionRequest(config=past.CONFIG, version=self._middle)))


def _read(stub: ConfigServiceStub, keys: int, request: pb.GetVersionRequest) -> Call:
    def call() -> None:
        assert len(stub.GetVersion(request).entries) == keys

    return call


def _drop_from_cache(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
