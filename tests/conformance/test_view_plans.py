"""The cost of the views, by EXPLAIN, on connections with no setting of ours, as any tool has them."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, text

from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG
from tests.conformance.test_statements import KEYS, fill, nodes_of, touched

VERSIONS = 3_000
QUERIES = {
    "log": f"SELECT * FROM lamina_log WHERE config = '{CONFIG}' AND version = 2900",
    "a part of the log": f"SELECT * FROM lamina_log WHERE config = '{CONFIG}' AND version BETWEEN 2900 AND 2910",
    "key history": f"SELECT * FROM lamina_key_history WHERE config = '{CONFIG}' AND key = 'key/007' ORDER BY version",
    "what a version changed": f"SELECT * FROM lamina_key_history WHERE config = '{CONFIG}' AND version = 2900",
    "map": f"SELECT * FROM lamina_map WHERE config = '{CONFIG}' AND version = 2900",
    "an old map": f"SELECT * FROM lamina_map WHERE config = '{CONFIG}' AND version = 7",
    "one value of a map": f"SELECT value FROM lamina_map WHERE config = '{CONFIG}' AND version = 7 AND key = 'key/007'",
    "head": f"SELECT * FROM lamina_head WHERE config = '{CONFIG}'",
    "map and who set it": f"SELECT m.key, l.author FROM lamina_map m JOIN lamina_log l"
    f" ON l.config = m.config AND l.version = m.origin WHERE m.config = '{CONFIG}' AND m.version = 2900",
}
MAPS = {name for name in QUERIES if "map" in name or name == "head"}
KEY_HISTORY = {"key history"}
"""Its cost grows with the changes of its key, as it should. The others cost the same however long the history is."""

ROWS_OF_A_MAP = 3 * len(KEYS) + 50
"""For each key: the next name, its newest value, and the value's header if it is joined."""
ROWS_OF_OTHERS = 60


@pytest.fixture(scope="module")
def sqlite_paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two databases, the second with twice as many versions."""
    folder = tmp_path_factory.mktemp("views")
    paths = []
    for versions in (VERSIONS, 2 * VERSIONS):
        paths.append(folder / f"{versions}.db")
        with closing(open_store(f"sqlite:///{paths[-1]}")) as store:
            fill(store, versions=versions)
    return paths


class TestSqlite:
    @pytest.mark.parametrize("name", QUERIES)
    @pytest.mark.parametrize("analysed", [False, True])
    def test_no_table_is_scanned(self, sqlite_paths: list[Path], name: str, analysed: bool, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
            with closing(sqlite3.connect(sqlite_paths[0])) as original:
                original.backup(connection)
            if analysed:
                connection.execute("ANALYZE")
            plan = [row[-1] for row in connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}")]
        assert not [line for line in plan if re.match(r"SCAN (n|c|v|o|f|h|config\w*)\b", line)], plan
        assert not [line for line in plan if "AUTOMATIC" in line], plan

    @pytest.mark.parametrize("name", [name for name in QUERIES if name not in KEY_HISTORY])
    def test_a_longer_history_costs_no_more(self, sqlite_paths: list[Path], name: str) -> None:
        short, long = (self.steps(path, QUERIES[name]) for path in sqlite_paths)
        assert long <= short * 1.1 + 200

    @staticmethod
    def steps(path: Path, query: str) -> int:
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1

        with closing(sqlite3.connect(path)) as connection:
            connection.set_progress_handler(step, 1)
            assert connection.execute(query).fetchall()
        return steps


@pytest.fixture(scope="module", params=["statistics", "no statistics"])
def postgresql_connection(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection as any tool makes it, to a database whose planner has statistics, or has none."""
    postgres = request.getfixturevalue("postgres")
    url = postgres.new_database()
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with closing(open_store(url)) as store, engine.connect() as connection:
        for table in ("config_name", "config", "config_value"):
            connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
        fill(store, versions=VERSIONS)
        if request.param == "statistics":
            connection.execute(text("VACUUM ANALYZE"))
        yield connection
    engine.dispose()
    postgres.drop_database(url)


@pytest.mark.postgres
class TestPostgresql:
    @pytest.mark.parametrize("name", QUERIES)
    def test_few_rows_are_touched(self, postgresql_connection: Connection, name: str) -> None:
        (plan,) = postgresql_connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES[name]}")).one()
        nodes = list(nodes_of(plan))
        scanned = [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]
        # Two rows, and none: quicker read whole than looked up.
        assert set(scanned) <= {"config_name", "config_cut", "config_change_point"}
        assert sum(map(touched, nodes)) <= (ROWS_OF_A_MAP if name in MAPS else ROWS_OF_OTHERS)
