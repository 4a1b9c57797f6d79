"""A server that starts on a database with a long past, and the first things that it is asked."""

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
    ready, head, old, again = (
        Samples(name)
        for name in (
            "process started until ready",
            "first read of the head",
            f"first read of version {middle:,}",
            f"second read of version {middle:,}",
        )
    )
    for _ in range(scale.starts):
        _drop_from_cache(database)
        server = ServerProcess(f"sqlite:///{database}")
        with ExitStack() as stack:
            ready.time(lambda: stack.enter_context(server))  # noqa: B023 - called here and now
            stub = stack.enter_context(ours.stub_of(server.target))
            head.time(_read(stub, scale.past_keys, pb.GetVersionRequest(config=past.CONFIG)))
            read_old = _read(stub, scale.past_keys, pb.GetVersionRequest(config=past.CONFIG, version=middle))
            old.time(read_old)
            again.time(read_old)
    what = f"{scale.past_versions:,} versions of {scale.past_keys:,} keys"
    return Figure(
        "7",
        f"a database of {what}, {database.stat().st_size / 2**20:,.0f} MiB",
        [ready, head, old, again],
        checks=[
            Check(f"{what}: server ready", ready.median, must=1_500, unit="ms"),
            Check(f"{what}: first read of the head", head.median, must=50, unit="ms"),
            Check(f"{what}: first read of version {middle:,}", old.median, must=50, unit="ms"),
        ],
        remark=(
            "The system was told to drop the database's file from its cache before each start, so first reads come "
            "from the disk (or from what lies below a virtual one); the server's program stays in the cache."
        ),
    )


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
