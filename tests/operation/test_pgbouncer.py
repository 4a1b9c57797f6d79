"""The settings for pgbouncer run as they are printed, but for their addresses: before a real PostgreSQL, with SCRAM."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
from sqlalchemy import make_url

import lamina
from lamina_server.settings import Settings
from tests.operation.deployed import OPS, block, section
from tests.support.pooler import INI, pooler_folder, running_pooler
from tests.support.postgres import Postgres
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

TEXT = (OPS / "pgbouncer" / INI).read_text(encoding="utf-8")
CONFIG = "shop/prod"
NEEDED = Settings.model_fields["reader_threads"].default + 7
"""The most connections of one server."""


@dataclass
class Pooler:
    """What a test needs of a pgbouncer: where it is, and the cluster behind it."""

    folder: Path
    url: str
    cluster: Postgres


@pytest.fixture
def pooler(request: pytest.FixtureRequest) -> Iterator[Pooler]:
    """Make a database `lamina`, its role with a password, and the settings of the page; a test may replace some."""
    with Postgres.start(in_memory=True) as cluster, pooler_folder() as folder:
        with cluster.connect() as connection:
            connection.execute("CREATE ROLE app LOGIN PASSWORD 'hunter2'")
            connection.execute("CREATE DATABASE lamina OWNER app")
            (path,) = connection.execute("SHOW hba_file").fetchone() or ("",)
            hba = Path(path)
            hba.write_text(f"local all app scram-sha-256\n{hba.read_text()}")
            connection.execute("SELECT pg_reload_conf()")
            question = block(section("pgbouncer"), "sql", "pg_shadow").replace("'lamina'", "'app'")
            (line,) = connection.execute(question.encode()).fetchone() or ("",)
        (folder / "userlist.txt").write_text(f"{line}\n")
        behind = make_url(cluster.url).query["host"]
        replaced = {
            "host=postgres.example.com port=5432": f"host={behind}",
            "listen_addr = 127.0.0.1\nlisten_port = 6432": f"unix_socket_dir = {folder}\nlisten_port = 5432",
            "/etc/pgbouncer/userlist.txt": f"{folder}/userlist.txt",
            **getattr(request, "param", {}),
        }
        text = TEXT
        for old, new in replaced.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (folder / INI).write_text(text)
        yield Pooler(folder, f"postgresql://app:hunter2@/lamina?host={folder}", cluster)


def test_two_servers_work_through_it_and_go_on_when_it_has_crashed(pooler: Pooler) -> None:
    """They ask for each other's commits every hour, so a notice through the pooler has told the other."""
    rarely = {"LAMINA_SERVER_NEWS_INTERVAL_SECONDS": "3600"}
    with ExitStack() as stack:
        with running_pooler(pooler.folder):
            servers = [stack.enter_context(ServerProcess(pooler.url, **rarely)) for _ in range(2)]
            one, other = (stack.enter_context(lamina.connect(server.target)) for server in servers)
            config = one.config(CONFIG, create=True)
            watch = stack.enter_context(other.config(CONFIG, create=True).watch(after=0))
            versions = (version.version for version in watch.versions())
            for number in range(1, 21):
                config["x"] = number
                config.commit()
                assert next(versions) == number
            assert sessions(pooler) <= 2 * NEEDED
        with running_pooler(pooler.folder):
            for number in range(21, 41):
                config["x"] = number
                config.commit()
            assert list(islice(versions, 20)) == list(range(21, 41))
            stack.close()  # while the servers have their database


def sessions(pooler: Pooler) -> int:
    """Return how many connections the pooler has to the database."""
    with pooler.cluster.connect() as connection:
        question = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'lamina'"
        (found,) = connection.execute(question).fetchone() or (0,)
    return int(found)


def serve(url: str) -> subprocess.CompletedProcess[str]:
    """Run `serve`, which must refuse."""
    words = [sys.executable, "-m", "lamina_server", "serve", "--database", url, "--listen", "localhost:0"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "pooler", [{"pool_mode = session": f"pool_mode = {mode}"} for mode in ("transaction", "statement")], indirect=True
)
def test_another_mode_is_refused_as_the_page_says(pooler: Pooler) -> None:
    with running_pooler(pooler.folder):
        refused = serve(pooler.url)
    said = block(section("pgbouncer"), "text", "a pooler gives")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert " ".join(said.split()) in refused.stderr


@pytest.mark.parametrize(
    "pooler", [{"default_pool_size = 44": "default_pool_size = 1", "timeout = 5": "timeout = 1"}], indirect=True
)
def test_too_few_connections_are_said(pooler: Pooler) -> None:
    with running_pooler(pooler.folder):
        refused = serve(pooler.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "it, or a pooler before it, ended the connection: query_wait_timeout" in refused.stderr
