"""SQLAlchemy's recipe for a versioned map, which the models generalise, and the columns of a version."""

import hashlib
import struct
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from lamina_server.models import ConfigData, ConfigName, ConfigValue, Sealed

Committed = Callable[..., ConfigData]

FIRST = {"user_name": "twitter", "hash_id": "4fedffca37eaf", "x": 27, "y": 450}


def test_the_demo_of_the_recipe(engine: Engine, statements: list[str]) -> None:
    """With the recipe's names: a default config, `id`, `data`, `name`, `value`, the originating ids. INSERTs alone."""
    sess = sessionmaker(engine)()
    config = ConfigData(FIRST)
    sess.add(config)
    sess.commit()
    assert inserts(statements) == {"config_name": 1, "config": 1, "config_value": 4}
    version_one = config.id

    config.data["user_name"] = "yahoo"
    sess.commit()
    assert inserts(statements) == {"config": 1, "config_value": 1}
    version_two = config.id
    assert version_one != version_two
    assert config.data == {**FIRST, "user_name": "yahoo"}

    old_config = sess.get(ConfigData, version_one)
    assert old_config is not None
    assert old_config.data == FIRST

    history = sess.scalars(
        select(ConfigValue).where(ConfigValue.name == "user_name").order_by(ConfigValue.originating_config_id)
    ).all()
    assert [(row.value, row.originating_config_id) for row in history] == [("twitter", 1), ("yahoo", 2)]
    assert [row.originating_config.id for row in history] == [version_one, version_two] == [1, 2]
    assert inserts(statements) == {}
    sess.close()


def inserts(statements: list[str]) -> dict[str, int]:
    """Count the rows inserted into each table since the last call."""
    tables = [statement.removeprefix("INSERT ") for statement in statements if statement != "SELECT"]
    statements.clear()
    return {table: tables.count(table) for table in dict.fromkeys(tables)}


def test_a_version_costs_one_row_and_one_for_each_change(
    committed: Committed, session: Session, statements: list[str]
) -> None:
    config = committed({f"k{n}": n for n in range(100)})
    inserts(statements)
    config.data |= {"k1": -1, "k2": -2, "new": 0}
    del config.data["k3"]
    session.commit()
    assert inserts(statements) == {"config": 1, "config_value": 4}


def test_an_equal_value_makes_no_version(committed: Committed, session: Session, statements: list[str]) -> None:
    config = committed({"x": 1, "list": [1, {"a": 2}]})
    inserts(statements)
    config.data["x"] = 1
    config.data["list"] = [1, {"a": 2}]
    config.data["x"] = 2
    config.data["x"] = 1  # set back
    config.data["z"] = 1
    del config.data["z"]
    session.commit()
    assert (inserts(statements), config.version) == ({}, 1)


def test_true_and_1_and_1_0_are_three_values(committed: Committed, session: Session) -> None:
    config = committed({"x": 1})
    for version, plain in enumerate([True, 1.0, 1], start=2):
        config.data["x"] = plain
        session.commit()
        assert (config.version, config.data["x"], type(config.data["x"])) == (version, plain, type(plain))


def test_a_secret_stays_sealed_and_stays_a_secret(committed: Committed, session: Session) -> None:
    sealed = Sealed(b"\xf5LS\x01 sealed")
    config = committed({"x": sealed, "y": bytes(sealed)})
    session.expire_all()
    assert (type(config.data["x"]), type(config.data["y"])) == (Sealed, bytes)
    assert repr(config.data["x"]) == "<Sealed>"
    assert [each.kind for each in session.scalars(select(ConfigValue).order_by(ConfigValue.name))] == [7, 5]
    config.data["x"] = sealed
    session.commit()
    assert config.version == 1, "it is the same secret"


def test_elements_have_names_values_and_the_rows_of_the_values(committed: Committed, session: Session) -> None:
    config = committed(FIRST)
    config.data["x"] = 28
    session.commit()
    config.data["y"] = 451
    elements = config.elements
    assert list(elements) == sorted(FIRST)
    assert [(elements[key].name, elements[key].value) for key in ("x", "y")] == [("x", 28), ("y", 451)]
    sources = {key: elements[key].config_value for key in ("user_name", "x", "y")}
    origins = {key: source and source.originating_config_id for key, source in sources.items()}
    assert origins == {"user_name": 1, "x": 2, "y": None}  # y is not flushed yet
    with pytest.raises(TypeError):
        elements["x"] = elements["y"]  # type: ignore[index]


def test_author_and_message_belong_to_one_version(committed: Committed, session: Session) -> None:
    config = committed({"x": 1}, config="payments/prod", author="ada", message="first")
    config.author, config.message = "bob", "second"
    assert session.scalar(select(func.count(ConfigName.id))) == 1  # an autoflush, which makes no version
    config.data["x"] = 2
    session.commit()
    config.data["x"] = 3
    session.commit()
    config.author, config.message = "anonymous", ""  # equal to the last version's, and assigned all the same
    config.message = "no change, no version"
    session.commit()
    rows = session.execute(select(ConfigData.version, ConfigData.author, ConfigData.message).order_by(ConfigData.id))
    assert rows.all() == [(1, "ada", "first"), (2, "bob", "second"), (3, "anonymous", "")]


def test_two_versions_may_have_the_same_message(committed: Committed, session: Session) -> None:
    config = committed({"x": 1}, message="tick")
    config.data["x"], config.message = 2, "tick"
    session.commit()
    assert config.message == "tick"


def test_many_configs_share_the_tables(committed: Committed, session: Session) -> None:
    one, two = committed({"x": 1}, config="one"), committed({"x": 2}, config="two")
    one.data["x"], two.data["y"] = 10, 20
    session.commit()
    one.data["x"] = 11
    session.commit()
    assert [(c.config, c.version, dict(c.data)) for c in (one, two)] == [
        ("one", 3, {"x": 11}),
        ("two", 2, {"x": 2, "y": 20}),
    ]


def test_an_empty_map_is_a_version(committed: Committed, session: Session) -> None:
    config = committed({})
    assert (config.version, config.key_count, dict(config.data)) == (1, 0, {})
    config.data["x"] = 1
    session.commit()
    del config.data["x"]
    session.commit()
    assert (config.version, config.key_count, config.size_bytes) == (3, 0, 0)
    tombstone = session.scalars(select(ConfigValue).where(ConfigValue.version == 3)).one()
    assert (tombstone.deleted, tombstone.value) == (True, None)


def test_commit_times_rise_even_if_the_clock_goes_back(
    committed: Committed, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = committed({"x": 1})
    monkeypatch.setattr("time.time_ns", lambda: 0)
    before = config.commit_time_us
    config.data["x"] = 2
    session.commit()
    assert config.commit_time_us == before + 1


# The hashes, calculated again from the rows alone


def sha256(*fields: bytes | str | int) -> bytes:
    encoded = [
        field.encode() if isinstance(field, str) else struct.pack(">q", field) if isinstance(field, int) else field
        for field in fields
    ]
    return hashlib.sha256(b"".join(struct.pack(">Q", len(field)) + field for field in encoded)).digest()


def test_digests_and_hashes_are_as_documented(committed: Committed, session: Session) -> None:
    first = {"b": True, "i": -2, "f": 0.5, "s": "ü", "y": b"\x00", "n": None, "j": {"b": [1], "a": "é"}}
    config = committed(first, config="payments/prod", author="ada", message="one")
    config.data["i"] = 3
    del config.data["s"]
    session.commit()
    canonical: dict[int, list[tuple[str, bytes | str, bytes | str]]] = {
        1: [
            ("b", "BOOLEAN", b"\x01"),
            ("f", "FLOAT", struct.pack(">d", 0.5)),
            ("i", "INTEGER", struct.pack(">q", -2)),
            ("j", "JSON", '{"a":"é","b":[1]}'),
            ("n", "NULL", b""),
            ("s", "STRING", "ü"),
            ("y", "BYTES", b"\x00"),
        ],
        2: [("i", "INTEGER", struct.pack(">q", 3)), ("s", b"DELETED", b"")],
    }
    parent = b""
    for row in session.scalars(select(ConfigData).order_by(ConfigData.version)):
        expected = [
            sha256("lamina/value/1", "payments/prod", row.version, *fields) for fields in canonical[row.version]
        ]
        stored = session.scalars(
            select(ConfigValue.digest).where(ConfigValue.version == row.version).order_by(ConfigValue.name)
        ).all()
        assert stored == expected
        header = (row.version, row.author, 0, row.message, row.commit_time_us, row.key_count, len(expected))
        parent = sha256("lamina/version/1", parent, "payments/prod", *header, 0, *expected)
        assert row.hash == parent
    assert (config.version, config.key_count, config.change_count) == (2, 6, 2)
