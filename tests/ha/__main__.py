"""Start three PostgreSQL with Patroni, etcd and HAProxy, and two Lamina servers; and take their leaders away.

    make ha-up                                     # starts all, prints the addresses, and runs until Ctrl-C
    make ha-torture                                # ten failovers, and the control without synchronous replication
    make ha-torture ARGS="--failovers 3 --only synchronous --keep /tmp"
    make ha-torture ARGS="--without-haproxy"       # the servers know the addresses of all three PostgreSQL

All processes are in a namespace of their own, so none outlives this program, however it ends.
"""

import argparse
import os
import secrets
import shutil
import signal
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.faults.campaign import Plan, Result, run
from tests.faults.nemesis import running
from tests.faults.violations import Check, count
from tests.ha.cluster import Cluster
from tests.ha.failovers import KINDS, cut_off, outages, silences, stalled
from tests.support.server import ServerProcess

PROGRAMS = ("patroni", "etcd", "haproxy", "unshare")
NAMESPACE = "LAMINA_HA_NAMESPACE"
SERVERS, WATCHERS, BETWEEN, CONTROLS = 2, 50, 200, 2
MUST_SECONDS = 25.0, 45.0
"""The outage of a committing client, median and 95th percentile."""
LOSSES = frozenset({Check.LOST, Check.CHANGED})


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["up", "torture"])
    parser.add_argument("--failovers", type=int, default=10)
    parser.add_argument("--only", choices=["synchronous", "control"])
    parser.add_argument("--without-haproxy", action="store_true")
    parser.add_argument("--watchers", type=int, default=WATCHERS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--keep", type=Path, help="a folder in which histories, logs and databases stay")
    arguments = parser.parse_args()
    _enter_namespace()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(soft_wrap=True)
    with suppress(KeyboardInterrupt):
        if arguments.command == "up":
            _up(arguments, console)
        else:
            sys.exit(not _torture(arguments, console))


def _enter_namespace() -> None:
    """Replace this process by one in a namespace of processes, whose end ends all others; a shell reaps orphans."""
    if os.environ.get(NAMESPACE):
        return
    path = f"{os.environ['PATH']}:/usr/sbin"
    missing = [program for program in PROGRAMS if not shutil.which(program, path=path)]
    if missing or os.geteuid() != 0:
        sys.exit(f"this needs root, and {', '.join(PROGRAMS)} (missing: {', '.join(missing) or 'none'})")
    shell = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-m", "tests.ha", *sys.argv[1:]]
    program = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *shell]
    os.execvpe(program[0], program, {**os.environ, NAMESPACE: "1"})


def _up(arguments: argparse.Namespace, console: Console) -> None:
    with (
        _folder("up", arguments.keep) as folder,
        Cluster(folder, synchronous=arguments.only != "control") as cluster,
        running(_servers(cluster, arguments), folder) as servers,
    ):
        console.print("Lamina:    ", *(server.target for server in servers))
        console.print("database:  ", cluster.url.replace("+psycopg", ""), "(through HAProxy)")
        console.print("PostgreSQL:", cluster.all_hosts)
        console.print("settings and logs:", str(folder))
        console.print("patronictl:", f"patronictl -c {folder}/one/patroni.yml list")
        signal.pause()


def _torture(arguments: argparse.Namespace, console: Console) -> bool:
    """Return whether everything held, and the control showed its loss."""
    fine = True
    if arguments.only != "control":
        result = _run(arguments, console, synchronous=True)
        result.violations += stalled(result)
        fine = _show(result, console)
    if arguments.only != "synchronous":
        control = _run(arguments, console, synchronous=False)
        losses = {check.name: number for check, number in count(control.violations).items() if check in LOSSES}
        console.print(f"control, asynchronous, {len(control.struck)} leaders cut off: found {losses or 'no loss'}")
        fine = fine and bool(losses)
    return fine


def _run(arguments: argparse.Namespace, console: Console, *, synchronous: bool) -> Result:
    name = "synchronous" if synchronous else "control"
    with (
        _folder(name, arguments.keep) as folder,
        Cluster(folder, synchronous=synchronous) as cluster,
        running(_servers(cluster, arguments), folder) as servers,
    ):
        histories = folder / "histories"
        histories.mkdir()
        kinds = [KINDS[number % len(KINDS)] for number in range(arguments.failovers)]
        faults = [kind(cluster) for kind in kinds] if synchronous else [cut_off(cluster)] * CONTROLS
        return run(
            Plan(
                servers=servers,
                url=cluster.url,
                folder=histories,
                faults=faults,
                seed=arguments.seed,
                between=BETWEEN,
                watchers=arguments.watchers,
                on_fault=lambda acknowledged: console.print(f"{name}: a failover, {acknowledged:,} commits"),
            )
        )


def _servers(cluster: Cluster, arguments: argparse.Namespace) -> Sequence[ServerProcess]:
    url = cluster.all_hosts if arguments.without_haproxy else cluster.url
    return [ServerProcess(url) for _ in range(SERVERS)]


@contextmanager
def _folder(name: str, keep: Path | None) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"lamina-ha-{name}-", dir=keep))
    folder.chmod(0o755)  # the programs run as another account
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _show(result: Result, console: Console) -> bool:
    """Print the figures; return whether they are good."""
    seconds = outages(result)
    median, late = statistics.median(seconds), statistics.quantiles(seconds, n=20, method="inclusive")[18]
    unheard = silences(result)
    found = count(result.violations)
    table = Table("", "", title="failovers under 16 clients")
    for label, figure in {
        "leaders lost": ", ".join(f"{n} {name}" for name, n in Counter(one.name for one in result.struck).items()),
        "commits acknowledged": f"{result.acknowledged:,}",
        "whose answer was lost": f"{result.indeterminate:,}",
        "of these resolved": f"{result.resolved:,}",
        "versions received by watchers": f"{len(result.history.seen):,}",
        "violations": ", ".join(f"{number} {check.name}" for check, number in found.items()) or "none",
        "outage of a client, median": f"{median:.1f} s (limit {MUST_SECONDS[0]:.0f})",
        "outage of a client, 95th percentile": f"{late:.1f} s (limit {MUST_SECONDS[1]:.0f})",
        "outage of a client, longest": f"{max(seconds):.1f} s",
        "silence at a watcher, median": f"{statistics.median(unheard):.1f} s",
        "silence at a watcher, longest": f"{max(unheard):.1f} s",
        "seed": str(result.seed),
    }.items():
        table.add_row(label, figure)
    console.print(table)
    if found:
        console.print(result.explain(), style="red", markup=False)
    return not found and median < MUST_SECONDS[0] and late < MUST_SECONDS[1]


if __name__ == "__main__":
    main()
