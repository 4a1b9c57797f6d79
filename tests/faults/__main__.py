"""Kill servers and databases again and again, under load and with watchers, and check that nothing is lost.

This is the long form of tests/faults.

    make torture                                       # all of it
    make torture ARGS="--kills 20 --only sqlite"
    make torture ARGS="--only watch"                   # watchers through cuts, kills, silence and crowds
    make torture ARGS="--only watch-sqlite --versions 1000 --watchers 20"
    make torture ARGS="--only count"                   # 50 processes that count in one key, while servers are killed
    make torture ARGS="--kills 200 --between 100"      # 10,000 commits each
    make torture ARGS="--seed 7 --keep /tmp/torture"   # the same kills as before, histories kept

If a promise was broken, it says which, keeps the histories and exits with 1.
"""

import argparse
import secrets
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.faults import counting
from tests.faults.campaign import BETWEEN_MOST, Plan, Result, run
from tests.faults.nemesis import Fault, mixture, running, server_kill
from tests.faults.violations import Check
from tests.faults.watches import torture as watches
from tests.faults.watches.torture import CUT_AND_KILLED, Outcome
from tests.support.postgres import Postgres, PostgresAbsentError
from tests.support.server import ServerProcess

TRIALS = {**watches.TRIALS, **counting.TRIALS}
KINDS = {"watch": watches.TRIALS, "count": counting.TRIALS}
"""Groups of trials that `--only` knows by one name."""
BACKEND_SHARE, POSTMASTER_SHARE = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for, of one campaign."""

    folder: Path
    kills: int
    seed: int
    between: int
    on_fault: Callable[[int], object]

    def run(self, servers: Sequence[ServerProcess], url: str, faults: Sequence[Fault]) -> Result:
        """Run the campaign against servers that are up."""
        return run(
            Plan(
                servers=servers,
                url=url,
                folder=self.folder,
                faults=faults,
                seed=self.seed,
                between=self.between,
                on_fault=self.on_fault,
            )
        )


Campaign = Callable[[Order], Result]


def on_sqlite(order: Order) -> Result:
    """Kill the one server that SQLite has."""
    url = f"sqlite:///{order.folder / 'lamina.db'}"
    with running([ServerProcess(url)], order.folder) as servers:
        return order.run(servers, url, [server_kill(servers)] * order.kills)


def on_postgresql(order: Order, *, count: int) -> Result:
    """Kill servers that share a PostgreSQL, its backends and its postmaster."""
    backends, postmasters = ceil(order.kills * BACKEND_SHARE), ceil(order.kills * POSTMASTER_SHARE)
    counts = (order.kills - backends - postmasters, backends, postmasters)
    with Postgres.start() as postgres:
        url = postgres.new_database()
        with running([ServerProcess(url) for _ in range(count)], order.folder) as servers:
            return order.run(servers, url, mixture(servers, postgres, url, order.seed, counts))


CAMPAIGNS: Mapping[str, Campaign] = {
    "sqlite": on_sqlite,
    "postgresql": partial(on_postgresql, count=1),
    "postgresql-2": partial(on_postgresql, count=2),
}


@contextmanager
def _bar(console: Console, name: str, kills: int) -> Iterator[Callable[[int], None]]:
    """Show the progress on a terminal, and how many commits were acknowledged."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("faults, {task.fields[acknowledged]:,} commits"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=kills, acknowledged=0)
        yield lambda acknowledged: progress.update(task, advance=1, acknowledged=acknowledged)


def _torture(name: str, arguments: argparse.Namespace, console: Console) -> Result:
    folder = Path(tempfile.mkdtemp(prefix=f"lamina-torture-{name}-", dir=arguments.keep))
    keep = True
    try:
        with _bar(console, name, arguments.kills) as on_fault:
            order = Order(folder, arguments.kills, arguments.seed, arguments.between, on_fault)
            result = CAMPAIGNS[name](order)
        keep = bool(result.violations or arguments.keep)
    finally:
        if keep:
            console.print(f"{name}: seed {arguments.seed}, histories in {folder}", soft_wrap=True)
        else:
            shutil.rmtree(folder)
    if result.violations:
        console.print(result.explain(), style="red", markup=False, soft_wrap=True)
    return result


def show(results: Mapping[str, Result], console: Console) -> None:
    """Print the result of each run."""
    table = Table(title="kill -9 under 16 clients")
    table.add_column("")
    for name in results:
        table.add_column(name, justify="right")
    for label, figure in FIGURES.items():
        table.add_row(label, *(figure(result) for result in results.values()))
    console.print(table)


def _try(name: str, arguments: argparse.Namespace, console: Console) -> Outcome:
    """Run a trial."""
    folder = Path(tempfile.mkdtemp(prefix=f"lamina-torture-{name}-", dir=arguments.keep))
    keep = True
    faults = arguments.cuts + arguments.watch_kills if name in CUT_AND_KILLED else 1
    try:
        with _bar(console, name, faults) as on_fault:
            outcome = TRIALS[name](
                watches.Order(
                    folder=folder,
                    seed=arguments.seed,
                    versions=arguments.versions,
                    watchers=arguments.watchers,
                    cuts=arguments.cuts,
                    kills=arguments.watch_kills,
                    on_fault=on_fault,
                )
            )
        keep = bool(outcome.broken or arguments.keep)
    finally:
        if keep:
            console.print(f"{name}: seed {arguments.seed}, histories in {folder}", soft_wrap=True)
        else:
            shutil.rmtree(folder)
    for text in outcome.broken:
        console.print(text, style="red", markup=False, soft_wrap=True)
    return outcome


def show_trials(outcomes: Mapping[str, Outcome], console: Console) -> None:
    """Print the result of each trial."""
    table = Table("", "", "", title="watchers and counters under faults")
    for name, outcome in outcomes.items():
        for number, (label, figure) in enumerate(outcome.figures.items()):
            table.add_row("" if number else name, label, figure, end_section=number == len(outcome.figures) - 1)
    console.print(table)


def _kills(*names: str) -> Callable[[Result], str]:
    return lambda result: f"{sum(fault.name in names for fault in result.struck):,}"


def _violations(*checks: Check) -> Callable[[Result], str]:
    return lambda result: f"{sum(violation.check in checks for violation in result.violations):,}"


def _outage(quantile: Callable[[Sequence[float]], float]) -> Callable[[Result], str]:
    return lambda result: f"{quantile(result.outages_seconds()):.2f} s" if len(result.struck) > 1 else "-"


FIGURES: Mapping[str, Callable[[Result], str]] = {
    "kills of a server": _kills("server"),
    "kills of a backend": _kills("backend"),
    "kills of the postmaster": _kills("postmaster"),
    "commits acknowledged": lambda result: f"{result.acknowledged:,}",
    "whose answer was lost": lambda result: f"{result.indeterminate:,}",
    "of these resolved": lambda result: f"{result.resolved:,}",
    "versions": lambda result: f"{len(result.final.versions):,}",
    "reads": lambda result: f"{len(result.history.reads):,}",
    "lost": _violations(Check.LOST, Check.CHANGED),
    "doubled": _violations(Check.DOUBLED, Check.FORGOTTEN),
    "gaps": _violations(Check.GAP),
    "everything else": _violations(
        *(set(Check) - {Check.LOST, Check.CHANGED, Check.DOUBLED, Check.FORGOTTEN, Check.GAP})
    ),
    "outage, median": _outage(statistics.median),
    "outage, 99th percentile": _outage(lambda seconds: statistics.quantiles(seconds, n=100, method="inclusive")[98]),
    "seed": lambda result: str(result.seed),
}


def main() -> None:
    """Run what the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="on each kind of database")
    parser.add_argument("--between", type=int, default=BETWEEN_MOST, help="most commits between two kills")
    choices = [*CAMPAIGNS, *KINDS, *TRIALS]
    parser.add_argument("--only", choices=choices, action="append", help="default: all; watch: all watch-...")
    parser.add_argument("--versions", type=int, default=10_000, help="that the watchers receive")
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--cuts", type=int, default=300, help="of the network between watchers and servers")
    parser.add_argument("--watch-kills", type=int, default=20, help="of the servers of watchers")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--keep", type=Path, help="a folder in which histories and databases stay")
    arguments = parser.parse_args()
    console = Console()
    asked = arguments.only or [*CAMPAIGNS, *KINDS]
    results: dict[str, Result] = {}
    outcomes: dict[str, Outcome] = {}
    try:
        for name in dict.fromkeys(one for wanted in asked for one in KINDS.get(wanted, [wanted])):
            if name in CAMPAIGNS:
                results[name] = _torture(name, arguments, console)
            else:
                outcomes[name] = _try(name, arguments, console)
    except PostgresAbsentError as error:
        console.print(f"[red]without PostgreSQL:[/red] {error}")
        sys.exit(1)
    finally:
        if results:
            show(results, console)
        if outcomes:
            show_trials(outcomes, console)
    sys.exit(any(result.violations for result in results.values()) or any(one.broken for one in outcomes.values()))


if __name__ == "__main__":
    main()
