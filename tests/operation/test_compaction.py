"""`lamina-server compact` as a process of its own: killed, beside a server, and run again."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import func, select

import lamina
from lamina_server.models.tables import POINTS
from lamina_server.store.open import open_store
from lamina_server.store.verify.inspection import inspecting
from tests.conformance.commits import CONFIG
from tests.operation.million import fill
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

VERSIONS, KEPT = 6_000, 500


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database with 6,000 versions of a config."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/lamina.db"
        fill(made, VERSIONS)
        yield made
        return
    postgres: Postgres = request.getfixturevalue("postgres")
    made = postgres.new_database()
    fill(made, VERSIONS)
    yield made
    postgres.drop_database(made)


def compacting(url: str, keep: int) -> "subprocess.Popen[bytes]":
    arguments = ("compact", CONFIG, "--keep-versions", str(keep), "--database", url)
    return subprocess.Popen([sys.executable, "-m", "lamina_server", *arguments], stdout=subprocess.PIPE)


def gone(url: str) -> int:
    """Count the values that have gone."""
    with inspecting(url) as inspection:
        ((count,),) = inspection.ask(select(func.count()).select_from(POINTS))
        return int(count)


def check(url: str, oldest: int) -> None:
    done = subprocess.run([sys.executable, "-m", "lamina_server", "verify", "--database", url], check=False)
    assert done.returncode == 0
    with closing(open_store(url)) as store, store.read() as reading:
        assert reading.oldest(CONFIG) == oldest
        assert len(list(reading.entries(CONFIG, oldest))) > 0


@pytest.mark.timeout(240)
def test_a_compaction_that_was_killed_is_run_again(url: str) -> None:
    """At kill -9 the database is whole, and the next run takes what is left."""
    before, kills = 0, 0
    for _ in range(3):
        with compacting(url, KEPT) as process:
            while process.poll() is None and gone(url) == before:
                pass
            if process.poll() is None:
                process.kill()
                kills += 1
        before = gone(url)
        check(url, VERSIONS - KEPT + 1)
    assert kills
    with compacting(url, KEPT) as process:
        assert process.wait() == 0
    check(url, VERSIONS - KEPT + 1)
    assert gone(url) >= VERSIONS - KEPT - 1_000


@pytest.mark.postgres
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_commits_go_on_beside_it(url: str) -> None:
    """P3 P9 P12: no commit is refused, and a watch misses none."""
    with ServerProcess(url) as server, lamina.connect(server.target, author="ann") as client:
        cfg = client.config(CONFIG)
        watch = cfg.watch(after=VERSIONS)
        with compacting(url, KEPT) as process:
            while process.poll() is None:
                cfg["x"] = cfg.version
                made = cfg.commit()
                assert next(watch).version == made.number
            assert process.returncode == 0
        assert cfg.version > VERSIONS
        assert cfg.verify().number == cfg.version
