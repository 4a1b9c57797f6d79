"""The kinds of numbers: distributions that are recorded, and metrics as they stand at a scrape. Knows no library."""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Labels: TypeAlias = tuple[str, ...]
Buckets: TypeAlias = tuple[Sequence[int], float]
"""The number of amounts in each bucket, and the sum of all amounts."""


class Distribution:
    """How often which amounts were recorded: a histogram. Any thread may use it.

    bounds  the upper bounds of its buckets, in order; one more bucket has what is larger
    """

    __slots__ = ("_counts", "_mutex", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._mutex = threading.Lock()

    def add(self, amount: float) -> None:
        """Record an amount."""
        place = bisect_left(self.bounds, amount)
        with self._mutex:
            self._counts[place] += 1
            self._sum += amount

    def read(self) -> tuple[list[int], float]:
        """Return the number of amounts in each bucket, and the sum of all amounts."""
        with self._mutex:
            return self._counts.copy(), self._sum


class Distributions:
    """A distribution for each combination of labels, which is made when it is first needed. Any thread may use it."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self._by_labels: dict[Labels, Distribution] = {}

    def __getitem__(self, labels: Labels) -> Distribution:
        found = self._by_labels.get(labels)
        return found or self._by_labels.setdefault(labels, Distribution(self.bounds))

    def read(self) -> Iterator[tuple[Labels, list[int], float]]:
        """Yield the labels of each distribution, with what `Distribution.read` returns."""
        for labels, each in list(self._by_labels.items()):
            yield labels, *each.read()


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as it stands: a gauge, or a counter, whose name ends in `_total`.

    help    what it tells, for people
    labels  the names of its labels
    values  by the values of the labels
    """

    name: str
    help: str
    labels: Labels
    values: Mapping[Labels, float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """One metric with buckets.

    buckets  by the values of the labels
    """

    name: str
    help: str
    labels: Labels
    bounds: Sequence[float]
    buckets: Mapping[Labels, Buckets]


def one(name: str, help_: str, value: float) -> Metric:
    """Return a metric without labels."""
    return Metric(name, help_, (), {(): value})


def by(label: str, name: str, help_: str, values: Mapping[str, float]) -> Metric:
    """Return a metric with one label."""
    return Metric(name, help_, (label,), {(key,): value for key, value in values.items()})


def histogram(name: str, help_: str, labels: Labels, found: Distributions) -> Histogram:
    """Return a metric of distributions."""
    return Histogram(name, help_, labels, found.bounds, {key: (counts, sum_) for key, counts, sum_ in found.read()})
