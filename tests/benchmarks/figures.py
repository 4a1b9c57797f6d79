"""What a case comes to: figures, what they must be and what is aimed at, and the data of plots. Measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from tests.benchmarks.measuring import Samples

RATIO = "x"


class Verdict(Enum):
    """Whether a figure is what it must be."""

    AIM = "aim met"
    MUST = "met"
    NOT = "NOT met"


@dataclass(frozen=True, slots=True)
class Check:
    """One figure, held against what it must be and what is aimed at.

    unit      what the figures are in
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
        """Tell what is met."""
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
    """What one case came to.

    name      its number in the table of figures that must be reached, or a word where it is information alone
    samples   what each side came to
    remark    what one must know to read them
    reference the side that the others are shown as multiples of
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
    """Write a figure with three digits that count.

    >>> number(1234.5), number(12.345), number(1.2345), number(0.012345)
    ('1,234', '12.3', '1.23', '0.012')
    """
    decimals = next((decimals for limit, decimals in ((100, 0), (10, 1), (0.1, 2)) if value >= limit), 3)
    return f"{value:,.{decimals}f}"
