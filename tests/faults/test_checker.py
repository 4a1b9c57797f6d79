"""The checker itself: an intact history passes, and each way to break one is found by the check meant for it."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import histories
from tests.faults.breaks import BREAKS, Break, drop_the_newest, rehash, with_versions
from tests.faults.checker import Phase, agree, check
from tests.faults.final_state import Final
from tests.faults.histories import History, Outcome, Recorder
from tests.faults.synthetic import simulate
from tests.faults.violations import Check, count

CALLS = 2_000
SEED = 20_261_126
MANY_CALLS, MANY_SECONDS = 50_000, 30.0
"""3 s on an idle core; quadratic code would take minutes."""


def test_an_intact_history_passes() -> None:
    history, final = simulate(CALLS, seed=SEED)
    assert check(history, final, before=with_versions(final, final.versions[:-5])) == []
    outcomes = {commit.outcome for commit in history.commits}
    assert outcomes == set(Outcome), "the history lacks an outcome, so this shows too little"


@pytest.mark.parametrize(("breaks", "expected"), BREAKS, ids=[f"{b.__name__}-{c.name}" for b, c in BREAKS])
def test_a_broken_history_is_found(breaks: Break, expected: Check) -> None:
    history, final = simulate(CALLS, seed=SEED)
    broken = breaks(history, final)
    assert expected in count(check(history, broken))


def test_every_check_is_tested() -> None:
    elsewhere = {Check.REWRITTEN, Check.DISAGREEMENT, Check.IDLE}
    assert {expected for _, expected in BREAKS} | elsewhere == set(Check)


def test_a_version_that_changes_is_found() -> None:
    """P5: what was there when the load ended is there after its open calls were resolved."""
    history, final = simulate(CALLS, seed=SEED)
    assert set(count(check(history, final, before=rehash(history, final)))) == {Check.REWRITTEN}


def test_two_places_that_disagree_are_found() -> None:
    history, final = simulate(CALLS, seed=SEED)
    assert agree(final, replace(final, source="elsewhere")) == []
    assert set(count(agree(final, drop_the_newest(history, final)))) == {Check.DISAGREEMENT}
    assert set(count(agree(final, rehash(history, final)))) == {Check.DISAGREEMENT}


def test_a_healthy_phase_without_any_success_fails() -> None:
    history, final = simulate(CALLS, seed=SEED)
    ends = sorted(commit.ended for commit in history.commits if commit.outcome is Outcome.OK and commit.ended)
    assert check(history, final, healthy=[Phase("some", ends[10], ends[20])]) == []
    idle = check(history, final, healthy=[Phase("none", ends[-1] + 1, ends[-1] + 100)])
    assert set(count(idle)) == {Check.IDLE}
    assert Check.IDLE in count(check(History(), Final("empty", [])))


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    """A client that dies while it writes leaves all whole lines, and each call without an end is open."""
    recorder = Recorder(tmp_path, "c0")
    first = recorder.commit("c0-1", {"x": "c0-1"}, base=0, require=True)
    recorder.ok(first, 1, b"\x01")
    recorder.commit("c0-2", {"x": "c0-2"}, base=None, require=False)
    recorder.ok(recorder.read("x"), 1, b"\x01", "c0-1")
    recorder.failed(recorder.read("y"), Outcome.REFUSED, "DISK_FULL")
    recorder.seen(1, b"\x01")
    recorder.close()
    with (tmp_path / "c0.jsonl").open("ab") as file:
        file.write(b'{"do":"re')

    history = histories.load(tmp_path)
    assert [(c.request, c.base, c.require, c.outcome) for c in history.commits] == [
        ("c0-1", 0, True, Outcome.OK),
        ("c0-2", None, False, Outcome.INDETERMINATE),
    ]
    assert [(call.key, call.value, call.outcome) for call in history.reads] == [
        ("x", "c0-1", Outcome.OK),
        ("y", None, Outcome.REFUSED),
    ]
    assert [(seen.client, seen.version, seen.hash) for seen in history.seen] == [("c0", 1, "01")]
    assert history.commits[0].at < (history.commits[0].ended or 0) < history.commits[1].at


def test_checking_is_linear() -> None:
    history, final = simulate(MANY_CALLS, seed=SEED)
    started = time.perf_counter()
    assert check(history, final) == []
    assert time.perf_counter() - started < MANY_SECONDS
