"""The validators themselves: intact histories pass, and each break is found by the validator meant for it."""

import copy
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.faults.watches.breaks import BREAKS, Break
from tests.faults.watches.guarantees import Guarantee, breaches
from tests.faults.watches.records import Bookmark, Filter, Part, Truth, Watcher, dump, mark_of
from tests.faults.watches.synthetic import FILTERS, final, watcher

VERSIONS = 25
SEEDS = range(60)
APPLICABLE = 5
"""Each break must apply to at least so many of these histories."""
MANY_VERSIONS, MANY_SECONDS = 10_000, 30.0
"""A second on an idle core; quadratic code would take minutes."""


def synthetic(seed: int) -> tuple[Watcher, Truth]:
    dice = random.Random(seed)
    truth = Truth(final(dice, VERSIONS))
    return watcher(dice, truth, dice.choice(FILTERS), from_now=seed % 3 == 0), truth


@settings(max_examples=60)
@given(dice=st.randoms(use_true_random=False), wanted=st.sampled_from(FILTERS), from_now=st.booleans())
def test_an_intact_history_passes(dice: random.Random, wanted: Filter, *, from_now: bool) -> None:
    truth = Truth(final(dice, dice.randint(1, VERSIONS)))
    assert breaches(watcher(dice, truth, wanted, from_now=from_now), truth) == []


def test_the_synthetic_histories_have_all_kinds_of_messages() -> None:
    watchers = [synthetic(seed)[0] for seed in SEEDS]
    sessions = [session for one in watchers for session in one.sessions]
    items = [item for session in sessions for item in session.received]
    assert any(isinstance(item, Part) and item.more for item in items)
    assert any(isinstance(item, Bookmark) for item in items)
    assert any(value is None for item in items if isinstance(item, Part) for _, value in item.changes)
    lasts = [session.received[-1] for session in sessions if session.received]
    assert any(isinstance(last, Part) and last.more for last in lasts)
    assert len(sessions) > 2 * len(watchers)


@pytest.mark.parametrize(("breaks", "expected"), BREAKS, ids=[f"{b.__name__}-{g.name}" for b, g in BREAKS])
def test_a_broken_history_is_found(breaks: Break, expected: Guarantee) -> None:
    applied = 0
    for seed in SEEDS:
        whole, truth = synthetic(seed)
        broken = copy.deepcopy(whole)
        if breaks(broken, truth, random.Random(seed)):
            applied += 1
            found = breaches(broken, truth)
            assert expected in {breach.guarantee for breach in found}, f"seed {seed}: {found}"
    assert applied >= APPLICABLE


def test_every_validator_is_tested() -> None:
    assert {expected for _, expected in BREAKS} == set(Guarantee)


def test_a_breach_says_who_what_and_where() -> None:
    whole, truth = synthetic(1)
    last = whole.sessions[-1]
    gone = next(item for item in reversed(last.received) if isinstance(item, Part))
    last.received = [item for item in last.received if item.version < gone.version]
    (breach,) = breaches(whole, truth)
    assert (breach.watcher, breach.guarantee, breach.version) == ("synthetic", Guarantee.RELIABLE, gone.version)
    assert str(breach) == f"RELIABLE: synthetic, version {gone.version}: is missing"


def test_long_values_are_distinguished() -> None:
    assert mark_of("x" * 80) == "x" * 80
    assert mark_of(None) is None
    marks = {mark_of("x" * 81), mark_of("x" * 80 + "y"), mark_of("x" * 82)}
    assert len(marks) == 3
    assert all(mark and len(mark) < 80 for mark in marks)


def test_a_history_is_written_as_lines_for_people(tmp_path: Path) -> None:
    whole, _ = synthetic(3)
    dump([whole], tmp_path)
    lines = (tmp_path / "synthetic.watch.jsonl").read_text().splitlines()
    assert len(lines) == 1 + sum(2 + len(session.received) for session in whole.sessions)


def test_validating_is_linear() -> None:
    dice = random.Random(1)
    truth = Truth(final(dice, MANY_VERSIONS))
    one = watcher(dice, truth, Filter())
    began = time.perf_counter()
    assert breaches(one, truth) == []
    assert time.perf_counter() - began < MANY_SECONDS
