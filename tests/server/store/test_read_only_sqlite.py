"""A SQLite file where nothing can be written: verify and backup read it, or say exactly what is missing."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import click._termui_impl
import pytest
from click.testing import CliRunner, Result

import lamina_server.store.sqlite.backup
import lamina_server.store.verify.inspection
import lamina_server.store.verify.walk
from lamina_server.cli.main import main
from lamina_server.store.open import open_store
from tests.conformance.commits import commit
from tests.support import absent

IMPORTED = (
    click._termui_impl,
    lamina_server.store.sqlite.backup,
    lamina_server.store.verify.inspection,
    lamina_server.store.verify.walk,
)
"""What the commands import when they run: another account may not be able to read Python's files."""

NOBODY = 65534

Run = Callable[..., Result]


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that other accounts may enter, unlike pytest's own."""
    if os.geteuid() != 0:
        absent("another account", "run as root")
    with TemporaryDirectory(prefix="lamina-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def stopped(folder: Path) -> Path:
    """Make a database whose server has stopped."""
    folder.mkdir()
    path = folder / "lamina.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        commit(store, {"x": 1})
    path.chmod(0o644)
    return path


def crashed(folder: Path) -> Path:
    """Make a database whose server was killed, with commits in its log."""
    path = folder.with_name("original") / "lamina.db"
    path.parent.mkdir()
    with closing(open_store(f"sqlite:///{path}")) as store:
        commit(store, {"x": 1})
        shutil.copytree(path.parent, folder)
    for each in folder.iterdir():
        each.chmod(0o644)
    return folder / "lamina.db"


@pytest.fixture(params=["account", "mount"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Run `lamina-server` on a file: as an account that may only read it, or on a read-only mount of its folder."""
    mounts: list[Path] = []

    def command(path: Path, *arguments: object) -> Result:
        if request.param == "mount":
            done = subprocess.run(["mount", "--bind", "-o", "ro", path.parent, path.parent], check=False)
            if done.returncode:
                absent("the right to mount", "run as root")
            mounts.append(path.parent)
        else:
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        return CliRunner().invoke(main, [*map(str, arguments), "--database", f"sqlite:///{path}"])

    yield command
    os.seteuid(0)
    os.setegid(0)
    for each in mounts:
        subprocess.run(["umount", each], check=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_verify_reads_a_stopped_database(base: Path, run: Run) -> None:
    path = stopped(base / "data")
    before = contents(path.parent)
    done = run(path, "verify")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 configs, 1 versions and 1 values are intact" in done.stdout
    assert contents(path.parent) == before


def test_backup_copies_a_stopped_database(base: Path, run: Run) -> None:
    path = stopped(base / "data")
    target = base / "copies" / "copy.db"
    target.parent.mkdir()
    target.parent.chmod(0o777)
    done = run(path, "backup", target)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("configs: 1\n")
    with closing(open_store(f"sqlite:///{target}")) as store:
        assert commit(store, {"x": 2}).number == 2


def test_commits_in_the_log_are_not_left_out(base: Path, run: Run) -> None:
    """P1: a read of the file alone would be a read of the past."""
    path = crashed(base / "data")
    path.with_name("lamina.db-shm").unlink()
    done = run(path, "verify")
    assert (done.exit_code, done.stdout) == (1, "")
    text = f"'{path}' has commits in its log '{path}-wal', which SQLite reads only in a folder where it may write"
    assert done.stderr == f"lamina-server: {text}: copy both files to one, and use the copy\n"


def test_commits_in_the_log_are_read_where_its_index_is_left(base: Path, run: Run) -> None:
    path = crashed(base / "data")
    done = run(path, "verify")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "1 configs, 1 versions and 1 values are intact" in done.stdout


def test_a_file_that_a_server_has_open_is_not_read_as_if_it_had_none(base: Path, run: Run) -> None:
    path = stopped(base / "data")
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as a server that has just begun
        done = run(path, "verify")
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"a server has '{path}' open, and this account cannot use the log beside it" in done.stderr


def test_what_may_not_be_read_is_told(base: Path, run: Run) -> None:
    path = stopped(base / "data")
    path.chmod(0)
    done = run(path, "verify")
    if os.geteuid() != 0:  # who may read everything
        assert done.stderr == f"lamina-server: cannot open '{path}': Permission denied\n"
