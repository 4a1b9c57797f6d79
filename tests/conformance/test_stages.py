"""Staged versions: seen by nobody before they are written, written whole, and overtaken by any other writer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark, Reply
from lamina_server.store.contract import OvertakenError, Staged, Store
from lamina_server.store.sql.bulk import ROWS_AT_ONCE
from tests.conformance.commits import CONFIG, DELETED, commit, map_at, planned, remembered, request, values

DATA: dict[str, Any] = {"null": None, "yes": True, "int": -7, "float": 0.1, "text": "a\t\\N\n", "raw": b"\x00\\"}
LARGE: dict[str, Any] = DATA | {f"key-{number:05d}": number for number in range(2 * ROWS_AT_ONCE)}


def plan_next(store: Store, changes: dict[str, Any]) -> tuple[Plan, HeadMark | None]:
    """Plan the next version, and name the head that it follows."""
    with store.read() as reading:
        return planned(reading, CONFIG, changes), reading.head_marks([CONFIG]).get(CONFIG)


def write(staged: Staged, plan: Plan) -> None:
    """Write what was staged, with the outcome of a request."""
    with staged.write() as writing:
        writing.insert(plan)
        writing.remember(request("one"), Reply(CONFIG, plan.version, created=True, merged=False))


@contextmanager
def waiting(staged: Staged) -> Iterator[None]:
    """Wait for the end of what is staged on another thread, as its owner does."""
    thread = threading.Thread(target=staged.wait)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("existing", [False, True], ids=["first version", "next version"])
def test_a_staged_version_is_written_beside_other_commits(store: Store, existing: bool) -> None:
    if existing:
        commit(store, {"gone": 1, "kept": 2})
    plan, parent = plan_next(store, {**LARGE, "gone": DELETED} if existing else LARGE)
    with store.stage(plan, parent) as staged:
        commit(store, {"x": 1}, config="other")
        with store.read() as reading:
            assert reading.head_marks([CONFIG]).get(CONFIG) == parent
            assert not list(reading.changes(CONFIG, after=(plan.version.number, ""), through=9))
        with waiting(staged):
            write(staged, plan)
    assert commit(store, {"last": 1}).number == plan.version.number + 1
    with store.read() as reading:
        assert reading.versions(CONFIG, [plan.version.number]) == {plan.version.number: plan.version}
        expected = values({**LARGE, "kept": 2} if existing else LARGE)
        assert map_at(reading, plan.version.number) == dict(sorted(expected.items()))
        assert remembered(reading, "ada", "one") == (
            request("one").digest,
            Reply(CONFIG, plan.version, created=True, merged=False),
        )


@pytest.mark.parametrize("existing", [False, True], ids=["first version", "next version"])
def test_another_writer_overtakes_what_is_staged(store: Store, existing: bool) -> None:
    """P3: the other one does not wait for it, and nothing of it is left."""
    if existing:
        commit(store, {"x": 1})
    plan, parent = plan_next(store, LARGE)
    with store.stage(plan, parent) as staged, waiting(staged):
        other = commit(store, {"x": 2})
        with pytest.raises(OvertakenError):
            write(staged, plan)
    assert other.number == plan.version.number
    with pytest.raises(OvertakenError), store.stage(plan, parent) as again:
        write(again, plan)
    with store.read() as reading:
        assert reading.head(CONFIG) == other
        assert map_at(reading, other.number) == values({"x": 2})
        assert remembered(reading, "ada", "one") is None


def test_what_is_given_up_leaves_nothing(store: Store) -> None:
    plan, parent = plan_next(store, LARGE)
    with store.stage(plan, parent) as staged, waiting(staged):
        staged.end()
    with store.stage(plan, parent) as staged, pytest.raises(ZeroDivisionError), staged.write() as writing:
        writing.insert(plan)
        raise ZeroDivisionError
    with store.read() as reading:
        assert reading.head(CONFIG) is None
    with store.stage(plan, parent) as staged:
        write(staged, plan)
    with store.read() as reading:
        assert reading.head(CONFIG) == plan.version
