"""Measure commit, read, history and watch through the SDK over a real socket, on SQLite and PostgreSQL in one run.

    make bench                       # or ARGS="--rounds 2000"

Each figure is the time of one call as the caller sees it, in milliseconds: median and 99th percentile. The floor is the
standard health check on the same server: what a gRPC call costs in Python whatever it does. Machines are noisy, so
compare within one run; the rounds of the cases are interleaved for that reason.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rich.console import Console
from rich.table import Table

import lamina
from tests.support.postgres import Postgres, PostgresAbsentError
from tests.support.server import ServerProcess

SMALL, LARGE = 10, 1_000
WARM_UP_ROUNDS = 20


@dataclass
class Case:
    """One thing to measure: called once a round."""

    name: str
    call: Callable[[], object]
    milliseconds: list[float] = field(default_factory=list)

    def once(self) -> None:
        """Call it, and keep the time."""
        started = time.perf_counter()
        self.call()
        self.milliseconds.append((time.perf_counter() - started) * 1_000)

    @property
    def median(self) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def p99(self) -> float:
        """The 99th percentile, in milliseconds."""
        return statistics.quantiles(self.milliseconds, n=100)[98]


@contextmanager
def cases(target: str) -> Iterator[list[Case]]:
    """Prepare the configs that the cases work on, and give the cases."""
    with lamina.connect(target, author="bench") as client, grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        small, large = (prepare(client, size) for size in (SMALL, LARGE))
        with client.config("bench/watched", create=True).watch(after=0) as watch:
            yield [
                Case("floor: health check", lambda: health.Check(health_pb2.HealthCheckRequest())),
                Case(f"commit 1 change of {SMALL} keys", commit_one(small)),
                Case(f"commit 1 change of {LARGE:,} keys", commit_one(large)),
                Case(f"read the whole map, {SMALL} keys", lambda: client.config(small.name)),
                Case(f"read the whole map, {LARGE:,} keys", lambda: client.config(large.name)),
                Case("read at version 1", lambda: large.at(1)),
                Case("newest 10 changes of a key", lambda: list(large.history("key-0", newest_first=True, limit=10))),
                Case("commit until seen by a watch", commit_until_seen(client, watch)),
            ]


def prepare(client: lamina.Client, size: int) -> lamina.Config:
    """Make a config of `size` keys."""
    cfg = client.config(f"bench/{size}", create=True)
    cfg.update({f"key-{number}": number for number in range(size)})
    cfg.commit("prepare")
    return cfg


def commit_one(cfg: lamina.Config) -> Callable[[], object]:
    """Return a call that changes one key."""

    def call() -> None:
        cfg["key-0"] = cfg.version * 2 + 1
        cfg.commit("bench")

    return call


def commit_until_seen(client: lamina.Client, watch: lamina.Watch) -> Callable[[], object]:
    """Return a call that commits, and waits for the commit to arrive at a watch."""
    cfg = client.config("bench/watched", create=True)
    seen = watch.versions()

    def call() -> None:
        cfg["x"] = cfg.version + 1
        version = cfg.commit("bench")
        assert next(seen).version == version.number

    return call


def measure(target: str, rounds: int) -> list[Case]:
    """Run every case `rounds` times, in turn."""
    with cases(target) as all_cases:
        for number in range(WARM_UP_ROUNDS + rounds):
            for case in all_cases:
                case.once()
            if number == WARM_UP_ROUNDS - 1:
                for case in all_cases:
                    case.milliseconds.clear()
        return all_cases


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """Give the URL of a fresh database of each kind that this machine has."""
    with tempfile.TemporaryDirectory(prefix="lamina-bench-") as folder:
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'lamina.db'}"}
        try:
            with Postgres.start() as postgres:
                yield {**urls, "PostgreSQL": postgres.new_database()}
        except PostgresAbsentError as error:
            Console(stderr=True).print(f"without PostgreSQL: {error}")
            yield urls


def show(results: dict[str, list[Case]], rounds: int) -> None:
    """Print the figures, and each as a multiple of the floor."""
    table = Table(
        title=f"milliseconds, {rounds:,} rounds; Python {platform.python_version()}, grpcio {grpc.__version__}"
    )
    table.add_column("")
    for name in results:
        for column in ("median", "p99", "/ floor"):
            table.add_column(f"{name}\n{column}", justify="right")
    for row in zip(*results.values(), strict=True):
        figures = [
            f"{value:.2f}"
            for case, (floor, *_) in zip(row, results.values(), strict=True)
            for value in (case.median, case.p99, case.median / floor.median)
        ]
        table.add_row(row[0].name, *figures)
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500)
    rounds = parser.parse_args().rounds
    results = {}
    with databases() as urls:
        for name, url in urls.items():
            with ServerProcess(url) as server:
                results[name] = measure(server.target, rounds)
    show(results, rounds)


if __name__ == "__main__":
    main()
