"""The versioned models: the recipe's walk, a dict with a past, and INSERTs alone, on each database."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, delete, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from lamina_server.errors import ExistsError, HashMismatchError, LimitError
from lamina_server.hashing import value_digest, version_hash
from lamina_server.models import (
    Base,
    ConfigData,
    ConfigName,
    ConfigRequest,
    ConfigValue,
    ConfigValueAssociation,
    InsertOnlyError,
    StaleVersion,
    value_of,
)
from lamina_server.names import BadNameError
from lamina_server.values import BadValueError
from tests.server import databases

FIRST = {"user_name": "twitter", "hash_id": "4fedffca37eaf", "x": 27, "y": 450}


@pytest.fixture(params=databases.ALL)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with databases.fresh_engine(request.param, request) as engine:
        Base.metadata.create_all(engine)
        yield engine


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """Every statement from here on, as its first words, but for the locks."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        match = re.match(r"(INSERT INTO|UPDATE|DELETE FROM) (\w+)", statement)
        rows = len(parameters) if isinstance(parameters, list) else 1
        if match:
            found.extend([f"{match[1].split()[0]} {match[2]}"] * rows)
        else:
            assert statement.lstrip().startswith("SELECT"), statement

    event.listen(engine, "before_cursor_execute", note)
    return found


# The recipe's walk


def test_the_recipes_demo(engine: Engine, statements: list[str]) -> None:
    """The published demo in its own names: a default config, `id`, `data`, `name`, `value`, the originating ids."""
    sess = sessionmaker(engine)()
    config = ConfigData(FIRST)
    sess.add(config)
    sess.commit()
    version_one = config.id
    assert sorted(statements) == ["INSERT config", "INSERT config_name", *["INSERT config_value"] * 4]
    statements.clear()

    config.data["user_name"] = "yahoo"
    sess.commit()
    version_two = config.id
    assert version_one != version_two
    assert statements == ["INSERT config", "INSERT config_value"]

    assert config.data == {**FIRST, "user_name": "yahoo"}
    old_config = sess.get(ConfigData, version_one)
    assert old_config is not None
    assert old_config.data == FIRST

    history = sess.scalars(
        select(ConfigValue).where(ConfigValue.name == "user_name").order_by(ConfigValue.originating_config_id)
    ).all()
    assert [(h.value, h.originating_config_id) for h in history] == [("twitter", version_one), ("yahoo", version_two)]
    assert [h.originating_config.id for h in history] == [version_one, version_two]
    assert (version_one, version_two) == (1, 2)
    sess.close()


def test_elements_name_values_and_their_rows(session: Session) -> None:
    config = ConfigData(FIRST)
    session.add(config)
    session.commit()
    config.data["x"] = 28
    session.commit()
    element = config.elements["x"]
    assert (element.name, element.value) == ("x", 28)
    assert element.config_value is not None
    assert element.config_value.originating_config_id == config.id
    assert config.elements.keys() == FIRST.keys()
    with pytest.raises(TypeError):
        config.elements["x"] = element  # type: ignore[index]


# A dict with a past

keys = st.sampled_from(["a", "b", "c", "ü"])
plains = st.sampled_from([None, True, 1, 1.0, "1", b"1", "", [], [1, {"a": None}], {"b": 1.5}])
operations = st.lists(
    st.one_of(
        st.tuples(st.just("set"), keys, plains),
        st.tuples(st.just("delete"), keys),
        st.tuples(st.just("update"), st.dictionaries(keys, plains)),
        st.tuples(st.just("clear")),
        st.tuples(st.just("commit")),
        st.tuples(st.just("rollback")),
    ),
    max_size=25,
)


def exactly(plain: Any) -> str:
    """Write a value so that only what Lamina holds for equal is equal."""
    return json.dumps(plain, sort_keys=True, default=repr) if not isinstance(plain, bytes) else repr(plain)


def image(data: Any) -> dict[str, str]:
    return {key: exactly(data[key]) for key in data}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_any_edits_against_a_plain_dict(steps: list[tuple[Any, ...]]) -> None:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        config = ConfigData({})
        session.add(config)
        session.commit()
        model: dict[str, Any] = {}
        past = {config.id: dict(model)}
        for step in steps:
            apply(step, config, model, session, past)
            assert image(config.data) == {key: exactly(model[key]) for key in sorted(model)}
            assert len(config.data) == len(model)
        session.commit()
    with Session(engine) as session:
        for id_, old in past.items():
            row = session.get(ConfigData, id_)
            assert row is not None
            assert image(row.data) == image(old)
    engine.dispose()


def apply(
    step: tuple[Any, ...], config: ConfigData, model: dict[str, Any], session: Session, past: dict[int, dict[str, Any]]
) -> None:
    match step:
        case ("set", key, plain):
            config.data[key] = model[key] = plain
        case ("delete", key):
            assert (config.data.pop(key, "none") == "none") == (model.pop(key, "none") == "none")
        case ("update", changes):
            config.data |= changes
            model |= changes
        case ("clear",):
            config.data.clear()
            model.clear()
        case ("commit",):
            before, changed = config.id, image(past[config.id]) != image(model)
            session.commit()
            assert (config.id != before) == changed
            past[config.id] = dict(model)
            assert session.scalar(select(func.count(ConfigData.id))) == len(past)
        case ("rollback",):
            session.rollback()
            model.clear()
            model |= past[config.id]


def test_an_equal_value_makes_nothing(session: Session, statements: list[str]) -> None:
    config = ConfigData({"x": 1, "l": [1, {"a": 2}]})
    session.add(config)
    session.commit()
    statements.clear()
    config.data["x"] = 1
    config.data["l"] = [1, {"a": 2}]
    config.data["x"] = 2
    config.data["x"] = 1  # set back
    config.data.update({"z": 1})
    del config.data["z"]
    session.commit()
    assert (statements, config.version) == ([], 1)
    config.data["x"] = True
    session.commit()
    assert (config.version, config.data["x"]) == (2, True)


def test_lists_and_dicts_come_out_read_only(session: Session) -> None:
    config = ConfigData({"hosts": ["h1"], "db": {"port": 1}})
    session.add(config)
    session.commit()
    with pytest.raises(TypeError, match="assign a changed copy"):
        config.data["hosts"].append("h2")
    with pytest.raises(TypeError, match="assign a changed copy"):
        config.data["db"]["port"] = 2
    config.data["hosts"] += ["h2"]
    session.commit()
    assert config.data["hosts"] == ["h1", "h2"]
    assert type(copy.deepcopy(config.data["db"])) is dict


def test_author_and_message_are_those_of_one_version(session: Session) -> None:
    config = ConfigData({"x": 1}, config="payments/prod", author="ada", message="first")
    session.add(config)
    session.commit()
    config.data["x"] = 2
    config.author, config.message = "bob", "second"
    session.commit()
    config.data["x"] = 3
    session.commit()
    rows = session.execute(select(ConfigData.version, ConfigData.author, ConfigData.message).order_by(ConfigData.id))
    assert rows.all() == [(1, "ada", "first"), (2, "bob", "second"), (3, "anonymous", "")]


def test_many_configs_share_the_tables(session: Session) -> None:
    one, two = ConfigData({"x": 1}, config="one"), ConfigData({"x": 2}, config="two")
    session.add_all([one, two])
    session.commit()
    one.data["x"], two.data["y"] = 10, 20
    session.commit()
    one.data["x"] = 11
    session.commit()
    assert (one.version, two.version) == (3, 2)
    assert one.data == {"x": 11}
    assert two.data == {"x": 2, "y": 20}


def test_hashes_are_those_of_the_hash_chain(session: Session) -> None:
    config = ConfigData({"x": 1, "y": "ü"}, author="ada")
    session.add(config)
    session.commit()
    config.data["x"] = None
    del config.data["y"]
    session.commit()
    parent = b""
    for row in session.scalars(select(ConfigData).order_by(ConfigData.version)):
        values = session.scalars(
            select(ConfigValue).where(ConfigValue.originating_config_id == row.id).order_by(ConfigValue.name)
        ).all()
        digests = [value_digest("default", row.version, value.name, value_of(value)) for value in values]
        assert [value.digest for value in values] == digests
        parent = version_hash(
            parent_hash=parent,
            config="default",
            number=row.version,
            author=row.author,
            author_verified=row.author_verified,
            message=row.message,
            commit_time_us=row.commit_time_us,
            key_count=row.key_count,
            source=None,
            digests=digests,
        )
        assert (row.hash, row.change_count, row.key_count) == (parent, 2, {1: 2, 2: 1}[row.version])


# What is refused


def test_editing_a_version_that_is_not_the_head(session: Session) -> None:
    config = ConfigData({"x": 1})
    session.add(config)
    session.commit()
    first = config.id
    config.data["x"] = 2
    session.commit()
    old = session.get(ConfigData, first)
    assert old is not None
    old.data["x"] = 9
    with pytest.raises(StaleVersion, match="version 1 of 'default' was edited, but its head is version 2"):
        session.commit()
    session.rollback()
    assert old.data == {"x": 1}
    assert config.data == {"x": 2}


def test_two_sessions_cannot_both_make_the_next_version(engine: Engine) -> None:
    with Session(engine) as one, Session(engine) as two:
        if engine.url.database is None:
            pytest.skip("a database in memory has one connection, and so one session at a time")
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


def test_a_second_first_version(session: Session) -> None:
    session.add(ConfigData({"x": 1}))
    session.commit()
    session.add(ConfigData({"y": 1}))
    with pytest.raises(ExistsError, match="'default'"):
        session.commit()
    session.rollback()
    assert session.scalar(select(func.count(ConfigData.id))) == 1


def test_a_failed_flush_leaves_things_as_they_were(session: Session) -> None:
    config = ConfigData({"x": 1}, config="one")
    session.add(config)
    session.commit()
    id_ = config.id
    config.data["x"] = 2
    session.add(ConfigData({}, config="one"))
    with pytest.raises(ExistsError):
        session.commit()
    session.rollback()
    assert (config.id, config.version) == (id_, 1)
    assert config.data == {"x": 1}
    config.data["x"] = 3
    session.commit()
    assert config.version == 2


def test_a_rollback_takes_a_flushed_version_back(session: Session) -> None:
    config = ConfigData({"x": 1})
    session.add(config)
    session.commit()
    config.data["x"] = 2
    session.flush()
    assert config.version == 2
    session.rollback()
    assert config.version == 1
    assert config.data == {"x": 1}
    config.data["x"] = 3
    session.commit()
    assert config.version == 2
    assert config.data == {"x": 3}


def test_rows_are_neither_changed_nor_deleted_nor_made_up_through_a_session(session: Session) -> None:
    config = ConfigData({"x": 1})
    session.add(config)
    session.commit()
    value = session.scalars(select(ConfigValue)).one()

    def refused() -> Any:
        return pytest.raises(InsertOnlyError)

    value.int_value = 2
    with refused():
        session.flush()
    session.rollback()
    config.hash = bytes(32)
    with refused():
        session.flush()
    session.rollback()
    session.delete(config)
    with refused():
        session.flush()
    session.rollback()
    session.add(ConfigValue(name="x", version=1))
    with refused():
        session.flush()
    session.rollback()
    for statement in (
        update(ConfigData).values(message="x"),
        delete(ConfigValue),
        insert(ConfigName).values(name="made/up"),
    ):
        with refused():
            session.execute(statement)
        session.rollback()


class Foreign(DeclarativeBase):
    """Somebody else's models."""


class Note(Foreign):
    """A row that changes."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str]


def test_other_peoples_models_change_as_ever(engine: Engine, session: Session) -> None:
    Foreign.metadata.create_all(engine)
    note = Note(words="one")
    session.add_all([note, ConfigData({"x": 1})])
    session.commit()
    note.words = "two"
    session.commit()
    session.execute(update(Note).values(words="three"))
    session.delete(note)
    session.commit()


UPDATE, DELETE = "UPDATE {table} SET {column} = {column}", "DELETE FROM {table}"
REFUSED = {
    "sqlite": [UPDATE, DELETE, "INSERT OR REPLACE INTO {table} SELECT * FROM {table}"],
    "postgresql": [UPDATE, DELETE, "TRUNCATE {table} CASCADE"],
}


@pytest.mark.parametrize("table", [table.name for table in Base.metadata.sorted_tables])
def test_the_database_itself_refuses(engine: Engine, table: str) -> None:
    """Raw SQL on a connection of its own, with no pragma of ours, meets the triggers."""
    fill(engine)
    column = Base.metadata.tables[table].columns.keys()[0]
    with engine.connect() as connection:
        before = connection.execute(text(f"SELECT * FROM {table}")).all()
        assert before
        connection.rollback()
        for statement in REFUSED[engine.dialect.name]:
            with pytest.raises(DBAPIError, match="insert-only"):
                connection.execute(text(statement.format(table=table, column=column)))
            connection.rollback()
        assert connection.execute(text(f"SELECT * FROM {table}")).all() == before


def fill(engine: Engine) -> None:
    """Put a row into every table."""
    with Session(engine) as session:
        session.add(ConfigData({"x": 1}))
        session.commit()
    with engine.begin() as connection:
        connection.execute(insert(ConfigValueAssociation).values(config_id=1, config_value_id=1))
        digest = hashlib.sha256(b"").digest()
        row = {"caller": "", "request_id": "1", "digest": digest, "config_name": "default", "created": True}
        connection.execute(insert(ConfigRequest).values(**row, merged=False, config_id=1))


def test_a_keyframe_changes_no_answer(engine: Engine) -> None:
    with Session(engine) as session:
        config = ConfigData({f"k{n}": n for n in range(5)})
        session.add(config)
        session.commit()
        config.data["k0"] = -1
        session.commit()
        one, two = 1, config.id
    with engine.begin() as connection:
        ids = connection.execute(text("SELECT id FROM config_value WHERE version = 1 AND name <> 'k0' OR version = 2"))
        rows = [{"config_id": two, "config_value_id": id_} for (id_,) in ids]
        connection.execute(insert(ConfigValueAssociation), rows)
    with Session(engine) as session:
        newest, oldest = session.get(ConfigData, two), session.get(ConfigData, one)
        assert newest is not None
        assert oldest is not None
        assert newest.data == {"k0": -1, **{f"k{n}": n for n in range(1, 5)}}
        assert oldest.data == {f"k{n}": n for n in range(5)}
        newest.data["k1"] = 10
        session.commit()
        assert newest.data["k1"] == 10


def test_a_changed_byte_is_noticed(engine: Engine) -> None:
    """P5: what was read is what was written, or an error."""
    fill(engine)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER config_value_no_update"))
        else:
            connection.execute(text("DROP TRIGGER config_value_insert_only ON config_value"))
        connection.execute(text("UPDATE config_value SET int_value = 2"))
    with Session(engine) as session:
        config = session.scalars(select(ConfigData)).one()
        with pytest.raises(HashMismatchError, match="'x' as set by version 1 of 'default'"):
            dict(config.data)


@pytest.mark.parametrize(
    ("key", "plain", "error"),
    [
        ("", 1, BadNameError),
        ("a\n", 1, BadNameError),
        ("e\u0301", 1, BadNameError),
        ("k" * 513, 1, BadNameError),
        ("k", float("nan"), BadValueError),
        ("k", 2**63, BadValueError),
        ("k", "\x00", BadValueError),
        ("k", "x" * (1024 * 1024 + 1), LimitError),
        ("k", (1, 2), TypeError),
        ("k", {1: 2}, TypeError),
        ("k", [b"1"], TypeError),
        (1, 1, TypeError),
    ],
)
def test_bad_keys_and_values_are_refused_at_the_assignment(key: Any, plain: Any, error: type[Exception]) -> None:
    config = ConfigData({})
    with pytest.raises(error):
        config.data[key] = plain
    assert config.data == {}
    with pytest.raises(BadNameError):
        ConfigData({}, config="no spaces")
