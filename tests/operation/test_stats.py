"""`lamina-server stats`: what a database holds, on both databases."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lamina
from tests.support.server import ServerProcess

DAY_SECONDS = 86_400


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database's address."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/lamina.db"
    else:
        yield request.getfixturevalue("postgres_url")


def stats(url: str, *arguments: str) -> str:
    program = [sys.executable, "-m", "lamina_server", "stats", "--database", url, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout


def test_stats_count_what_was_committed(url: str) -> None:
    with ServerProcess(url) as server:
        with lamina.connect(server.target) as client:
            small = client.config("a/small", create=True)
            small.update({"x": 27, "on": True, "rate": 0.5, "nothing": None})
            small.commit()
            del small["x"]
            small.commit()
            large = client.config("a/large", create=True)
            large.update({"größe": "é" * 1000, "raw": b"\0" * 500, "list": [1, 2]})
            large.commit()
        found: dict[str, Any] = json.loads(stats(url, "-o", "json"))  # beside its server
        people = stats(url, "--configs", "1")
    tables = {table["name"]: table for table in found["tables"]}
    assert {name: tables[name]["rows"] for name in ("config_name", "config", "config_value", "config_request")} == {
        "config_name": 2,
        "config": 3,
        "config_value": 8,
        "config_request": 3,
    }
    assert all(table["size_bytes"] > 0 for table in found["tables"])
    text, raw, items = len("größe".encode()) + 2000, len("raw") + 500, len("list") + len("[1,2]")
    assert found["configs"] == [
        {
            "name": "a/large",
            "versions": 1,
            "changes": 3,
            "content_bytes": text + raw + items,
            "keys": 3,
            "map_bytes": text + raw + items,
        },
        {
            "name": "a/small",
            "versions": 2,
            "changes": 5,
            "content_bytes": (1 + 8) + (2 + 1) + (4 + 8) + 7 + 1,
            "keys": 3,
            "map_bytes": (2 + 1) + (4 + 8) + 7,
        },
    ]
    content_bytes = sum(config["content_bytes"] for config in found["configs"])
    assert found["growth"] == [
        {"days": days, "versions": 3, "changes": 8, "content_bytes": content_bytes} for days in (1, 7, 30)
    ]
    lines = [line.split() for line in people.splitlines()]
    assert ["in", "7", "days", "3", "8", "2.5", "KiB", f"{content_bytes // 7}", "B/day"] in lines
    assert ["a/large", "1", "3", "2.5", "KiB", "3", "2.5", "KiB"] in lines
    assert ["…", "and", "1", "more"] in lines


def test_growth_is_of_the_last_days(tmp_path: Path) -> None:
    """Ten days later, a version is of the last thirty days, and not of the last seven."""
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ServerProcess(url) as server, lamina.connect(server.target) as client:
        config = client.config("new", create=True)
        config["x"] = 1
        config.commit()
    from lamina_server.store.verify.inspection import inspecting  # noqa: PLC0415 - a moment that no command knows
    from lamina_server.store.verify.sizes import sizes  # noqa: PLC0415

    with inspecting(url) as inspection:
        later = sizes(inspection, int((time.time() + 10 * DAY_SECONDS) * 1_000_000))
    assert [(each.days, each.versions) for each in later.growth] == [(1, 0), (7, 0), (30, 1)]


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "lamina_server", "stats", "--database", f"sqlite:///{tmp_path}/none.db"]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"lamina-server: there is no database '{tmp_path}/none.db'\n")
