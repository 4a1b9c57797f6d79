"""Figures as SVG, the same bytes for the same figures. Needs matplotlib, which `make bench` alone installs."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from tests.benchmarks.figures import Bars, Lines, Plot, number

SIZE_INCHES = (7.5, 4.2)

# Without a salt the ids in an SVG are random. Text stays text, so that a diff can be read.
mpl.rcParams.update({"svg.hashsalt": "lamina", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False})


def draw(plot: Plot, folder: Path) -> Path:
    """Draw a plot into `folder`; return the file."""
    canvas = Canvas(figsize=SIZE_INCHES, layout="constrained")
    axes = canvas.subplots()
    axes.set_title(plot.title, loc="left")
    axes.spines["right"].set_visible(False)
    if isinstance(plot, Lines):
        _draw_lines(axes, plot)
    else:
        _draw_bars(axes, plot)
    path = folder / f"{plot.name}.svg"
    canvas.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return path


def _draw_lines(axes: Any, plot: Lines) -> None:
    for name, points in plot.lines.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xscale="log", yscale="log", xlabel=plot.x, ylabel=plot.y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:,.12g}")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(frameon=False)


def _draw_bars(axes: Any, plot: Bars) -> None:
    names = list(plot.bars)
    bars = axes.barh(names, list(plot.bars.values()), color=[f"C{index}" for index in range(len(names))])
    axes.bar_label(bars, labels=[number(value) for value in plot.bars.values()], padding=4)
    axes.set(xlabel=plot.x)
    axes.margins(x=0.12)
    axes.invert_yaxis()
