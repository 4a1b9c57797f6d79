"""The README's commands that back up PostgreSQL: dumps and base backups while clients commit."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from lamina_server.models import Base
from lamina_server.models.views import VIEWS
from tests.faults.restoring import README, Committing, check_prefix, readme_block, stale_cursors_fail, start
from tests.support.postgres import Postgres, find_bindir
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(180)]

RESTORED = "lamina_restored"


@pytest.fixture
def restored_url(postgres: Postgres, postgres_url: str) -> Iterator[str]:
    """The database into which the README's commands restore."""
    url = make_url(postgres_url).set(database=RESTORED).render_as_string(hide_password=False)
    yield url
    postgres.drop_database(url)


def libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def run(block: str, folder: Path, **variables: str) -> None:
    environment = {**os.environ, "PATH": f"{find_bindir()}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **variables}
    program = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def ask(url: str, query: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(libpq(url)) as connection:
        return connection.execute(query).fetchall()


def check_schema(live: str, restored: str) -> None:
    """Check that a database is still insert-only, orders by code point, and has its views and sequences."""
    for table in Base.metadata.tables:
        # A trigger that lets compaction delete looks at each row, so it needs one.
        deletes = [f"DELETE FROM {table}"] if ask(restored, f"SELECT 1 FROM {table} LIMIT 1") else []
        for statement in (f"UPDATE {table} SET {{}} = {{}}", *deletes, f"TRUNCATE {table} CASCADE"):
            column = next(iter(Base.metadata.tables[table].columns)).name
            with pytest.raises(psycopg.errors.RestrictViolation, match="insert-only"):
                ask(restored, statement.format(column, column))
    collations = """SELECT table_name, column_name, collation_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name NOT LIKE 'lamina%'
          AND collation_name IS NOT NULL ORDER BY 1, 2"""
    assert ask(restored, collations) == ask(live, collations)
    assert ("config_value", "name", "C") in ask(restored, collations)
    for view in VIEWS:
        assert ask(restored, f"SELECT count(*) FROM {view}")[0][0] > 0
    assert ask(restored, "SELECT version_num FROM lamina_schema_version") == ask(
        live, "SELECT version_num FROM lamina_schema_version"
    )


def test_a_dump_while_a_client_commits(postgres_url: str, restored_url: str, tmp_path: Path) -> None:
    """P1, P3, P5: a whole beginning of the history, with all that was acknowledged before, and its triggers."""
    urls = {"DATABASE": libpq(postgres_url), "RESTORED": libpq(restored_url)}
    with ServerProcess(postgres_url) as server:
        start(server.target)
        with Committing(server.target) as committing:
            least = committing.wait_for_more()
            run(readme_block("pg_dump"), tmp_path, **urls)
            committing.wait_for_more()
        run(readme_block("pg_restore"), tmp_path, **urls)
        check_schema(postgres_url, restored_url)
        with ServerProcess(restored_url) as restored:
            head = check_prefix(server.target, restored.target, least=least)
            assert head < committing.acknowledged[-1].number


def test_a_restored_dump_refuses_later_cursors(postgres_url: str, restored_url: str, tmp_path: Path) -> None:
    """P10, P13: first CURSOR_AHEAD, and once other commits were made, CURSOR_FORKED."""
    urls = {"DATABASE": libpq(postgres_url), "RESTORED": libpq(restored_url)}
    with ServerProcess(postgres_url) as server:
        start(server.target)
        with Committing(server.target) as committing:
            committing.wait_for_more()
            run(readme_block("pg_dump"), tmp_path, **urls)
            committing.wait_for_more()
        with stale_cursors_fail(server.target):
            server.stop()
            run(readme_block("pg_restore"), tmp_path, **urls)
            restored = ServerProcess(restored_url, "--listen", server.target)
            restored.start()
        restored.stop()
        server.start()


def test_a_base_backup_while_a_client_commits(tmp_path: Path) -> None:
    """P1, P3, P5: all files of the cluster, with the log that is written in the meantime."""
    with Postgres.start(in_memory=True) as cluster:
        url = cluster.new_database()
        with ServerProcess(url) as server:
            start(server.target)
            with Committing(server.target) as committing:
                least = committing.wait_for_more()
                run(readme_block("pg_basebackup"), tmp_path, DATABASE=libpq(url))
                committing.wait_for_more()
            with Postgres.start_on(tmp_path / "copy") as copied:
                there = copied.url_of(str(make_url(url).database))
                check_schema(url, there)
                with ServerProcess(there) as restored:
                    check_prefix(server.target, restored.target, least=least)


def test_the_readme_names_every_view_and_column(postgres_url: str) -> None:
    """The queries of this section run in tests/server/store/test_views.py, on both databases."""
    with ServerProcess(postgres_url):
        columns = ask(
            postgres_url,
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_name LIKE 'lamina%' AND table_name <> 'lamina_schema_version'",
        )
    section = README.partition("## SQL for people")[2].partition("\n## ")[0]
    assert [name for (name,) in columns if f"`{name}`" not in section] == []
    assert [view for view in VIEWS if f"`{view}`" not in section] == []
