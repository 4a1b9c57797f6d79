"""PostgreSQL goes back to a moment: a base backup, archived log, and the README's commands."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree

import pytest
from sqlalchemy import make_url

import lamina
from tests.faults.restoring import CONFIG, opened, readme_block, stale_cursors_fail
from tests.faults.test_backup_postgresql import libpq, run
from tests.support.postgres import START_SECONDS, Postgres, unprivileged
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]


@pytest.fixture
def archive() -> Iterator[Path]:
    """Make a folder that PostgreSQL's account can write."""
    folder = Path(tempfile.mkdtemp(prefix="lamina-archive-", dir="/tmp"))
    unprivileged(folder)
    yield folder
    rmtree(folder)


def test_a_restored_moment_is_noticed_by_a_client_that_saw_later_versions(archive: Path, tmp_path: Path) -> None:
    with ExitStack() as stack, Postgres.start(in_memory=True) as cluster:
        url = cluster.new_database()
        with cluster.connect() as connection:
            for line in readme_block("ALTER SYSTEM", "pgsql").replace("/var/lib/wal", str(archive)).splitlines():
                connection.execute(line.encode())
        cluster.kill()
        cluster.restart()
        with ServerProcess(url) as server:
            with lamina.connect(server.target) as client:
                config = client.config(CONFIG, create=True)
                commit(config, "before the backup")
                run(readme_block("pg_basebackup"), tmp_path, DATABASE=libpq(url))
                good, bad, worse = (commit(config, text) for text in ("good", "bad", "worse"))
            with stale_cursors_fail(server.target):
                server.stop()
                archived(cluster)
                moment = {"ARCHIVE": str(archive), "MOMENT": bad.time.isoformat()}
                run(readme_block("touch copy/recovery.signal"), tmp_path, **moment)
                other = stack.enter_context(Postgres.start_on(tmp_path / "copy"))
                there = other.url_of(str(make_url(url).database))
                wait = ("--wait-for-database", "30")
                restored = stack.enter_context(ServerProcess(there, "--listen", server.target, *wait))
                with opened(server.target) as config:
                    assert (config.version, config["x"]) == (good.number, "good")
                    assert config.verify().hash == good.hash
                assert worse.number > good.number
            restored.stop()
            server.start()


def commit(config: lamina.Config, text: str) -> lamina.Version:
    config |= {"x": text, "y": text}  # a watch takes them one by one
    return config.commit(text)


def archived(cluster: Postgres) -> None:
    """Wait until all that was committed is in the archive."""
    with cluster.connect() as connection:
        (last,) = connection.execute("SELECT pg_walfile_name(pg_current_wal_lsn())").fetchone() or ("",)
        connection.execute("SELECT pg_switch_wal()")
        deadline = time.monotonic() + START_SECONDS
        while not connection.execute(
            "SELECT 1 FROM pg_stat_archiver WHERE last_archived_wal >= %s", (last,)
        ).fetchone():
            assert time.monotonic() < deadline, "the log is not archived"
