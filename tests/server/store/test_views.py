"""The views show what the server's readers do, as the same text on each database, and let nobody write."""

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.records import Source
from lamina_server.models.views import VIEWS
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from tests.conformance.commits import ADA, CONFIG, DELETED, commit, map_at, value
from tests.support.postgres import Postgres

README = Path(__file__).parents[3] / "server" / "README.md"

Place = tuple[SqlStore, Engine]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A store, and an engine as a reporting tool has it: with no setting of ours."""
    if request.param == "sqlite":
        path = tmp_path / "lamina.db"
        store = open_store(f"sqlite:///{path}")
        engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True))
        yield store, engine
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        url = postgres.new_database(template_url=request.getfixturevalue("postgres_template"))
        store, engine = open_store(url), create_engine(url)
        yield store, engine
    engine.dispose()
    store.close()


def ask(engine: Engine, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query), parameters)]


# Each value, and how every database shows it: kind, text, number.
SHOWN = [
    (None, "null", None, None),
    (True, "boolean", "true", None),
    (False, "boolean", "false", None),
    (0, "integer", "0", 0.0),
    (-(2**63), "integer", "-9223372036854775808", -(2.0**63)),
    (2**63 - 1, "integer", "9223372036854775807", 2.0**63),
    (0.0, "float", "0", 0.0),
    (1.0, "float", "1", 1.0),
    (-2.5, "float", "-2.5", -2.5),
    (0.1, "float", "0.1", 0.1),
    (0.1 + 0.2, "float", "0.30000000000000004", 0.1 + 0.2),
    (1 / 3, "float", "0.3333333333333333", 1 / 3),
    (0.0001, "float", "0.0001", 0.0001),
    (0.00001, "float", "1e-05", 0.00001),
    (123456789012345.0, "float", "123456789012345", 123456789012345.0),
    (1e15, "float", "1e+15", 1e15),
    (1234567890123456.0, "float", "1.234567890123456e+15", 1234567890123456.0),
    (12345678901234567.0, "float", "1.2345678901234568e+16", 12345678901234567.0),
    (1e300, "float", "1e+300", 1e300),
    ("", "string", "", None),
    ("a 'b' \\x é 😀", "string", "a 'b' \\x é 😀", None),
    (b"", "bytes", "\\x", None),
    (b"\x00\xff\x10", "bytes", "\\x00ff10", None),
    ([1, None], "json", "[1,null]", None),
    ({"b": 1.5, "a": "é"}, "json", '{"a":"é","b":1.5}', None),
]


def test_each_kind_of_value_has_its_text(place: Place) -> None:
    store, engine = place
    commit(store, {f"k{index:02}": data for index, (data, *_) in enumerate(SHOWN)})
    expected = [(f"k{index:02}", *shown) for index, (_, *shown) in enumerate(SHOWN)]
    assert ask(engine, "SELECT key, kind, value, number FROM lamina_head ORDER BY key") == expected
    assert ask(engine, "SELECT key, kind, value, number FROM lamina_key_history ORDER BY key") == expected


def test_the_map_at_every_version_is_what_the_readers_say(place: Place) -> None:
    """P5: with keyframes and without, deleted and set again, and of this config alone."""
    store, engine = place
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    keys = [f"key/{number}" for number in range(12)] + ["é", "Z", "a"]
    for number in range(1, 41):
        changes = {key: rng.choice([DELETED, number]) for key in rng.sample(keys, 3)}
        commit(store, changes | {"number": number})
        commit(store, {"of another": number}, config="other")
        if number % 15 == 0:
            store.write_keyframe(CONFIG)
    query = "SELECT key, value, origin, kind FROM lamina_map WHERE config = :config AND version = :version"
    with store.read() as reading:
        for number in range(1, 41):
            entries = {entry.key: (entry.value.data, entry.origin) for entry in reading.entries(CONFIG, number)}
            rows = ask(engine, query, config=CONFIG, version=number)
            assert {key: (int(shown), origin) for key, shown, origin, _ in rows} == entries
            assert len(rows) == len(entries)
    assert ask(engine, query, config=CONFIG, version=41) == []
    assert ask(engine, query, config="none", version=1) == []
    newest = "SELECT * FROM {} WHERE config = :config AND version = 40 ORDER BY key"
    assert ask(engine, newest.format("lamina_head"), config=CONFIG) == ask(
        engine, newest.format("lamina_map"), config=CONFIG
    )
    assert ask(engine, "SELECT DISTINCT config, version FROM lamina_head ORDER BY config") == [
        ("other", 40),
        (CONFIG, 40),
    ]


def test_the_history_of_a_key(place: Place) -> None:
    store, engine = place
    commit(store, {"x": 27, "y": None}, message="begin", now_us=1_700_000_000_000_001)
    commit(store, {"y": 1})
    commit(store, {"x": DELETED}, message="no more")
    commit(store, {"x": "again"})
    commit(store, {"x": "elsewhere"}, config="other")
    query = """SELECT version, author, message, deleted, kind, value FROM lamina_key_history
        WHERE config = :config AND key = :key ORDER BY version"""
    assert ask(engine, query, config=CONFIG, key="x") == [
        (1, "ada", "begin", False, "integer", "27"),
        (3, "ada", "no more", True, None, None),
        (4, "ada", "", False, "string", "again"),
    ]
    assert ask(engine, query, config=CONFIG, key="y")[0] == (1, "ada", "begin", False, "null", None)


def test_the_log(place: Place) -> None:
    store, engine = place
    first = commit(store, {"x": 27, "y": 450}, message="begin", now_us=1_700_000_000_000_001)
    second = commit(store, {"x": DELETED}, now_us=1_700_000_000_999_999)
    copy = commit(
        store,
        {"y": 450},
        config="copy",
        source=Source(CONFIG, second.number, second.hash),
        now_us=1_700_000_001_000_000,
    )
    query = """SELECT config, version, author, author_verified, message, key_count, change_count, size_bytes, hash,
        source_config, source_version FROM lamina_log ORDER BY time"""
    assert ask(engine, query) == [
        (CONFIG, 1, "ada", True, "begin", 2, 2, first.size_bytes, first.hash.hex(), None, None),
        (CONFIG, 2, "ada", True, "", 1, 1, second.size_bytes, second.hash.hex(), None, None),
        ("copy", 1, "ada", True, "", 1, 1, copy.size_bytes, copy.hash.hex(), CONFIG, 2),
    ]


def test_times_are_exact(place: Place) -> None:
    store, engine = place
    times = [1, 999_999, 1_700_000_000_000_001, 1_700_000_000_999_999, 4_102_444_799_123_457]
    for time_us in times:
        commit(store, {"x": time_us}, now_us=time_us)
    for view in ("lamina_log", "lamina_key_history"):
        shown = [row[0] for row in ask(engine, f"SELECT time FROM {view} ORDER BY version")]
        read = [datetime.fromisoformat(each) if isinstance(each, str) else each for each in shown]
        epoch = datetime.fromtimestamp(0, UTC)
        assert [(each - epoch).total_seconds() * 1e6 for each in read] == pytest.approx(times, abs=0.5)
        assert all(isinstance(each, str) and each.endswith("Z") for each in shown) or all(
            isinstance(each, datetime) for each in shown
        )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {} (config, version) VALUES ('forged', 1)",
        "UPDATE {} SET config = 'forged'",
        "DELETE FROM {}",
        "DELETE FROM {} WHERE false",
    ],
)
def test_no_role_can_write_through_a_view(place: Place, view: str, statement: str) -> None:
    """P5: not even a role that may write to the tables."""
    store, engine = place
    commit(store, {"x": 1})
    if engine.dialect.name == "sqlite":
        engine = store._database._writer  # type: ignore[attr-defined]
    with pytest.raises(DBAPIError, match=rf"view \"?{view}|{view} because it is a view"), engine.begin() as connection:
        connection.execute(text(statement.format(view)))
    with store.read() as reading:
        assert map_at(reading, 1) == {"x": value(1)}


@pytest.mark.postgres
def test_a_role_needs_rights_on_the_views_alone(postgres_url: str) -> None:
    store, engine = open_store(postgres_url), create_engine(postgres_url)
    commit(store, {"x": 1})
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE reports"))
        connection.execute(text(f"GRANT SELECT ON {', '.join(VIEWS)} TO reports"))
    try:
        with engine.connect() as connection:
            connection.execute(text("SET ROLE reports"))
            for view in VIEWS:
                assert len(connection.execute(text(f"SELECT * FROM {view}")).all()) == 1
            with pytest.raises(DBAPIError, match="permission denied for table config_value"):
                connection.execute(text("SELECT * FROM config_value"))
    finally:
        with engine.begin() as connection:
            connection.execute(text("DROP OWNED BY reports"))
            connection.execute(text("DROP ROLE reports"))
        engine.dispose()
        store.close()


def test_the_views_work_without_a_trusted_schema(tmp_path: Path) -> None:
    """Some programs switch off functions with side effects in views; ours use none."""
    with closing(open_store(f"sqlite:///{tmp_path}/lamina.db")) as store:
        commit(store, {"x": 0.5, "y": b"1"}, author=ADA)
        with closing(sqlite3.connect(f"file:{tmp_path}/lamina.db?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema=OFF")
            for view in VIEWS:
                assert connection.execute(f"SELECT * FROM {view}").fetchall()


def test_the_readmes_queries_run(place: Place) -> None:
    store, engine = place
    commit(store, {"timeout": 30, "motd": "hello", "old": 1}, config="shop/prod")
    commit(store, {"timeout": 45, "old": DELETED}, config="shop/prod")
    (block,) = re.findall(r"```sql\n(.*?)\n```", README.read_text(encoding="utf-8"), re.DOTALL)
    found = [ask(engine, query) for query in block.split(";") if query.strip()]
    first, head, history, difference, authors, numbers = found
    assert first == [("motd", "hello"), ("old", "1"), ("timeout", "30")]
    assert sorted(row[:3] for row in head) == [("motd", "hello", "ada"), ("timeout", "45", "ada")]
    assert [(row[0], row[4]) for row in history] == [(1, "30"), (2, "45")]
    assert sorted(difference) == [("old", "1", None), ("timeout", "30", "45")]
    assert [row[:2] for row in authors] == [("ada", 2)]
    assert [row[1] for row in numbers] == [30.0, 45.0]
