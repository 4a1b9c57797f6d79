"""The cost of queries, by EXPLAIN: they use indexes alone, and a longer history costs no more."""

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from lamina_server.domain.planning import Plan, plan
from lamina_server.domain.records import Change, Reply, Version
from lamina_server.domain.selection import KeyFilter
from lamina_server.domain.values import Value
from lamina_server.store.contract import Reading, Store
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from tests.conformance.commits import ADA, CONFIG, LIMITS, planned, request, value
from tests.support.statements import said

KEYS = [f"key/{number:03}" for number in range(200)]
KEYFRAME_EACH_VERSIONS = 250
TABLES = "config|config_name|config_value|config_value_association|config_request"


def fill(store: Store, *, versions: int) -> None:
    """Fill a store: a config with many versions, each of one key, with keyframes, and another one with fewer."""
    past, other = versions_of(CONFIG), versions_of("other")
    for start in range(0, versions, KEYFRAME_EACH_VERSIONS):
        with store.write() as writing:
            for each in islice(past, KEYFRAME_EACH_VERSIONS):
                writing.insert(each)
                outcome = Reply(CONFIG, each.version, created=True, merged=False)
                writing.remember(request(f"request {each.version.number}"), outcome)
                if start == 0:
                    writing.insert(next(other))
        if start:
            store.write_keyframe(CONFIG)


def versions_of(config: str) -> Iterator[Plan]:
    """Yield the plans of versions, one after the other, without a store."""
    head: Version | None = None
    values: dict[str, Value] = {}
    for number in count(1):
        keys = KEYS if head is None else [KEYS[number * 7 % len(KEYS)]]
        changes = [Change(key, value(number)) for key in keys]
        made = plan(
            changes, config=config, head=head, values=values, author=ADA, message="", now_us=number, limits=LIMITS
        )
        yield made
        head = made.version
        values |= {each.key: each.value for each in made.values if each.value is not None}


def questions(head: int) -> Mapping[str, Callable[[Reading], object]]:
    """Return the reads of a server, by name, near the head of a long history and far back in it."""
    prefix = KeyFilter(prefixes=("key/00",))
    keys = KeyFilter(keys=("key/007", "key/070"))
    everything = KeyFilter()
    old = head - 100
    return {
        "head": lambda reading: reading.head(CONFIG),
        "versions": lambda reading: reading.versions(CONFIG, [old, head]),
        "log": lambda reading: reading.log(CONFIG, after=0, before=head, limit=20, newest_first=True),
        "version at": lambda reading: reading.version_at(CONFIG, old),
        "newest commit time": lambda reading: reading.newest_commit_time_us(),
        "changed keys": lambda reading: reading.changed_keys(CONFIG, [old, head]),
        "the changed keys of one version": lambda reading: reading.changed_keys(CONFIG, [head]),
        "head marks": lambda reading: reading.head_marks([CONFIG, "other", "none"]),
        "configs": lambda reading: reading.configs(prefix="", after="", limit=20),
        "entries": lambda reading: list(reading.entries(CONFIG, old, everything)),
        "a page of entries": lambda reading: list(islice(reading.entries(CONFIG, old, after="key/100"), 20)),
        "entries by prefix": lambda reading: list(reading.entries(CONFIG, old, prefix)),
        "entries by key": lambda reading: list(reading.entries(CONFIG, old, keys)),
        "states": lambda reading: reading.states(CONFIG, old, ["key/007", "key/070", "none"]),
        "changed between": lambda reading: list(reading.changed_between(CONFIG, head - 20, head)),
        "changed between by prefix": lambda reading: list(reading.changed_between(CONFIG, head - 20, head, prefix)),
        "changed between by key": lambda reading: list(reading.changed_between(CONFIG, head - 20, head, keys)),
        "key history": lambda reading: reading.key_history(
            CONFIG, "key/007", after=0, before=head, limit=5, newest_first=True
        ),
        "changes": lambda reading: list(reading.changes(CONFIG, after=(head - 20, "x"), through=head)),
        "the first changes of many": lambda reading: list(
            islice(reading.changes(CONFIG, after=(1, "x"), through=head), 3)
        ),
        "changes by prefix": lambda reading: list(
            reading.changes(CONFIG, after=(head - 20, "x"), through=head, wanted=prefix)
        ),
        "changes by key": lambda reading: list(
            reading.changes(CONFIG, after=(head - 20, "x"), through=head, wanted=keys)
        ),
        "replies": lambda reading: reading.replies("ada", ["one", f"request {old}", f"request {head}"]),
    }


ROWS_OF_A_MAP = 5 * 450
ROWS_OF_OTHERS = 200
"""Limits on 3,000 versions. A map costs its keyframe's 200 lines and the 250 values since, a few times over."""

NAMES = list(questions(0))
SORTED_WHERE_SMALL = "the first changes of many"
"""PostgreSQL sorts a few thousand rows rather than stop early in an index; with many rows it stops early."""
MAPS = {"entries", "a page of entries", "entries by prefix"}


def explained(store: SqlStore, ask: Callable[[Reading], object], explain: str) -> list[Any]:
    """Make a read, and return the rows of EXPLAIN for each of its statements."""
    with store.read() as reading:
        with said() as statements:
            ask(reading)
        assert statements
        rows: list[Any] = []
        for statement, parameters, _ in statements:
            rows += reading._connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return rows


@pytest.fixture(scope="module")
def sqlite_stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[SqlStore, int]]]:
    """Two stores, the second with twice as many versions."""
    folder: Path = tmp_path_factory.mktemp("statements")
    stores = []
    for versions in (1_500, 3_000):
        store = open_store(f"sqlite:///{folder}/{versions}.db")
        fill(store, versions=versions)
        stores.append((store, versions))
    yield stores
    for store, _ in stores:
        store.close()


class TestSqlite:
    @pytest.mark.parametrize("name", NAMES)
    def test_no_table_is_scanned(self, sqlite_stores: list[tuple[SqlStore, int]], name: str) -> None:
        store, head = sqlite_stores[-1]
        rows = explained(store, questions(head)[name], "EXPLAIN QUERY PLAN")
        assert not [row.detail for row in rows if re.match(rf"SCAN ({TABLES})\b", row.detail)]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_longer_history_costs_no_more(self, sqlite_stores: list[tuple[SqlStore, int]], name: str) -> None:
        """Counted in the steps of SQLite's virtual machine, which are the same on every computer."""
        short, long = (self.steps(store, questions(head)[name]) for store, head in sqlite_stores)
        assert long <= short * 1.1 + 200  # a bisection takes a step or two more

    @staticmethod
    def steps(store: SqlStore, ask: Callable[[Reading], object]) -> int:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        with store.read() as reading:
            driver: Any = reading._connection.connection.driver_connection
            driver.set_progress_handler(step, 1)
            ask(reading)
            driver.set_progress_handler(None, 0)
        return steps


VERSIONS = 3_000


@pytest.fixture(scope="module", params=["statistics", "no statistics"])
def postgresql_store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A store whose planner has statistics, or has none, as after a bulk load."""
    postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    store = open_store(url)
    with store._database.migrating() as engine, engine.begin() as connection:
        for table in TABLES.split("|"):
            connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
    fill(store, versions=VERSIONS)
    if request.param == "statistics":
        _analyse(store)
    yield store
    store.close()
    postgres.drop_database(url)


def _analyse(store: SqlStore) -> None:
    with store._database.migrating() as engine, engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


@pytest.mark.postgres
class TestPostgresql:
    @pytest.mark.parametrize("name", [name for name in NAMES if name != SORTED_WHERE_SMALL])
    def test_no_table_is_scanned_and_few_rows_are_touched(self, postgresql_store: SqlStore, name: str) -> None:
        rows = explained(postgresql_store, questions(VERSIONS)[name], "EXPLAIN (ANALYZE, FORMAT JSON)")
        nodes = [node for row in rows for node in nodes_of(row[0])]
        assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]
        assert sum(map(touched, nodes)) <= (ROWS_OF_A_MAP if name in MAPS else ROWS_OF_OTHERS)


def nodes_of(plan: Any) -> Iterator[dict[str, Any]]:
    """Yield each node of a plan from EXPLAIN, without its children."""
    match plan:
        case list():
            for each in plan:
                yield from nodes_of(each)
        case {"Plan": below}:
            yield from nodes_of(below)
        case {"Node Type": _}:
            yield {key: each for key, each in plan.items() if key != "Plans"}
            yield from nodes_of(plan.get("Plans", []))


def touched(node: dict[str, Any]) -> int:
    """Count the rows of tables and indexes that a node read, including those that it left out."""
    if "Relation Name" not in node and "Index Name" not in node:
        return 0  # it works on the rows of other nodes
    left_out = [each for key, each in node.items() if key.startswith("Rows Removed by")]
    return int(node["Actual Loops"] * (node["Actual Rows"] + sum(left_out)))


def test_a_commit_scans_no_table(tmp_path: Path) -> None:
    """The statements of a commit that are not among the reads above."""
    store = open_store(f"sqlite:///{tmp_path}/lamina.db")
    fill(store, versions=500)
    with said() as statements:
        store.write_keyframe("other")
        with store.write() as writing:
            head = writing.head("other")
            assert head is not None
            writing.states("other", head.number, KEYS[:2])
            made = planned(writing, "other", {KEYS[0]: 0})
            writing.insert(made)
    inserts_and_selects = [pair for pair in statements if pair[0].split()[0] in {"SELECT", "INSERT"}]
    assert len(inserts_and_selects) > 8
    with store.read() as reading:
        connection: Connection = reading._connection
        for statement, parameters, _ in inserts_and_selects:
            one_row = parameters[0] if parameters and isinstance(parameters[0], tuple) else parameters
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", one_row).all()
            assert not [row.detail for row in rows if re.match(rf"SCAN ({TABLES})\b", row.detail)], statement
    store.close()
