"""kill -9 at random moments under load: the short form of `make torture`."""

from pathlib import Path

import pytest

from tests.faults import counting
from tests.faults.campaign import Plan, Result, run
from tests.faults.nemesis import mixture, running, server_kill
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = pytest.mark.timeout(180)  # each takes 20 s on two cores, and more beside others

KILLS = 6
SERVER_BACKEND_POSTMASTER_KILLS = {1: (3, 1, 1), 2: (1, 1, 0)}
"""By the number of servers. Together: four kills of servers, two of backends, one of the postmaster."""


def assert_survived(result: Result, *, kills: int) -> None:
    assert not result.violations, result.explain()
    assert len(result.struck) == kills
    assert result.indeterminate, "no answer was ever lost: the kills hit no call"


def test_a_killed_server_on_sqlite(tmp_path: Path, folder: Path, seed: int) -> None:
    """P1, P3, P6, P7, P8, P9: after six kills under the load of 16 clients nothing is lost, doubled or skipped."""
    url = f"sqlite:///{tmp_path / 'lamina.db'}"
    with running([ServerProcess(url)], folder) as servers:
        plan = Plan(servers=servers, url=url, folder=folder, faults=[server_kill(servers)] * KILLS, seed=seed)
        assert_survived(run(plan), kills=KILLS)


@pytest.mark.postgres
@pytest.mark.parametrize("count", [1, 2], ids=["one-server", "two-servers"])
def test_killed_servers_backends_and_postmaster_on_postgresql(
    mortal_postgres: Postgres, folder: Path, seed: int, count: int
) -> None:
    """P1, P3, P6, P7, P8, P9: the same with a database that is also killed, and with two servers that share it."""
    url = mortal_postgres.new_database()
    with running([ServerProcess(url) for _ in range(count)], folder) as servers:
        faults = mixture(servers, mortal_postgres, url, seed, SERVER_BACKEND_POSTMASTER_KILLS[count])
        plan = Plan(servers=servers, url=url, folder=folder, faults=faults, seed=seed)
        assert_survived(run(plan), kills=len(faults))


def test_processes_count_exactly_while_their_server_is_killed(tmp_path: Path) -> None:
    """P1, P8: `make torture` runs the long form, on both databases."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        outcome = counting.run([server], processes=4, times=10, kills=2)
    assert outcome.counted == outcome.versions == 40
