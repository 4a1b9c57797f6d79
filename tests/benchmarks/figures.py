"""The result of a case: figures, their limits and aims, and the data of plots. Measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tests.benchmarks.measuring import Samples

RATIO = "x"


class Verdict(Enum):
    """Whether a figure is within its limit, or within its aim."""

    AIM = "aim met"
    MUST = "met"
    NOT = "NOT met"


@dataclass(frozen=True, slots=True)
class Check:
    """One figure, compared with its limit `must` and its aim.

    unit      the unit of all three
    at_least  whether more is better
    """

    what: str
    value: float
    must: float
    aim: float | None = None
    unit: str = RATIO
    at_least: bool = False

    @property
    def verdict(self) -> Verdict:
        """Return what the figure meets."""
        if self.aim is not None and self._reaches(self.aim):
            return Verdict.AIM
        return Verdict.MUST if self._reaches(self.must) else Verdict.NOT

    def _reaches(self, limit: float) -> bool:
        return self.value >= limit if self.at_least else self.value <= limit


@dataclass(frozen=True, slots=True)
class Lines:
    """A plot of lines over sizes, both axes logarithmic: each a sequence of (size, figure)."""

    name: str
    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot of one bar for each side."""

    name: str
    title: str
    x: str
    bars: Mapping[str, float]


Plot: TypeAlias = Lines | Bars


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of one case.

    name       its number in the table of figures with a limit, or a word if it has none
    samples    the results of each side
    remark     what a reader must know
    reference  the side of which the others are shown as multiples
    """

    name: str
    title: str
    samples: Sequence[Samples]
    checks: Sequence[Check] = ()
    remark: str = ""
    reference: Samples | None = None
    plots: Sequence[Plot] = ()


def ratio(what: str, of: Samples, to: Samples, *, must: float, aim: float | None, at_least: bool = False) -> Check:
    """Compare two medians."""
    return Check(what, of.median / to.median, must=must, aim=aim, at_least=at_least)


def number(value: float) -> str:
    """Return a figure as a text with three significant digits.

    >>> number(1234.5), number(12.345), number(1.2345), number(0.012345)
    ('1,234', '12.3', '1.23', '0.012')
    """
    decimals = next((decimals for limit, decimals in ((100, 0), (10, 1), (0.1, 2)) if value >= limit), 3)
    return f"{value:,.{decimals}f}"
