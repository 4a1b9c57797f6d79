"""`lamina-server compact`, as an operator types it."""

import json
import re
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, select, text
from sqlalchemy.orm import Session

from lamina_server.cli.main import main
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import CompactedError
from lamina_server.models import ConfigData, ConfigName
from lamina_server.store.open import open_store
from tests.conformance.commits import DELETED, commit

SERVER = Path(__file__).parents[3] / "server" / "lamina_server"
DAY_US = 86_400_000_000


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with two configs of 5 versions, and one of the server's own."""
    url = f"sqlite:///{tmp_path}/lamina.db"
    with closing(open_store(url)) as store:
        for config in ("shop/prod", "shop/eu", ACCESS_CONFIG):
            for number in range(1, 6):
                commit(store, {"x": f"value {number}"}, config=config, now_us=number)
    return url


def compact(url: str, *arguments: str, expected: int = 0) -> str:
    done: Result = CliRunner().invoke(main, ["compact", *arguments, "--database", url], catch_exceptions=False)
    assert done.exit_code == expected, done.output
    return done.output


def oldest(url: str) -> dict[str, int]:
    with closing(open_store(url)) as store, store.read() as reading:
        return {config: reading.oldest(config) for config in ("shop/prod", "shop/eu", ACCESS_CONFIG)}


def test_a_pattern_means_no_config_of_the_servers_own(url: str) -> None:
    printed = compact(url, "**", "--keep-versions", "2")
    assert printed == (
        "lamina-server: shop/eu: 3 values (21 bytes) of versions 1 to 3 have gone; versions 4 to 5 can be read\n"
        "lamina-server: shop/prod: 3 values (21 bytes) of versions 1 to 3 have gone; versions 4 to 5 can be read\n"
    )
    assert oldest(url) == {"shop/prod": 4, "shop/eu": 4, ACCESS_CONFIG: 1}
    compact(url, ACCESS_CONFIG, "--keep-versions", "1")
    assert oldest(url)[ACCESS_CONFIG] == 5


def test_a_dry_run_changes_nothing(url: str) -> None:
    printed = compact(url, "shop/prod", "--keep-versions", "2", "--dry-run")
    assert (
        printed
        == "lamina-server: shop/prod: 3 values (21 bytes) of versions 1 to 3 would go; versions 4 to 5 can be read\n"
    )
    assert oldest(url)["shop/prod"] == 1


def test_what_is_to_be_kept_may_be_everything(url: str) -> None:
    printed = compact(url, "shop/prod", "--keep-versions", "5")
    assert printed == "lamina-server: shop/prod: nothing to do, because it keeps all of its 5 versions\n"


def test_an_age_counts_from_now(url: str) -> None:
    now_us = time.time_ns() // 1_000
    with closing(open_store(url)) as store:
        commit(store, {"x": 6}, config="shop/prod", now_us=now_us - 3 * DAY_US)
        commit(store, {"x": 7}, config="shop/prod", now_us=now_us - DAY_US)
    compact(url, "shop/prod", "--keep", "2d")
    assert oldest(url)["shop/prod"] == 6  # which was the map two days ago
    compact(url, "shop/prod", "--keep", "1h")
    assert oldest(url)["shop/prod"] == 7


def test_the_audit_tells_before_and_after(url: str, tmp_path: Path) -> None:
    compact(url, "shop/prod", "--keep-versions", "2", "--audit-file", str(tmp_path / "audit"))
    before, after = map(json.loads, (tmp_path / "audit").read_text().splitlines())
    assert (before["event"], before["config"], before["oldest_version"]) == ("compact", "shop/prod", 4)
    assert before["reason"] == f"--keep-versions 2, by {before['account']}"
    assert (after["event"], after["values"], after["bytes"]) == ("compacted", 3, 21)
    with closing(open_store(url)) as store, store._database.reading() as connection:
        assert connection.execute(text("SELECT reason FROM config_cut")).scalar_one() == before["reason"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["shop/prod"], 2, "say what to keep"),
        (["shop/prod", "--keep", "1d", "--keep-versions", "1"], 2, "say what to keep"),
        (["shop/prod", "--keep", "90"], 2, "must be a number and a unit"),
        (["shop/prod", "--keep", "0d"], 2, "must be a number and a unit"),
        (["shop/prod", "--keep-versions", "0"], 2, "0 is not in the range"),
        (["shop/*/x", "--keep-versions", "1"], 1, "there is no config 'shop/*/x'"),
    ],
)
def test_a_mistake_is_refused(url: str, arguments: list[str], code: int, words: str) -> None:
    assert words in compact(url, *arguments, expected=code)


def test_a_file_that_a_server_has_is_refused(url: str) -> None:
    with closing(open_store(url)):
        assert "is in use by another server" in compact(url, "shop/prod", "--keep-versions", "1", expected=1)


def test_there_must_be_a_database(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    assert "there is no database" in compact(f"sqlite:///{path}", "**", "--keep-versions", "1", expected=1)
    assert not path.exists()


def test_the_models_and_views_say_what_is_compacted(url: str) -> None:
    with closing(open_store(url)) as store:
        for changes in ({"y": 1}, {"y": DELETED}, {"y": 2}):  # versions 6, 7 and 8
            commit(store, changes, config="shop/prod")
    compact(url, "shop/prod", "--keep-versions", "1")
    engine = create_engine(url)
    with Session(engine) as session:
        rows = select(ConfigData).join(ConfigData.config_name).where(ConfigName.name == "shop/prod")
        versions = {version.version: version for version in session.scalars(rows)}
        assert dict(versions[8].data) == {"x": "value 5", "y": 2}
        with pytest.raises(CompactedError):
            dict(versions[7].data)

        def ask(statement: str) -> list[tuple[object, ...]]:
            return [tuple(row) for row in session.connection().execute(text(statement))]

        here = "WHERE config = 'shop/prod'"
        assert ask(f"SELECT key, value, version, origin FROM lamina_map {here} ORDER BY 1") == [
            ("x", "value 5", 8, 5),
            ("y", "2", 8, 8),
        ]
        assert ask(f"SELECT version, compacted FROM lamina_log {here} ORDER BY 1") == [(n, n < 8) for n in range(1, 9)]
        history = f"SELECT version, deleted, kind, value, compacted FROM lamina_key_history {here} AND key = 'y'"
        assert ask(f"{history} ORDER BY 1") == [
            (6, 0, None, None, 1),
            (7, 1, None, None, 0),
            (8, 0, "integer", "2", 0),
        ]
    engine.dispose()


def test_no_other_code_deletes() -> None:
    deletes = re.compile(r"\bDELETE FROM\b|\bdelete\(|import .*\bdelete\b")
    found = {str(path.relative_to(SERVER)) for path in SERVER.rglob("*.py") if deletes.search(path.read_text("utf-8"))}
    assert found == {"store/compaction/queries.py"}
