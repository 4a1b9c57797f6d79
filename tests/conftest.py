"""Fixtures for all tests. Each folder has a conftest of its own for the rest, so that this one stays small."""

import os
from collections.abc import Generator, Iterator

import hypothesis
import pytest

from tests.support import IN_CI, absent
from tests.support.postgres import Postgres, PostgresAbsentError
from tests.support.server import ServerProcess

# A developer's own settings must not reach the servers, commands and clients under test.
for _name in [name for name in os.environ if name.startswith("LAMINA_") and not name.startswith("LAMINA_TEST_")]:
    del os.environ[_name]
# Nor may tests leave files in their home, or find those of another server that had the same port.
os.environ["LAMINA_CACHE_DIR"] = ""

# The tests start hundreds of interpreters. Without this, each would compile all of Lamina.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ServerProcess.forks = True

# No deadline, because a pause of a shared machine is not a bug. The blob is enough to repeat a failure.
# Half of the usual examples: each run draws others, and there are many runs.
hypothesis.settings.register_profile("lamina", deadline=None, print_blob=True, max_examples=50)
hypothesis.settings.load_profile("lamina")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One throw-away PostgreSQL cluster for the whole run (one for each worker, under xdist)."""
    try:
        cluster = Postgres.start(in_memory=True)
    except PostgresAbsentError as error:
        absent("PostgreSQL", f"{error} (Debian: apt install postgresql)")
    with cluster:
        yield cluster


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh, empty PostgreSQL database, which is dropped after the test."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


ON_SQLITE_UNLESS_CROSSED = ("tests/client/", "tests/e2e/test_machine_settings.py", "tests/server/store/test_verify.py")
"""Here PostgreSQL repeats what SQLite has shown: only tests marked `crossed` run on both."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests that use the `postgres` fixture, for `-m "not postgres"`; drop those that only repeat others."""
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)
    dropped = [item for item in items if _repeats(item)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in set(dropped)]


def _repeats(item: pytest.Item) -> bool:
    """Return whether a test runs on PostgreSQL where SQLite is enough."""
    on_postgresql = "postgresql" in getattr(getattr(item, "callspec", None), "params", {}).values()
    return (
        on_postgresql
        and item.nodeid.startswith(ON_SQLITE_UNLESS_CROSSED)
        and item.get_closest_marker("crossed") is None
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI, turn the skip of a test marked `postgres` or `node` into a failure, however it was skipped."""
    report = yield
    needs = [name for name in ("postgres", "node") if item.get_closest_marker(name)]
    if IN_CI and needs and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but CI must run tests marked {needs[0]}: {report.longrepr}"
    return report
