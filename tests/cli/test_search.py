"""The search alone: the first bad version, with skipped ones, and the smallest set of bad keys."""

from itertools import combinations
from math import ceil, log2

from hypothesis import given
from hypothesis import strategies as st

from lamina.cli.search import Step, Verdict, first_bad, smallest_bad

GOOD, BAD, SKIPPED = Verdict.GOOD, Verdict.BAD, Verdict.SKIPPED


@given(good=st.integers(0, 10**6), rising=st.integers(1, 10**6), data=st.data())
def test_the_first_bad_number_is_found_by_halving(good: int, rising: int, data: st.DataObject) -> None:
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
def test_a_step_from_good_to_bad_is_found_for_any_verdicts(verdicts: list[Verdict]) -> None:
    """It finds a good version and a later bad one, and every version between them was skipped."""
    row = [GOOD, *verdicts, BAD]
    asked: list[int] = []

    def judge(number: int) -> Verdict:
        asked.append(number)
        return row[number]

    step = first_bad(0, len(row) - 1, judge)
    assert (row[step.good], row[step.bad]) == (GOOD, BAD)
    assert all(row[number] is SKIPPED for number in range(step.good + 1, step.bad))
    assert len(set(asked)) == len(asked)


def test_neighbours_need_no_search() -> None:
    assert first_bad(3, 4, lambda _number: SKIPPED) == Step(3, 4)


@given(number=st.integers(1, 12), data=st.data())
def test_no_item_can_be_removed_from_the_result(number: int, data: st.DataObject) -> None:
    """Each set may have a random verdict."""
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
        assert verdicts[frozenset(found) - {taken}] is not BAD  # so the judge has tried it, or it is the empty set
    assert len(set(asked)) == len(asked)


@given(number=st.integers(1, 60), culprits=st.sets(st.integers(0, 59), min_size=1, max_size=5))
def test_items_that_are_only_bad_together_are_found(number: int, culprits: set[int]) -> None:
    culprits = {culprit % number for culprit in culprits}
    asked = 0

    def judge(part: frozenset[int]) -> Verdict:
        nonlocal asked
        asked += 1
        return BAD if part >= culprits else GOOD

    assert smallest_bad(range(number), judge) == sorted(culprits)
    if len(culprits) == 1:
        assert asked <= 2 * ceil(log2(number))


def test_any_two_of_four_items_are_found() -> None:
    bad = set(map(frozenset, combinations("abcd", 2)))
    assert len(smallest_bad("abcd", lambda part: BAD if any(part >= pair for pair in bad) else GOOD)) == 2
