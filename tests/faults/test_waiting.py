"""`serve --wait-for-database`: through a start, a recovery and a failover of a real PostgreSQL, if that can help."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lamina_server.app import open_database
from lamina_server.settings import Settings
from lamina_server.store.contract import StoreNotReadyError
from lamina_server.store.open import open_store
from tests.faults.outages import connected
from tests.support import absent
from tests.support.postgres import STOP_SECONDS, Postgres, PostgresAbsentError

END_SECONDS = 4.0
"""Shorter than an attempt to connect may take."""


@contextmanager
def serving(url: str, *, seconds: int = 60) -> Iterator[subprocess.Popen[str]]:
    serve = [sys.executable, "-m", "lamina_server", "serve", "--database", url, "--listen", "localhost:0"]
    program = [*serve, "--wait-for-database", str(seconds)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def reason(process: subprocess.Popen[str]) -> str:
    """Return the next reason why the server waits."""
    assert process.stderr is not None
    line = json.loads(process.stderr.readline())
    assert line["event"] == "waiting for the database"
    return str(line["reason"])


class Standby:
    """A cluster that runs as a standby, without a primary, from `stop` to `promote`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._data = postgres._base / "data"
        self.url = postgres.url

    def stop(self, *, answers_reads: bool) -> None:
        self._postgres._process.send_signal(signal.SIGINT)
        self._postgres._process.wait(STOP_SECONDS)
        (self._data / "standby.signal").touch()
        settings = self._data / "postgresql.auto.conf"
        settings.write_text(f"hot_standby = {'on' if answers_reads else 'off'}\n")

    def launch(self) -> None:
        self._postgres._process = self._postgres._launch()

    def until_ready(self) -> None:
        self._postgres.until_ready()

    def promote(self) -> None:
        (self._data / "promote").touch()
        self._postgres._process.send_signal(signal.SIGUSR1)


@pytest.fixture
def standby() -> Iterator[Standby]:
    try:
        postgres = Postgres.start(in_memory=True)
    except PostgresAbsentError as error:
        absent("PostgreSQL", str(error))
    with postgres:
        yield Standby(postgres)


@pytest.mark.postgres
def test_it_waits_through_start_and_recovery(standby: Standby) -> None:
    standby.stop(answers_reads=False)
    with serving(standby.url) as process:
        assert reason(process).endswith("there is no such socket: PostgreSQL does not run, or not there")
        standby.launch()
        assert reason(process).endswith("it is starting up, shutting down or recovering")
        standby.promote()
        assert process.stdout is not None
        assert process.stdout.readline().startswith("lamina-server ready on ")
        process.terminate()
        assert process.wait(STOP_SECONDS) == 0


@pytest.mark.postgres
def test_a_standby_is_named_as_one_until_it_is_promoted(standby: Standby) -> None:
    standby.stop(answers_reads=True)
    standby.launch()
    standby.until_ready()
    with pytest.raises(StoreNotReadyError, match="it is a standby, which takes no writes: name the primary"):
        open_store(standby.url)
    standby.promote()
    with serving(standby.url) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("lamina-server ready on ")


@pytest.mark.postgres
def test_an_error_that_will_not_pass_ends_it_at_once(postgres: Postgres) -> None:
    with serving(postgres.url_of("none")) as process:
        out, log = process.communicate(timeout=STOP_SECONDS)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(r"lamina-server: postgresql://\S+ cannot be used: there is no such database\n", log)


@pytest.mark.postgres
def test_a_wait_for_locked_tables_is_logged(postgres_url: str) -> None:
    """As while another server upgrades them, which may take minutes."""
    open_store(postgres_url).close()
    with connected(postgres_url) as other:
        other.execute("BEGIN; LOCK TABLE lamina_schema_version IN ACCESS EXCLUSIVE MODE")
        with serving(postgres_url) as process:
            assert reason(process).endswith("are being upgraded, or another session has locked them")
            other.execute("ROLLBACK")
            assert process.stdout is not None
            assert process.stdout.readline().startswith("lamina-server ready on ")


def test_it_gives_up_after_the_time_of_the_setting(tmp_path: Path) -> None:
    settings = Settings(database=f"postgresql:///lamina?user=ada&host={tmp_path}", wait_for_database_seconds=0.6)
    with capture_logs() as log, pytest.raises(StoreNotReadyError, match="there is no such socket"):
        open_database(settings)
    assert [line["event"] for line in log] == ["waiting for the database"]


def test_it_waits_for_a_file_that_another_server_uses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/lamina.db"
    store = open_store(url)
    with serving(url) as process:
        assert "is in use by another server" in reason(process)
        store.close()
        assert process.stdout is not None
        assert process.stdout.readline().startswith("lamina-server ready on ")


def test_a_database_that_says_nothing_is_logged_soon_and_a_signal_ends_the_wait_at_once() -> None:
    """As behind a firewall, or where PostgreSQL is frozen: the connection is there, and no answer comes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with serving(f"postgresql://ada@127.0.0.1:{port}/lamina") as process:
            connection, _ = silent.accept()
            with connection:
                assert reason(process) == f"postgresql://ada@127.0.0.1:{port}/lamina has not answered yet"
                process.terminate()
                assert process.wait(END_SECONDS) == 0
