"""Compare Lamina in one run with etcd, with the floor, and with storage that copies the whole map.

    make bench                             # everything, in a quarter of an hour: writes results.md and plots
    make bench ARGS="--only 3,4,W1"        # some figures: prints, and writes nothing
    make bench ARGS="--quick"              # shows in two minutes that everything works; its figures mean nothing
    make bench ARGS="--where"              # in some minutes, where a commit's microseconds go: writes commit.md

The first run makes a database of a million versions, in some minutes, and keeps it in .cache/bench.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from tests.benchmarks import machine, report
from tests.benchmarks.bench import CACHE, Bench
from tests.benchmarks.cases import CASES
from tests.benchmarks.figures import Figure
from tests.benchmarks.scale import FULL, QUICK
from tests.benchmarks.where import page

HERE = Path(__file__).parent


def main() -> None:
    """Measure and print; write the results of a full run."""
    options = _options()
    for name in [name for name in os.environ if name.startswith("LAMINA_")]:
        del os.environ[name]  # a developer's own settings must not affect the measurements
    os.environ["LAMINA_CACHE_DIR"] = ""  # and the measurements must not write to their home
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that everything started is stopped
    console = Console(width=120)
    CACHE.mkdir(parents=True, exist_ok=True)
    facts = machine.describe(CACHE)
    scale = (QUICK if options.quick else FULL).with_rounds(options.rounds)
    started = time.monotonic()
    folder = options.output or (None if options.only or options.quick else HERE)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).strftime("%d %B %Y")
    if options.where:
        with Bench(scale, console) as bench:
            _show(page.measure(bench, facts, date), folder and folder / "commit.md", console)
        return
    with Bench(scale, console) as bench:
        figures = [_measured(bench, name) for name in options.only or CASES]
        versions = machine.versions(bench.versions())
    console.print(report.summary_table(figures))
    console.print(f"in {time.monotonic() - started:.0f} s")
    if folder:
        text = report.document(figures, machine=facts, versions=versions, date=date)
        (folder / "results.md").write_text(text, encoding="utf-8")
        _draw(figures, folder, console)


def _show(text: str, path: Path | None, console: Console) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    if path:
        path.write_text(text, encoding="utf-8")


def _measured(bench: Bench, name: str) -> Figure:
    started = time.monotonic()
    figure = CASES[name](bench)
    bench.console.print(report.details_table(figure))
    bench.console.print(f"in {time.monotonic() - started:.0f} s\n", style="dim")
    return figure


def _draw(figures: Sequence[Figure], folder: Path, console: Console) -> None:
    if find_spec("matplotlib") is None:
        console.print("[yellow]no plots: matplotlib is not installed (`make bench` does that)[/]")
        return
    from tests.benchmarks import plots  # noqa: PLC0415 - everything else works without matplotlib

    for plot in (plot for figure in figures for plot in figure.plots):
        plots.draw(plot, folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=_names, metavar="NAME,…", help=f"some of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, help=f"calls of each side, one after another [{FULL.rounds:,}]")
    parser.add_argument(
        "--where", action="store_true", help="measure where a commit's microseconds go, and nothing else"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds; writes nothing")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write results.md and plots, or commit.md"
    )
    return parser.parse_args()


def _names(text: str) -> Sequence[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := set(names) - set(CASES):
        raise argparse.ArgumentTypeError(f"no figure {', '.join(sorted(unknown))}")
    return names


if __name__ == "__main__":
    main()
