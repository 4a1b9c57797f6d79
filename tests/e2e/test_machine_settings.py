"""The documented example on real input: a running PostgreSQL's settings and this machine's kernel settings."""

import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

import lamina
from tests.support import absent
from tests.support.postgres import Postgres

EXAMPLE = Path(__file__).parents[2] / "client" / "examples" / "machine_settings.py"


@pytest.fixture
def settings_url(postgres: Postgres) -> str:
    """The cluster's address as libpq takes it."""
    return make_url(postgres.url).set(drivername="postgresql").render_as_string(hide_password=False)


def run_example(target: str, *options: str) -> str:
    program = [sys.executable, str(EXAMPLE), "--target", target, *options]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def really_set(url: str, *names: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s)", [list(names)])
        return dict(rows.fetchall())


def change(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")


def reloaded(url: str, name: str, value: str) -> None:
    """Open connections until one has been started after the reload: the postmaster tells nobody when it is done."""
    while really_set(url, name)[name] != value:
        pass


def test_what_was_really_set(target: str, settings_url: str) -> None:
    if not shutil.which("sysctl"):
        absent("sysctl", "Debian: apt install procps")
    before = really_set(settings_url, "work_mem", "log_min_duration_statement")
    try:
        out = run_example(target, "--postgres", settings_url)
        assert "machine/postgresql is at version 1" in out
        assert "machine/sysctl is at version 1" in out

        change(settings_url, "ALTER SYSTEM SET work_mem = '8MB'", "ALTER SYSTEM SET log_min_duration_statement = 250")
        reloaded(settings_url, "log_min_duration_statement", "250")
        out = run_example(target, "--postgres", settings_url)
        assert f"work_mem: {before['work_mem']} -> 8192 (2 values so far)" in out

        check_history(target, settings_url, before)
    finally:
        change(settings_url, "ALTER SYSTEM RESET ALL")


def check_history(target: str, settings_url: str, before: dict[str, str]) -> None:
    with lamina.connect(target) as client:
        assert {info.name for info in client.configs("machine/")} == {"machine/postgresql", "machine/sysctl"}
        cfg = client.config("machine/postgresql")
        assert len(cfg) > 300
        assert isinstance(cfg["max_connections"], int)
        assert cfg["fsync"] is True
        assert isinstance(cfg["seq_page_cost"], float)
        assert cfg["server_encoding"] == "UTF8"

        # History, time travel and diff, against what was really set.
        assert [change.value for change in cfg.history("work_mem")] == [int(before["work_mem"]), 8192]
        assert cfg.at(1)["work_mem"] == int(before["work_mem"])
        assert cfg.diff(1, 2)["log_min_duration_statement"].new == 250
        assert (cfg.origin("work_mem"), cfg.origin("fsync")) == (2, 1)

        # Revert, then carry out what the map says: the real settings follow.
        cfg.revert("work_mem", to=1, message="8 MB was too much")
        change(settings_url, f"ALTER SYSTEM SET work_mem = {cfg['work_mem']}")
        reloaded(settings_url, "work_mem", before["work_mem"])
        assert cfg["log_min_duration_statement"] == 250

        kernel = client.config("machine/sysctl")
        assert len(kernel) > 100
        assert kernel["kernel.ostype"] == "Linux"
        kernel["vm.swappiness"] = 1
        kernel.commit("keep everything in memory")
        assert kernel["vm.swappiness"] == 1
        kernel.revert(to=1)
        assert kernel == kernel.at(1)
