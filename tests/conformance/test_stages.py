"""Staged versions: seen by nobody before they are written, written whole, and overtaken by any other writer."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamina_server.domain.planning import Plan
from lamina_server.domain.records import HeadMark, Reply
from lamina_server.models.rows import VALUE_COLUMNS, value_rows
from lamina_server.store.contract import OvertakenError, Staged, Store, Writing
from lamina_server.store.open import open_store
from lamina_server.store.sql.bulk import ROWS_AT_ONCE, StagedPlan
from lamina_server.store.sql.writing import SqlWriting
from lamina_server.store.sqlite.staging import SqliteStaging
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


def fail_to_drop(_: SqliteStaging) -> None:
    """Fail as SQLite does when it gets no memory."""
    raise MemoryError


def test_rows_that_could_not_be_dropped_get_into_no_other_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P5."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    plan, parent = plan_next(store, {"old": 1})
    with monkeypatch.context() as patch, store.stage(plan, parent) as staged:
        patch.setattr(SqliteStaging, "drop", fail_to_drop)
        staged.end()
    plan, parent = plan_next(store, {"new": 1})
    with store.stage(plan, parent) as staged:
        write(staged, plan)
    with store.read() as reading:
        assert map_at(reading, 1) == values({"new": 1})
    store.close()


def test_rows_that_are_more_than_the_version_has_are_not_written(tmp_path: Path) -> None:
    """P5: whoever has added them, the version would never have its hash."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    plan, parent = plan_next(store, {"new": 1})
    with store.stage(plan, parent) as staged:
        assert isinstance(staged, StagedPlan)
        (row,) = value_rows(plan, 0, 0)
        staged._staging.add("", VALUE_COLUMNS[3:], [("more", *row[4:])])
        with pytest.raises(OvertakenError):
            write(staged, plan)
    with store.read() as reading:
        assert reading.head(CONFIG) is None
    store.close()


@pytest.mark.postgres
def test_the_transaction_of_a_staged_version_has_the_timeouts_of_every_writer(database_url: str) -> None:
    store = open_store(database_url)
    plan, parent = plan_next(store, DATA)
    with store.write() as writing:
        usual = timeouts(writing)
    with store.stage(plan, parent) as staged, staged.write() as writing:
        assert timeouts(writing) == usual
        writing.insert(plan)
    store.close()


def timeouts(writing: Writing) -> list[tuple[str, str]]:
    """Return the settings of a session that end a statement which waits or works for too long."""
    assert isinstance(writing, SqlWriting)
    rows = writing._connection.exec_driver_sql("SELECT name, setting FROM pg_settings WHERE name LIKE '%%_timeout'")
    return [(row.name, row.setting) for row in rows.all()]
