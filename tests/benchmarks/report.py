"""Figures as a document (results.md) and as the table at the end of a run. Measures nothing and draws nothing."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from rich.table import Table

from tests.benchmarks.figures import RATIO, Check, Figure, Verdict, number
from tests.benchmarks.measuring import RATE, Samples

_COLOURS = {Verdict.AIM: "green", Verdict.MUST: "green", Verdict.NOT: "bold red"}

_INTRODUCTION = """# Figures

What `make bench` measured, in one run on one machine, the sides of each comparison in turn: read the ratios, and take
the absolute figures for what that machine did at that moment. A time is that of one call as its caller sees it; beside
the median stands the 99th percentile of times, and the worst of rates and of fewer than a hundred. SQLite is a file
with `synchronous=FULL`, etcd and PostgreSQL sync as they do by default, all on the same disk.
"""


def document(figures: Sequence[Figure], *, machine: Mapping[str, str], versions: Mapping[str, str], date: str) -> str:
    """Write results.md."""
    parts = [
        _INTRODUCTION,
        f"{date}. " + "; ".join(f"{name}: {value}" for name, value in machine.items()) + ".",
        "Versions: " + ", ".join(f"{name} {value}" for name, value in versions.items()) + ".",
        _summary(figures),
        *chain.from_iterable(_section(figure) for figure in figures),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def summary_table(figures: Sequence[Figure]) -> Table:
    """Make the table at the end of a run."""
    table = Table(title="what must be reached, and what is aimed at")
    for column in ("#", "what", "measured", "must", "aim", ""):
        table.add_column(column, justify="right" if column in {"measured", "must", "aim"} else "left")
    for name, check in _checks(figures):
        colour = _COLOURS[check.verdict]
        table.add_row(name, *_cells(check), f"[{colour}]{check.verdict.value}[/]")
    return table


def details_table(figure: Figure) -> Table:
    """Make the table of one figure's sides."""
    table = Table(title=f"{figure.name}: {figure.title}", title_justify="left")
    for column in _titles(figure):
        table.add_column(column, justify="right" if column else "left")
    for samples in figure.samples:
        table.add_row(*_row(samples, figure.reference))
    return table


def _summary(figures: Sequence[Figure]) -> str:
    rows = [(name, *_cells(check), check.verdict.value) for name, check in _checks(figures)]
    return markdown(("#", "what", "measured", "must", "aim", ""), rows, "llrrrl")


def _section(figure: Figure) -> Iterator[str]:
    yield f"## {figure.name}: {figure.title}"
    yield markdown(_titles(figure), [_row(samples, figure.reference) for samples in figure.samples], "lrrr")
    if figure.remark:
        yield figure.remark
    yield from (f"![{plot.title}]({plot.name}.svg)" for plot in figure.plots)


def _checks(figures: Sequence[Figure]) -> Iterator[tuple[str, Check]]:
    return ((figure.name, check) for figure in figures for check in figure.checks)


def _cells(check: Check) -> tuple[str, str, str, str]:
    sign = "≥" if check.at_least else "≤"

    def cell(value: float | None, before: str = "") -> str:
        return "" if value is None else f"{before}{number(value)}{_unit(check.unit)}"

    return check.what, cell(check.value), cell(check.must, f"{sign} "), cell(check.aim)


def _titles(figure: Figure) -> Sequence[str]:
    titles = ("", "median", "p99 or worst")
    return (*titles, f"of {figure.reference.name}") if figure.reference else titles


def _row(samples: Samples, reference: Samples | None) -> Sequence[str]:
    unit = _unit(samples.unit)
    worst = f"{number(samples.worst)}{unit}" if len(samples.values) > 1 else ""
    row = (samples.name, f"{number(samples.median)}{unit}", worst)
    if reference is None:
        return row
    return (*row, f"{number(samples.median / reference.median)}x" if samples.unit == reference.unit else "")


def _unit(unit: str) -> str:
    return unit if unit in {RATIO, RATE} else f" {unit}"


def markdown(titles: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> str:
    rule = "|".join("---:" if each == "r" else "---" for each in alignment[: len(titles)])
    lines = [" | ".join(titles), *(" | ".join(row) for row in rows)]
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])
