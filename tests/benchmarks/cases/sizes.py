"""Space: the growth of the file for each commit, the memory of the server, and both compared with full copies."""

import asyncio
import random
import sqlite3
from contextlib import closing
from itertools import cycle
from pathlib import Path

import grpc

from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks import full_copy, machine, ours
from tests.benchmarks.bench import Bench
from tests.benchmarks.figures import Check, Figure, Lines
from tests.benchmarks.measuring import Samples, at_once

CONFIG = "bench/growing"
KEYS = 1_000
CALLERS = 8
"""Enough to be done soon, and few enough that there are moments for keyframes."""
FULL_COPY_ROUNDS = {1_000: 50, 10_000: 10}
"""Fewer commits if each takes long."""


def growth(bench: Bench) -> Figure:
    """Commit thousands of times, and measure the growth of the file."""
    commits = bench.scale.growth_commits
    database, grown = _grown_by(bench, KEYS, commits)
    lines, versions = (
        _count(database, f"SELECT count({what}) FROM config_value_association") for what in ("*", "DISTINCT config_id")
    )
    return Figure(
        "2",
        f"growth of the SQLite file over {commits:,} commits of 1 change, {KEYS:,} keys",
        [Samples("bytes a commit", "B", [grown])],
        checks=[Check(f"growth a commit of 1 change, {KEYS:,} keys", grown, must=1_024, aim=400, unit="B")],
        remark=(
            f"The file after a clean stop, {versions:,} keyframes with {lines:,} lines included (the first is of "
            "the map before). Each commit has a request id of 32 characters, a message and a value of 30 bytes."
        ),
    )


def against_full_copies(bench: Bench) -> Figure:
    """Commit one change to maps of several sizes: over the wire, and in process with a full copy each time."""
    times: dict[str, list[tuple[float, float]]] = {"Lamina, over the wire": [], "full copy, in process": []}
    bytes_grown: dict[str, list[tuple[float, float]]] = {"Lamina": [], "full copy": []}
    samples = []
    for size in bench.scale.recipe_sizes:
        rounds = min(FULL_COPY_ROUNDS.get(size, bench.scale.few_rounds), bench.scale.few_rounds)
        path = bench.new_database()
        with full_copy.stored(path, size) as full:
            before = _used_bytes(path)
            with bench.server() as server, ours.stub_of(server.target) as stub:
                writer = ours.Writer(CONFIG, ours.keys_all_over(size), base=ours.load(stub, CONFIG, ours.a_map(size)))
                sides = {"Lamina, over the wire": writer.through(stub), "full copy, in process": full.commit}
                measured = bench.in_turn(sides, rounds=rounds)
            copied = (_used_bytes(path) - before) / (rounds + bench.scale.warm_up)
        _, grown = _grown_by(bench, size, max(size, bench.scale.growth_commits // 10))
        for name, each in measured.items():
            times[name].append((size, each.median))
            each.name = f"{name}, {size:,} keys"
            samples.append(each)
        bytes_grown["Lamina"].append((size, grown))
        bytes_grown["full copy"].append((size, copied))
    samples += [
        Samples(f"{name}, growth a commit, {size:,} keys", "B", [value])
        for name, points in bytes_grown.items()
        for size, value in points
    ]
    return Figure(
        "recipe",
        "commit of 1 change, against a full copy of the map at every version",
        samples,
        remark=(
            "The full copies are our own models and one association a key and version, inserted in bulk; no "
            "server is in between. The published recipe makes an object of each row, and takes several times as long."
        ),
        plots=[
            Lines("committing", "Committing 1 change, median", "keys", "ms", times),
            Lines("growing", "Growth of the file a commit of 1 change", "keys", "bytes", bytes_grown),
        ],
    )


def memory(bench: Bench) -> Figure:
    """Read many configs, and measure the server's memory."""
    configs = bench.scale.held_configs
    database = bench.new_database()
    with bench.server(database) as server, ours.stub_of(server.target) as stub:
        for number in range(configs):
            ours.load(stub, f"bench/{number}", ours.a_map(KEYS))
    with bench.server(database) as server, ours.stub_of(server.target) as stub:
        before = machine.resident_mb(server.pid)
        for number in range(configs):
            ours.read_map(stub, f"bench/{number}", KEYS)()
        after = machine.resident_mb(server.pid)
    return Figure(
        "10",
        f"server memory, {configs} configs of {KEYS:,} keys",
        [Samples("just started", "MB", [before]), Samples("after each was read once", "MB", [after])],
        checks=[Check(f"memory (VmRSS) with {configs} configs of {KEYS:,} keys", after, must=150, aim=100, unit="MB")],
    )


def _grown_by(bench: Bench, size: int, commits: int) -> tuple[Path, float]:
    """Commit to a map of `size` keys, one change each; return the database, and its growth for each commit."""
    database = bench.new_database()
    with bench.server(database) as server, ours.stub_of(server.target) as stub:
        base = ours.load(stub, CONFIG, ours.a_map(size))
    before = _file_bytes(database)
    with bench.server(database) as server:
        asyncio.run(_commit_often(server.target, commits, size, base))
    return database, (_file_bytes(database) - before) / commits


async def _commit_often(target: str, commits: int, size: int, base: int) -> None:
    """Have a few callers change all keys of a map again and again, each its own keys."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = ConfigServiceStub(channel)
        own = [[ours.key(each) for each in range(first, size, CALLERS)] for first in range(CALLERS)]
        for keys in own:
            random.Random(1).shuffle(keys)
        writers = [ours.Writer(CONFIG, cycle(keys), base=base) for keys in own]
        await at_once([writer.through_async(stub) for writer in writers], commits // CALLERS)


def _file_bytes(database: Path) -> int:
    """Return the size of all files of a database that no server has open."""
    return sum(path.stat().st_size for path in database.parent.glob(f"{database.name}*"))


def _used_bytes(database: Path) -> int:
    """Return the size of a database with its write-ahead log; it may be open."""
    return _count(database, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")


def _count(database: Path, statement: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(statement).fetchone()[0])
