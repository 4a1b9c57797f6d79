"""Watchers through cuts and kills: the short form of `make torture ARGS="--only watch"`."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.faults.nemesis import running
from tests.faults.watches.campaign import Plan, run
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = pytest.mark.timeout(180)  # each takes some 5 s on two idle cores

VERSIONS, WATCHERS, CUTS, KILLS = 500, 20, 10, 2


def assert_kept(servers: Sequence[ServerProcess], url: str, folder: Path, seed: int) -> None:
    """Run watchers of these servers, and see that nothing was broken, and that enough was tried."""
    result = run(
        Plan(
            servers=servers,
            url=url,
            folder=folder,
            seed=seed,
            versions=VERSIONS,
            watchers=WATCHERS,
            cuts=CUTS,
            kills=KILLS,
        )
    )
    assert not result.unfinished, result.explain()
    assert not result.breaches, result.explain()
    assert result.versions == VERSIONS
    assert result.struck["server"] == KILLS
    assert result.parts, "no version was split: this shows too little"
    assert result.streams_cut > KILLS, "hardly a stream was cut: this shows too little"
    assert result.streams_cancelled


def test_watchers_of_one_server_on_sqlite(tmp_path: Path, folder: Path, seed: int) -> None:
    """P4, P9, P10, P11, P12: nothing missing, doubled, torn or out of order, whatever happens to streams and server."""
    url = f"sqlite:///{tmp_path / 'lamina.db'}"
    with running([ServerProcess(url)], folder) as servers:
        assert_kept(servers, url, folder, seed)


@pytest.mark.postgres
def test_watchers_of_two_servers_on_postgresql(postgres: Postgres, folder: Path, seed: int) -> None:
    """P4, P9, P10, P11, P12: the same with two servers, where each watcher takes its cursor from one to the other."""
    url = postgres.new_database()
    with running([ServerProcess(url) for _ in range(2)], folder) as servers:
        assert_kept(servers, url, folder, seed)
