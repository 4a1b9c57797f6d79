"""Reading a map: with or without keyframes, some of them damaged, in few statements, and only if it is intact."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.orm import Session

from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.planning import Author, plan
from lamina_server.domain.planning import MapLimits as Limits
from lamina_server.domain.records import Change, State
from lamina_server.domain.values import Value
from lamina_server.models import ConfigData, ConfigValue, ConfigValueAssociation
from lamina_server.store.open import open_store
from tests.server import databases

Committed = Callable[..., ConfigData]

MAPS = {1: {"a": 1, "b": 2, "c": 3}, 2: {"a": 10, "b": 2, "c": 3}, 3: {"a": 10, "b": 2}, 4: {"a": 10, "b": 2, "d": 4}}


@pytest.fixture
def history(committed: Committed, session: Session) -> Session:
    """Four versions, MAPS; the ids of values rise by version and key, from 1: a b c, a, (c), d."""
    other = committed({"a": 99}, config="other")
    assert other.id == 1
    config = committed(MAPS[1])
    for number in (2, 3, 4):
        config.data = MAPS[number]
        session.commit()
    session.expunge_all()
    return session


def associate(session: Session, version: int, values: list[tuple[str, int]], config: str = "default") -> None:
    """Write lines of a keyframe, by the key and version of each value."""
    head = select(ConfigData.id).join(ConfigData.config_name).where(ConfigData.version == version)
    id_ = session.scalars(head.where(text("config_name.name = 'default'"))).one()
    for key, origin in values:
        found = (
            select(ConfigValue.id)
            .join(ConfigValue.originating_config)
            .join(ConfigData.config_name)
            .where(ConfigValue.name == key, ConfigValue.version == origin)
            .where(text("config_name.name = :config").bindparams(config=config))
        )
        line = insert(ConfigValueAssociation).values(config_id=id_, config_value_id=session.scalars(found).one())
        session.connection().execute(line)
    session.commit()


def read(session: Session) -> dict[int, dict[str, Any]]:
    rows = session.scalars(select(ConfigData).join(ConfigData.config_name).where(text("config_name.name = 'default'")))
    return {row.version: dict(row.data) for row in rows}


def test_without_a_keyframe(history: Session) -> None:
    assert read(history) == MAPS


def test_a_keyframe_changes_no_answer(history: Session) -> None:
    keyframes = {
        3: [("a", 2), ("b", 1)],
        1: [("a", 1), ("b", 1), ("c", 1)],
        4: [("a", 2), ("b", 1), ("d", 4)],
        2: [("a", 2), ("b", 1), ("c", 1)],
    }
    for version, values in keyframes.items():
        associate(history, version, values)
        history.expunge_all()
        assert read(history) == MAPS


@databases.ONE
@pytest.mark.parametrize(
    ("lines", "config"),
    [
        ([("a", 2)], "default"),  # one is missing
        ([("a", 2), ("b", 1), ("c", 1)], "default"),  # one is deleted by then
        ([("a", 2), ("c", 3)], "default"),  # a tombstone
        ([("a", 1), ("b", 1)], "default"),  # one is changed by then
        ([("a", 2), ("d", 4)], "default"),  # one is of a later version
        ([("a", 1)], "other"),  # of another config
    ],
)
def test_a_keyframe_that_is_not_the_map_is_not_used(
    history: Session, lines: list[tuple[str, int]], config: str
) -> None:
    associate(history, 3, lines, config)
    assert read(history) == MAPS
    history.expunge_all()
    associate(history, 1, [("a", 1), ("b", 1), ("c", 1)])  # and the one before it still serves
    assert read(history) == MAPS


@databases.ONE
def test_a_keyframe_of_another_config_with_as_many_keys(history: Session) -> None:
    associate(history, 3, [("a", 1)], "other")
    associate(history, 3, [("b", 1)])
    assert read(history) == MAPS


def test_a_long_past_takes_few_statements(engine: Engine, statements: list[str]) -> None:
    with Session(engine) as session:
        config = ConfigData({f"k{n}": n for n in range(20)})
        session.add(config)
        session.commit()
        for number in range(60):
            config.data[f"k{number % 20}"] = -1 - number
            session.commit()
    with Session(engine) as session:
        newest = session.scalars(select(ConfigData).where(ConfigData.version == 61)).one()
        found = [element.config_value for element in newest.elements.values()]
        lines = [{"config_id": newest.id, "config_value_id": value.id} for value in found if value]
        session.connection().execute(insert(ConfigValueAssociation), lines)
        session.commit()
    for version, cost in (
        (1, 3),
        (60, 3),
        (61, 6),
    ):  # is there a keyframe, what does it hold, is that right, which values are younger, and is it compacted
        with Session(engine) as session:
            row = session.scalars(select(ConfigData).where(ConfigData.version == version)).one()
            statements.clear()
            assert len(dict(row.data)) == 20
            assert statements == ["SELECT"] * cost


def test_a_map_is_read_only_once(committed: Committed, session: Session, statements: list[str]) -> None:
    """A version never changes, so its map is kept after the commit."""
    config = committed({"x": 1})
    statements.clear()
    assert dict(config.data) == {"x": 1}
    assert statements == []


def corrupt(engine: Engine, statement: str) -> None:
    """Change a row, for which the triggers must be dropped."""
    with engine.begin() as connection:
        on = " ON config_value" if engine.dialect.name == "postgresql" else ""
        for name in ("insert_only" if on else "no_update", "compaction_only"):
            connection.execute(text(f"DROP TRIGGER config_value_{name}{on}"))
        connection.execute(text(statement))


@databases.ONE
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE config_value SET int_value = 2 WHERE name = 'x'", "'x' as set by version 1 of 'default'"),
        ("UPDATE config_value SET name = 'z' WHERE name = 'x'", "'z' as set by version 1 of 'default'"),
        ("UPDATE config_value SET kind = 1 WHERE name = 'x'", "'x' as set by version 1 of 'default'"),
        (
            "UPDATE config_value SET kind = 6, int_value = NULL, string_value = '{' WHERE name = 'x'",
            "'x' as set by version 1 of 'default'",
        ),
        ("UPDATE config_value SET kind = 0, int_value = NULL, deleted = true WHERE name = 'x'", "'x' as set"),
        ("DELETE FROM config_value WHERE name = 'x'", "the map of 'default' at version 1"),
    ],
)
def test_a_damaged_map_is_never_returned(engine: Engine, statement: str, words: str) -> None:
    """P5: a read returns what was written, or raises an error."""
    with Session(engine) as session:
        session.add(ConfigData({"x": 1, "y": "text"}))
        session.commit()
    corrupt(engine, statement)
    with Session(engine) as session:
        config = session.scalars(select(ConfigData)).one()
        with pytest.raises(HashMismatchError, match=words):
            dict(config.data)


# One database for the models and for the store


@pytest.fixture(params=databases.SHARED)
def shared(request: pytest.FixtureRequest) -> Any:
    with databases.fresh_engine(request.param, request) as engine:
        yield engine


def test_the_models_and_the_store_read_what_the_other_wrote(shared: Engine) -> None:
    url = shared.url.render_as_string(hide_password=False)
    store = open_store(url)
    limits = Limits(keys=100, size_bytes=10_000)
    changes = [Change("a", Value.of_integer(1)), Change("j", Value.of_json('{"b": [1.5]}'))]
    with store.write() as writing:
        first = plan(
            changes,
            config="one",
            head=None,
            values={},
            author=Author("ada", verified=True),
            message="by the store",
            now_us=1,
            limits=limits,
        )
        writing.insert(first)
    store.write_keyframe("one")
    store.close()

    with Session(shared) as session:
        config = session.scalars(select(ConfigData)).one()
        assert dict(config.data) == {"a": 1, "j": {"b": [1.5]}}
        assert (config.author, config.author_verified) == ("ada", True)
        config.data["a"] = 2
        session.commit()
    shared.dispose()

    store = open_store(url)
    with store.read() as reading:
        head = reading.head("one")
        assert head is not None
        assert (head.number, head.author, head.author_verified) == (2, "anonymous", False)
        assert [(entry.key, entry.origin) for entry in reading.entries("one", 2)] == [("a", 2), ("j", 1)]
        assert reading.states("one", 2, ["a"]) == {"a": State(Value.of_integer(2), 2)}
    with store.write() as writing:
        third = plan(
            [Change("a", None)],
            config="one",
            head=head,
            values={"a": Value.of_integer(2)},
            author=Author("ada"),
            message="",
            now_us=2,
            limits=limits,
        )
        writing.insert(third)
    store.write_keyframe("one")
    store.close()

    with Session(shared) as session:
        newest = session.scalars(select(ConfigData).order_by(ConfigData.version.desc()).limit(1)).one()
        assert (newest.version, dict(newest.data)) == (3, {"j": {"b": [1.5]}})
