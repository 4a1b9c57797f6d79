"""Finds what broke: the first bad number of a row, and the smallest bad part of a set; knows no configs or commands.

A judge decides whether a number, or a set of items, is good or bad, or skips it. It gets each of them only once.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Verdict(Enum):
    """A judge's decision."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """The step from good to bad: the nearest decided numbers. All numbers between them were skipped."""

    good: int
    bad: int


def first_bad(good: int, bad: int, judge: Callable[[int], Verdict]) -> Step:
    """Find a step from good to bad between a good number and a higher bad one, by halving.

    If a number is skipped, the next one is tried.
    """
    skipped: set[int] = set()
    while (number := _nearest_to_middle(good, bad, skipped)) is not None:
        match judge(number):
            case Verdict.GOOD:
                good = number
            case Verdict.BAD:
                bad = number
            case Verdict.SKIPPED:
                skipped.add(number)
    return Step(good, bad)


def smallest_bad(things: Sequence[Thing], judge: Callable[[frozenset[Thing]], Verdict]) -> list[Thing]:
    """Find a bad part of a set, in order, that is not bad without any single item.

    The whole set must be bad, and the empty set good. This is ddmin, of Zeller and Hildebrandt: "Simplifying and
    Isolating Failure-Inducing Input", 2002. It judges about 2 log2(n) parts if one item is to blame, and some n² at
    worst.
    """
    judged = cache(judge)

    def first_of(parts: Iterator[list[Thing]]) -> list[Thing] | None:
        return next((part for part in parts if judged(frozenset(part)) is Verdict.BAD), None)

    left, number = list(things), 2
    while len(left) > 1:
        parts = list(_parts(left, number))
        if part := first_of(iter(parts)):
            left, number = part, 2
        elif number > 2 and (rest := first_of(_without(left, part) for part in parts)):  # noqa: PLR2004 - else each part is the rest of the other
            left, number = rest, number - 1
        elif number < len(left):
            number = min(2 * number, len(left))
        else:
            break
    return left


def _nearest_to_middle(good: int, bad: int, skipped: Collection[int]) -> int | None:
    middle = (good + bad) // 2
    for distance in range(bad - good):
        for number in (middle - distance, middle + distance):
            if good < number < bad and number not in skipped:
                return number
    return None


def _parts(things: Sequence[Thing], number: int) -> Iterator[list[Thing]]:
    """Divide items into a number of parts of nearly the same size."""
    for index in range(number):
        yield list(things[index * len(things) // number : (index + 1) * len(things) // number])


def _without(things: Sequence[Thing], part: Collection[Thing]) -> list[Thing]:
    out = frozenset(part)
    return [thing for thing in things if thing not in out]
