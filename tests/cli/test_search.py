"""The search by itself: first bad versions among skipped ones, and sets that nothing can be taken from."""

from itertools import combinations
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.search import Step, Verdict, first_bad, smallest_bad

GOOD, BAD, SKIPPED = Verdict.GOOD, Verdict.BAD, Verdict.SKIPPED


@given(good=st.integers(0, 10**6), rising=st.integers(1, 10**6), data=st.data())
def test_the_first_bad_one_by_halving(good: int, rising: int, data: st.DataObject) -> None:
    bad = good + rising
    first = data.draw(st.integers(good + 1, bad))
    asked: list[int] = []

    def judge(number: int) -> Verdict:
        asked.append(number)
        return BAD if number >= first else GOOD

    assert first_bad(good, bad, judge) == Step(first - 1, first)
    assert len(asked) <= ceil(log2(rising))
    assert len(set(asked)) == len(asked)
    assert all(good < number < bad for number in asked)


@given(verdicts=st.lists(st.sampled_from(Verdict), max_size=40))
def test_a_step_whatever_the_verdicts(verdicts: list[Verdict]) -> None:
    """It need not be the only step: from a good one to a bad one, between which nothing could be told."""
    row = [GOOD, *verdicts, BAD]
    asked: list[int] = []

    def judge(number: int) -> Verdict:
        asked.append(number)
        return row[number]

    step = first_bad(0, len(row) - 1, judge)
    assert (row[step.good], row[step.bad]) == (GOOD, BAD)
    assert all(row[number] is SKIPPED for number in range(step.good + 1, step.bad))
    assert len(set(asked)) == len(asked)


def test_without_anything_between() -> None:
    assert first_bad(3, 4, lambda _number: SKIPPED) == Step(3, 4)


@given(number=st.integers(1, 12), data=st.data())
def test_no_single_thing_can_be_taken_out(number: int, data: st.DataObject) -> None:
    """Even if the judge is of no system at all: each set has a verdict of its own."""
    things = list(range(number))
    verdicts: dict[frozenset[int], Verdict] = {frozenset(things): BAD, frozenset(): GOOD}
    asked: list[frozenset[int]] = []

    def judge(part: frozenset[int]) -> Verdict:
        asked.append(part)
        if part not in verdicts:
            verdicts[part] = data.draw(st.sampled_from(Verdict))
        return verdicts[part]

    found = smallest_bad(things, judge)
    assert found == sorted(found)
    assert verdicts[frozenset(found)] is BAD
    for taken in found:
        assert verdicts[frozenset(found) - {taken}] is not BAD  # so it was asked, or is the empty set
    assert len(set(asked)) == len(asked)


@given(number=st.integers(1, 60), culprits=st.sets(st.integers(0, 59), min_size=1, max_size=5))
def test_things_that_are_bad_together(number: int, culprits: set[int]) -> None:
    culprits = {culprit % number for culprit in culprits}
    asked = 0

    def judge(part: frozenset[int]) -> Verdict:
        nonlocal asked
        asked += 1
        return BAD if part >= culprits else GOOD

    assert smallest_bad(range(number), judge) == sorted(culprits)
    if len(culprits) == 1:
        assert asked <= 2 * ceil(log2(number))


def test_any_two_of_four() -> None:
    bad = set(map(frozenset, combinations("abcd", 2)))
    assert len(smallest_bad("abcd", lambda part: BAD if any(part >= pair for pair in bad) else GOOD)) == 2
