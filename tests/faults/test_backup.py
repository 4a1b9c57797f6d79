"""`lamina-server backup` while a client commits, and restored copies that lack versions which clients have seen."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.restoring import Committing, check_prefix, readme_block, stale_cursors_fail, start
from tests.support.server import ServerProcess

BACKUPS = 2

# Several servers one after the other, each a Python to start, on a machine that may be busy.
pytestmark = pytest.mark.timeout(180)


def backup(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "lamina_server", "backup", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'lamina.db'}"


def test_backups_while_a_client_commits(url: str, tmp_path: Path) -> None:
    """P1, P3, P5: each copy is a whole beginning of the history, with all that was acknowledged before it began."""
    with ServerProcess(url) as server:
        start(server.target)
        least = []
        with Committing(server.target) as committing:
            for number in range(BACKUPS):
                least.append(committing.wait_for_more())
                done = backup(tmp_path / f"{number}.db", "--database", url)
                assert (done.returncode, done.stderr) == (0, "")
                size = (tmp_path / f"{number}.db").stat().st_size
                assert done.stdout == f"lamina-server: {tmp_path / f'{number}.db'}, {size} bytes, configs: 1\n"
                committing.wait_for_more()
        for number in range(BACKUPS):
            verify(f"sqlite:///{tmp_path / f'{number}.db'}")
            with ServerProcess(f"sqlite:///{tmp_path / f'{number}.db'}") as restored:
                head = check_prefix(server.target, restored.target, least=least[number])
                assert head < committing.acknowledged[-1].number


def test_a_restored_copy_refuses_later_cursors(url: str, tmp_path: Path) -> None:
    """P10, P13: by the README's commands; first CURSOR_AHEAD, and once other commits were made, CURSOR_FORKED."""
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    with ServerProcess(url) as server:
        start(server.target)
        with Committing(server.target) as committing:
            committing.wait_for_more()
            run(readme_block("lamina-server backup monday"), tmp_path)
            committing.wait_for_more()
        with stale_cursors_fail(server.target):
            server.kill()
            run(readme_block("mkdir replaced"), tmp_path)
            server.restart()


def verify(url: str) -> None:
    program = [sys.executable, "-m", "lamina_server", "verify", "--database", url]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr


def run(block: str, folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_refusals_and_failures_are_one_line(url: str, tmp_path: Path) -> None:
    """Exit codes 2 and 1."""
    with ServerProcess(url):
        pass
    there = tmp_path / "there.db"
    there.touch()
    cases: list[tuple[list[object], int, str]] = [
        ([there, "--database", url], 2, "there.db' exists already"),
        ([tmp_path / "copy.db", "--database", "postgresql://localhost/lamina"], 2, "use pg_dump"),
        ([tmp_path / "copy.db", "--database", f"sqlite:///{tmp_path}/none.db"], 1, "there is no database"),
        ([tmp_path / "none" / "copy.db", "--database", url], 1, "there is no folder"),
    ]
    for arguments, code, text in cases:
        done = backup(*arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
        assert text in done.stderr
    assert not (tmp_path / "copy.db").exists()


def test_a_terminal_sees_the_progress(url: str, tmp_path: Path) -> None:
    with ServerProcess(url):
        pass
    terminal, end = pty.openpty()
    program = [sys.executable, "-m", "lamina_server", "backup", str(tmp_path / "copy.db"), "--database", url]
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=end, check=True)
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert "copying" in shown
    assert "100%" in shown
    assert done.stdout.startswith(b"lamina-server: ")
