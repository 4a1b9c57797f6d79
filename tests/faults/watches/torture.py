"""The long forms of the watch's trials, for `make torture`: each returns its figures, and what breaks a promise."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.nemesis import running
from tests.faults.watches.campaign import Plan, run
from tests.faults.watches.crowds import GROWTH_BYTES, MIB, SLOWER, many, slow_reader
from tests.faults.watches.silence import FREED_SECONDS, NOTICED_SECONDS, frozen, half_open
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

SLOW_COMMITS, SLOW_READ_SECONDS = 1_000, 1.0
MANY_WATCHES, MANY_CONNECTIONS = 5_000, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked for on the command line, and where files may go."""

    folder: Path
    seed: int
    versions: int
    watchers: int
    cuts: int
    kills: int
    on_fault: Callable[[int], object]

    @property
    def url(self) -> str:
        """A SQLite file in the folder."""
        return f"sqlite:///{self.folder / 'lamina.db'}"


@dataclass(slots=True)
class Outcome:
    """The result of a trial: its figures by name, and what breaks a promise."""

    figures: Mapping[str, str]
    broken: list[str] = field(default_factory=list)


def _run(order: Order, servers: Sequence[ServerProcess], url: str) -> Outcome:
    result = run(
        Plan(
            servers=servers,
            url=url,
            folder=order.folder,
            seed=order.seed,
            versions=order.versions,
            watchers=order.watchers,
            cuts=order.cuts,
            kills=order.kills,
            verifies=True,
            on_fault=order.on_fault,
        )
    )
    figures = {
        "seed": str(result.seed),
        "versions": f"{result.versions:,}",
        "watchers": f"{len(result.watchers):,}",
        "versions received, in all": f"{result.events:,}",
        "parts of split versions": f"{result.parts:,}",
        "cuts on the way": f"{sum(result.struck.values()) - result.struck['server']:,}",
        "streams that were cut": f"{result.streams_cut:,}",
        "streams cancelled": f"{result.streams_cancelled:,}",
        "kills of a server": f"{result.struck['server']:,}",
        "violations": f"{len(result.breaches):,}",
    }
    return Outcome(figures, [result.explain()] if result.breaches or result.unfinished else [])


def _on_sqlite(order: Order) -> Outcome:
    with running([ServerProcess(order.url)], order.folder) as servers:
        return _run(order, servers, order.url)


def _on_postgresql(order: Order) -> Outcome:
    with Postgres.start() as postgres:
        url = postgres.new_database()
        with running([ServerProcess(url), ServerProcess(url)], order.folder) as servers:
            return _run(order, servers, url)


def _frozen(_: Order) -> Outcome:
    with Postgres.start() as postgres:
        seconds = asyncio.run(frozen(postgres.new_database()))
    noticed = {
        "the SDK went on after": seconds.sdk_seconds,
        "the SDK for asyncio went on after": seconds.aio_seconds,
        "a stream ended after": seconds.stub_seconds,
    }
    return _within(noticed, dict.fromkeys(noticed, NOTICED_SECONDS))


def _half_open(order: Order) -> Outcome:
    seconds = asyncio.run(half_open(order.url))
    figures = {"the SDK went on after": seconds.resumed_seconds, "the server closed it after": seconds.freed_seconds}
    return _within(figures, {"the SDK went on after": NOTICED_SECONDS, "the server closed it after": FREED_SECONDS})


def _within(seconds: Mapping[str, float], limits: Mapping[str, float]) -> Outcome:
    figures = {name: f"{value:.1f} s (limit {limits[name]:.0f})" for name, value in seconds.items()}
    return Outcome(figures, [f"{name} {value:.1f} s" for name, value in seconds.items() if value >= limits[name]])


def _slow(order: Order) -> Outcome:
    with ServerProcess(order.url) as server:
        slow = asyncio.run(slow_reader(server, commits=SLOW_COMMITS, read_seconds=SLOW_READ_SECONDS))
    without, beside = slow.p99_seconds
    figures = {
        "commits, one message a second": f"{SLOW_COMMITS:,}",
        "memory grew, half of them without": f"{slow.growth_bytes[0] / MIB:.1f} MiB",
        "memory grew, half beside it": f"{slow.growth_bytes[1] / MIB:.1f} MiB (limit {GROWTH_BYTES / MIB:.0f} more)",
        "the others' p99, without": f"{without * 1e3:.1f} ms",
        "the others' p99, beside it": f"{beside * 1e3:.1f} ms ({slow.slower:.2f}x, limit {SLOWER:.0f}x)",
        "versions behind at the end": f"{slow.behind:,}",
        "versions it never got": f"{slow.missing:,}",
    }
    broken = [
        text
        for text, fine in (
            ("the server's memory grew", slow.more_bytes < GROWTH_BYTES),
            ("the others became slower", slow.is_bearable),
            ("versions are missing", not slow.missing),
        )
        if not fine
    ]
    return Outcome(figures, broken)


def _many(order: Order) -> Outcome:
    with ServerProcess(order.url) as server:
        served = asyncio.run(many(server, watches=MANY_WATCHES, connections=MANY_CONNECTIONS))
    figures = {
        "watches at once": f"{MANY_WATCHES:,}",
        "got their first bookmark": f"{served.bookmarked:,}, in {served.open_seconds:.1f} s",
        "got their event": f"{served.received:,}, in {served.received_seconds:.1f} s",
    }
    complete = served.bookmarked == served.received == MANY_WATCHES
    return Outcome(figures, [] if complete else ["watches were dropped"])


TRIALS: Mapping[str, Callable[[Order], Outcome]] = {
    "watch-sqlite": _on_sqlite,
    "watch-postgresql-2": _on_postgresql,
    "watch-frozen": _frozen,
    "watch-half-open": _half_open,
    "watch-slow": _slow,
    "watch-many": _many,
}
CUT_AND_KILLED = frozenset({"watch-sqlite", "watch-postgresql-2"})
"""The trials with many faults, one after the other."""
