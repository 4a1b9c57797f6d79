"""Finds what broke: the first bad one of a row, and the smallest bad part of a set; knows no configs and no commands.

A judge tells of a number, or of a set of things that are changed together, whether that is good or bad, or cannot be
told. It is asked of the same no more than once.
"""

from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Verdict(Enum):
    """What a judge says."""

    GOOD = "good"
    BAD = "bad"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """Where good turns into bad: the nearest numbers that could be told. All between them, if any, were skipped."""

    good: int
    bad: int


def first_bad(good: int, bad: int, judge: Callable[[int], Verdict]) -> Step:
    """Find a step from good to bad between a good number and a higher bad one, by halving.

    Where a number cannot be told, the next one to it is asked for.
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
    """Find a part of bad things that is bad, while it is not without any single one of its own, in their order.

    All of them are taken to be bad, and none of them not to be. This is ddmin, of Zeller and Hildebrandt: "Simplifying
    and Isolating Failure-Inducing Input", 2002. It judges about 2 log2(n) parts where one thing is to blame, and some
    n² at the worst.
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
    """Cut things into so many parts of nearly the same size."""
    for index in range(number):
        yield list(things[index * len(things) // number : (index + 1) * len(things) // number])


def _without(things: Sequence[Thing], part: Collection[Thing]) -> list[Thing]:
    out = frozenset(part)
    return [thing for thing in things if thing not in out]
