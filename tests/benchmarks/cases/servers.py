"""Two servers of one PostgreSQL: from a commit on one until its event on the other, with notices and without."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager

import psycopg
from sqlalchemy import make_url

from tests.benchmarks import machine, ours
from tests.benchmarks.audience import Side, audience
from tests.benchmarks.bench import Bench
from tests.benchmarks.cases.watches import watching
from tests.benchmarks.figures import Check, Figure
from tests.benchmarks.measuring import Samples, times_in_turn
from tests.support.postgres import DISK

KEYS = 1_000
LIMIT_SECONDS = 60.0
"""After this time there are no more rounds: the result is clear then."""


def from_one_to_another(bench: Bench) -> Figure:
    """Commit on one server, and wait for the event at a watcher of another; then do the same without notices."""
    title = "commit call on one server until the event at a watcher of another, on PostgreSQL"
    if bench.postgres is None:
        return Figure("W6", title, [], remark="Not measured: this machine has no PostgreSQL.")
    url = bench.postgres.new_database()
    with ExitStack() as stack:
        near, far = (stack.enter_context(bench.server(url)).target for _ in range(2))
        noticed = _measure(
            bench,
            {
                "watcher of another server": _side("bench/far", watcher=far, caller=near),
                "watcher of the same server": _side("bench/near", watcher=near, caller=near),
            },
        )
        with _no_notices(url):
            unnoticed = _measure(
                bench, {"of another server, notices cut off": _side("bench/cut", watcher=far, caller=near)}
            )
    event, cut = noticed["watcher of another server"], unnoticed["of another server, notices cut off"]
    return Figure(
        "W6",
        title,
        [*noticed.values(), cut],
        checks=[
            Check("commit on one server until the event on another, p50", event.median, must=20, aim=5, unit="ms"),
            Check("the same, notices cut off, p50", cut.median, must=3_000, unit="ms"),
        ],
        remark=(
            f"PostgreSQL's data is on {machine.file_system(DISK)}. Both servers, PostgreSQL and the client share this "
            "machine. Cut off: the database lacks the function that notifies, so the poll alone is left. Each commit "
            "is made as soon as the one before was heard of, just after a poll, and so waits for a whole interval."
        ),
    )


def _side(config: str, *, watcher: str, caller: str) -> Side:
    with ours.stub_of(caller) as stub:
        base = ours.load(stub, config, ours.a_map(KEYS))
    return watching(watcher, base, config=config, caller=caller)


def _measure(bench: Bench, sides: Mapping[str, Side]) -> dict[str, Samples]:
    async def measure() -> dict[str, Samples]:
        async with AsyncExitStack() as stack:
            events = {name: (await stack.enter_async_context(audience(side))).event for name, side in sides.items()}
            return await times_in_turn(
                events, bench.scale.far_events, warm_up=bench.scale.warm_up, limit_seconds=LIMIT_SECONDS
            )

    return asyncio.run(measure())


@contextmanager
def _no_notices(url: str) -> Iterator[None]:
    """Remove the function that sends notices while the block lasts."""
    place = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(place, autocommit=True) as connection:
        connection.execute("ALTER FUNCTION pg_catalog.pg_notify(text, text) RENAME TO no_pg_notify")
        try:
            yield
        finally:
            connection.execute("ALTER FUNCTION pg_catalog.no_pg_notify(text, text) RENAME TO pg_notify")
