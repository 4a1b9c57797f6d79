"""Edits in sessions: flushes that fail, rollbacks, savepoints, expiry, and other sessions at the same time."""

import gc
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, inspect, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import DetachedInstanceError

from lamina_server.domain.errors import ExistsError
from lamina_server.models import ConfigData, ConfigName, StaleVersion, queries
from lamina_server.models.tables import VERSIONS

Committed = Callable[..., ConfigData]


def versions(session: Session) -> list[tuple[int, dict[str, Any]]]:
    rows = session.scalars(select(ConfigData).order_by(ConfigData.id))
    return [(row.version, dict(row.data)) for row in rows]


# Versions that are not the head, and configs that exist already


def test_editing_a_version_that_is_not_the_head(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    first = config.id
    config.data["x"] = 2
    session.commit()
    old = session.get(ConfigData, first)
    assert old is not None
    old.data["x"] = 9
    with pytest.raises(StaleVersion, match="version 1 of 'default' was edited, but its head is version 2") as caught:
        session.commit()
    assert (caught.value.config, caught.value.version, caught.value.head) == ("default", 1, 2)
    session.rollback()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 2})]
    assert (dict(old.data), dict(config.data)) == ({"x": 1}, {"x": 2})


def test_a_second_first_version(committed: Committed, session: Session) -> None:
    committed({"x": 1})
    session.add(ConfigData({"y": 1}))
    with pytest.raises(ExistsError, match="'default'"):
        session.commit()
    session.rollback()
    session.add_all([ConfigData({}, config="two"), ConfigData({}, config="two")])
    with pytest.raises(ExistsError, match="'two'"):
        session.commit()
    session.rollback()
    assert versions(session) == [(1, {"x": 1})]


# Flushes


def test_an_autoflush_makes_a_version(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    config.data["x"] = 2
    assert session.scalars(select(ConfigData.version).order_by(ConfigData.id)).all() == [1, 2]
    config.data["y"] = 3
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 2}), (3, {"x": 2, "y": 3})]


def test_reading_a_version_makes_no_version(committed: Committed, session: Session) -> None:
    config = committed({"x": 1}, config="one")
    committed({"x": 1}, config="two")
    session.expunge_all()
    config, other = session.scalars(select(ConfigData).order_by(ConfigData.id))
    config.data["x"] = 2
    assert (other.config, dict(other.data)) == ("two", {"x": 1})
    assert config.version == 1


def test_columns_may_be_read_between_an_edit_and_its_flush(committed: Committed, session: Session) -> None:
    """They are expired after a commit. Loading them must not flush the edit in between."""
    config = committed({"x": 1})
    config.data["x"] = 2
    assert (config.id, config.version) == (1, 1)
    session.expire(config, ["message", "version"])
    assert (config.version, config.message) == (1, "")
    session.commit()
    assert (config.id, config.version, dict(config.data)) == (2, 2, {"x": 2})


def test_an_edit_keeps_its_object_alive(committed: Committed, session: Session) -> None:
    committed({"x": 1})
    old = session.get(ConfigData, 1)
    assert old is not None
    old.data["x"] = 2
    del old
    gc.collect()
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 2})]


@pytest.mark.parametrize("forget", [Session.rollback, Session.expire_all])
def test_edits_are_discarded_when_the_session_expires_its_objects(
    committed: Committed, session: Session, forget: Callable[[Session], None]
) -> None:
    config = committed({"x": 1})
    config.data["x"] = 2
    config.message = "of no version"
    forget(session)
    assert config.data == {"x": 1}
    session.commit()
    config.data["x"] = 3
    session.commit()
    assert (config.version, config.message) == (2, "")


# Failures and rollbacks


def test_a_refused_flush_loses_nothing(committed: Committed, session: Session) -> None:
    config = committed({"x": 1}, config="one")
    config.data["x"] = 2
    twice = ConfigData({}, config="one")
    session.add(twice)
    with pytest.raises(ExistsError):
        session.commit()
    session.expunge(twice)
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 2})]


def test_a_failed_flush_changes_no_object(committed: Committed, session: Session) -> None:
    """The database fails after the header was inserted."""
    config = committed({"x": 1}, config="one")
    new = ConfigData({"y": 1}, config="two", author="ada", message="first")
    session.add(new)
    config.data["x"] = 2

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO config_value"):
            raise OSError("no more room")

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(OSError, match="no more room"):
        session.commit()
    event.remove(engine, "before_cursor_execute", fail)
    session.rollback()
    assert (config.id, config.version, dict(config.data)) == (1, 1, {"x": 1})
    assert inspect(new).transient
    assert (new.author, new.message, dict(new.data)) == ("ada", "first", {"y": 1})
    assert versions(session) == [(1, {"x": 1})]
    config.data["x"] = 3
    session.add(new)
    session.commit()
    assert sorted((c.config, c.version, c.author) for c in (config, new)) == [
        ("one", 2, "anonymous"),
        ("two", 1, "ada"),
    ]
    assert session.scalar(select(func.count(ConfigName.id))) == 2


def test_a_rollback_takes_flushed_versions_back(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    first = config.hash
    for number in (2, 3):
        config.data["x"] = number
        session.flush()
    assert (config.version, dict(config.data)) == (3, {"x": 3})
    session.rollback()
    assert not session.in_transaction()
    assert (config.id, config.version, config.hash, dict(config.data)) == (1, 1, first, {"x": 1})
    assert session.get(ConfigData, 1) is config
    config.data["x"] = 4
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 4})]


def test_an_edit_right_after_a_rollback(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    config.data["x"] = 2
    session.flush()
    session.rollback()
    config.data["x"] = 3
    session.flush()
    assert (config.version, dict(config.data)) == (2, {"x": 3})


@pytest.mark.parametrize("autobegin", [True, False])
def test_transactions_in_blocks(engine: Engine, *, autobegin: bool) -> None:
    with Session(engine, autobegin=autobegin) as session:
        with session.begin():
            config = ConfigData({"x": 1})
            session.add(config)
        with pytest.raises(KeyError), session.begin():
            config.data["x"] = 2
            session.flush()
            raise KeyError
        with session.begin():
            assert config in session
            config.data["x"] = 3
        with session.begin():
            assert versions(session) == [(1, {"x": 1}), (2, {"x": 3})]


def test_savepoints(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    config.data["x"] = 2
    session.flush()
    with session.begin_nested() as savepoint:
        for number in (3, 4):
            config.data["x"] = number
            session.flush()
        savepoint.rollback()
    assert (config.version, dict(config.data)) == (2, {"x": 2})
    with session.begin_nested():
        config.data["x"] = 5
        with session.begin_nested() as inner:
            config.data["x"] = 6
            session.flush()
            inner.rollback()
        assert config.data == {"x": 5}  # flushed by the beginning of the inner one
    assert (config.version, dict(config.data)) == (3, {"x": 5})
    session.rollback()
    assert (config.version, dict(config.data)) == (1, {"x": 1})
    config.data["x"] = 7
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 7})]


def test_a_rollback_while_another_object_is_the_same_version(committed: Committed, session: Session) -> None:
    """The object stays detached, and an edit of it raises an error that says so."""
    config = committed({"x": 1})
    config.data["x"] = 2
    session.flush()
    other = session.get(ConfigData, 1)
    assert other is not None
    session.rollback()
    assert (other in session, dict(other.data)) == (True, {"x": 1})
    assert (config in session, dict(config.data)) == (False, {"x": 1})
    with pytest.raises(DetachedInstanceError, match="another object is"):
        config.data["x"] = 3
    other.data["x"] = 3
    session.commit()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 3})]


# Objects that move between sessions


def test_a_detached_version_is_edited_and_added_again(engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session:
        config = ConfigData({"x": 1, "list": [1]})
        session.add(config)
        session.commit()
    config = pickle.loads(pickle.dumps(config))
    config.data["x"] = 2
    with Session(engine) as session:
        session.add(config)
        session.commit()
        assert versions(session) == [(1, {"x": 1, "list": [1]}), (2, {"x": 2, "list": [1]})]


def test_a_detached_version_that_was_never_read(committed: Committed, session: Session) -> None:
    committed({"x": 1})
    session.expunge_all()
    config = session.scalars(select(ConfigData)).one()
    session.expunge(config)
    with pytest.raises(DetachedInstanceError, match="its data was not read while it was"):
        len(config.data)


# Sessions at the same time


def test_two_sessions_edit_one_head(shared_engine: Engine) -> None:
    with Session(shared_engine) as one, Session(shared_engine) as two:
        one.add(ConfigData({"x": 1}))
        one.commit()
        mine, theirs = one.scalars(select(ConfigData)).one(), two.scalars(select(ConfigData)).one()
        assert mine.data == theirs.data
        two.rollback()
        mine.data["x"] = 2
        one.commit()
        theirs.data["x"] = 3
        with pytest.raises(StaleVersion):
            two.commit()
        two.rollback()
        assert versions(two) == [(1, {"x": 1}), (2, {"x": 2})]


def test_writers_take_turns(shared_engine: Engine) -> None:
    """Four threads each commit five increments of one number: no version is lost, doubled or skipped."""
    writers, times = 4, 5
    with Session(shared_engine) as session:
        session.add(ConfigData({"n": 0}))
        session.commit()

    def count(_: int) -> None:
        won = 0
        while won < times:
            with Session(shared_engine) as session:
                head = session.scalars(select(ConfigData).order_by(ConfigData.version.desc()).limit(1)).one()
                head.data["n"] += 1
                try:
                    session.commit()
                except StaleVersion:
                    continue
                won += 1

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(count, range(writers)))
    with Session(shared_engine) as session:
        assert versions(session) == [(n + 1, {"n": n}) for n in range(writers * times + 1)]


def test_the_schema_refuses_a_number_twice(
    committed: Committed, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a session does not see the newest head, as in a snapshot that is older than the lock."""
    config = committed({"x": 1})
    first = queries.head().where(VERSIONS.c.version == 1)
    config.data["x"] = 2
    session.commit()
    old = session.get(ConfigData, 1)
    assert old is not None
    old.data["x"] = 9
    with monkeypatch.context() as patch:
        patch.setattr(queries, "head", lambda: first)
        with pytest.raises(IntegrityError):
            session.commit()
    session.rollback()
    assert versions(session) == [(1, {"x": 1}), (2, {"x": 2})]
