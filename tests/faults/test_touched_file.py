"""A SQLite file that is removed, moved, replaced or linked under a server at work: no acknowledged commit is gone."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import lamina
from lamina_server.store.open import open_store
from tests.faults.restoring import CONFIG, Committing, readme_block
from tests.support.server import ServerProcess
from tests.support.touching import damage_pages, link, move_the_folder, remove_log, set_aside

pytestmark = pytest.mark.timeout(180)

TIMEOUT_SECONDS = 2.0
"""How long the client tries again after its server has ended."""

Act = Callable[[Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder / "lamina.db"


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def start(server: ServerProcess) -> None:
    with lamina.connect(server.target) as client:
        cfg = client.config(CONFIG, create=True)
        cfg["x"] = 1
        cfg.commit("begin")


def commit_until_the_end(server: ServerProcess, act: Act, path: Path) -> int:
    """Commit all the time, touch the file, and wait for the server's end; return the last acknowledged version."""
    with pytest.raises(lamina.LaminaError), Committing(server.target, timeout=TIMEOUT_SECONDS) as committing:
        committing.wait_for_more()
        act(path)
        assert server.wait() == 1
    return committing.acknowledged[-1].number


def head(path: Path) -> int:
    with closing(open_store(url_of(path))) as store, store.read() as reading:
        found = reading.head(CONFIG)
    return found.number if found else 0


def empty_log(path: Path) -> None:
    path.with_name("lamina.db-wal").write_bytes(b"")


def replace(path: Path) -> None:
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    copy.rename(path)


@pytest.mark.parametrize(
    ("act", "words", "place"),
    [
        (set_aside, "lamina.db' was removed or moved while the server ran", "replaced"),
        (link, "lamina.db' got a second name (a hard link) while the server ran", "."),
        (remove_log, "lamina.db-wal' was removed or moved while the server ran", "."),
    ],
)
def test_a_server_ends_and_says_why(path: Path, act: Act, words: str, place: str) -> None:
    """P1: what was answered OK is where the file is now."""
    with ServerProcess(url_of(path)) as server:
        start(server)
        last = commit_until_the_end(server, act, path)
        reason = server.log.splitlines()[-1]
    assert reason.startswith("lamina-server: ")
    assert words in reason
    assert f'"reason": "{reason.removeprefix("lamina-server: ")}", "event": "database given up"' in server.log
    path.with_name("second.db").unlink(missing_ok=True)
    assert head(path.parent / place / path.name) >= last


def test_a_server_whose_log_is_emptied_ends_and_leaves_the_file_intact(path: Path) -> None:
    """P1: what was in the log alone is gone, and the server says so; it does not write what is left into the file."""
    with ServerProcess(url_of(path)) as server:
        start(server)
        commit_until_the_end(server, empty_log, path)
        reason = server.log.splitlines()[-1]
    assert "lamina.db-wal' was overwritten or cut while the server ran: restore a backup" in reason
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (replace, "lamina.db' was replaced by another file while the server ran"),
        (empty_log, "lamina.db-wal' was overwritten or cut while the server ran"),
    ],
)
def test_what_is_touched_just_before_the_end_is_told(path: Path, act: Act, words: str) -> None:
    with ServerProcess(url_of(path)) as server:
        start(server)
        server.signal(signal.SIGSTOP)
        act(path)
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert server.wait() == 1
        assert words in server.log.splitlines()[-1]


@pytest.mark.parametrize("verb", ["read", "commit"])
def test_a_server_that_meets_a_damaged_page_ends(path: Path, verb: str) -> None:
    """P5: it answers with DATA_LOSS, and commits no more into this file."""
    with ServerProcess(url_of(path)) as server:
        start(server)
        with lamina.connect(server.target) as client:
            large = client.config("large", create=True)
            large |= {f"key/{number}": number for number in range(2_000)}
            large.commit("begin")
        server.restart()
        with lamina.connect(server.target, timeout=TIMEOUT_SECONDS) as client:
            cfg = client.config(CONFIG)
            cfg["x"] = 2
            damage_pages(path)
            with pytest.raises(lamina.DataLossError, match="the SQLite file is damaged"):
                client.config("large") if verb == "read" else cfg.commit()
        assert server.wait() == 1
        assert f"'{path}' is damaged (SQLITE_CORRUPT): see which versions are intact" in server.log.splitlines()[-1]


def test_an_idle_server_ends_too(path: Path) -> None:
    with ServerProcess(url_of(path)) as server:
        set_aside(path)
        assert server.wait() == 1
        assert "lamina.db' was removed or moved while the server ran" in server.log.splitlines()[-1]


@pytest.mark.parametrize("name", ["second.db", "lamina.db"])
def test_a_second_server_is_refused_under_every_name(path: Path, name: str) -> None:
    with ServerProcess(url_of(path)) as server:
        server.signal(signal.SIGSTOP)
        if name == path.name:
            move_the_folder(path)
            other = path.parent.with_name("moved") / name
        else:
            link(path)
            other = path.with_name(name)
        with pytest.raises(RuntimeError, match=r"is in use by another server"), ServerProcess(url_of(other)):
            pass
        server.kill()


class TestRestoring:
    """As the README says, with each of its steps forgotten in turn: stop the server, set the old files aside, copy."""

    def test_the_stop_is_forgotten(self, path: Path) -> None:
        with ServerProcess(url_of(path)) as server:
            copied = prepare(server, path)
            last = commit_until_the_end(server, lambda path: readme(path, "mkdir", "cp"), path)
            assert "lamina.db' was " in server.log
            server.restart()
            assert served(server) == copied
        assert head(path.parent / "replaced" / path.name) >= last

    @pytest.mark.parametrize("stopped", [False, True])
    def test_to_set_the_old_files_aside_is_forgotten(self, path: Path, *, stopped: bool) -> None:
        """The log of the old file must not be applied to the copy."""
        with ServerProcess(url_of(path)) as server:
            copied = prepare(server, path)
            if stopped:
                server.kill()
                readme(path, "cp")
            else:
                commit_until_the_end(server, lambda path: readme(path, "cp"), path)
                assert "lamina.db' was overwritten or cut while the server ran" in server.log
            with pytest.raises(RuntimeError, match=r"lamina\.db' is a backup, and has no log, but there is '.*-wal'"):
                server.restart()
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink()
            readme(path, "cp")
            server.restart()
            assert served(server) == copied

    def test_the_log_is_not_set_aside(self, path: Path) -> None:
        """P1: the commits in it belong to the old file."""
        with ServerProcess(url_of(path)) as server:
            copied = prepare(server, path)
            with Committing(server.target) as committing:
                committing.wait_for_more()
            server.kill()
            old = path.parent / "replaced" / path.name
            old.parent.mkdir()
            path.rename(old)
            readme(path, "cp")
            with pytest.raises(RuntimeError, match=r"lamina\.db' is a backup, and has no log, but there is '.*-wal'"):
                server.restart()
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).rename(old.with_name(old.name + suffix))
            server.restart()
            assert served(server) == copied
        assert head(old) == committing.acknowledged[-1].number

    def test_the_copy_is_forgotten(self, path: Path) -> None:
        """The server makes a new database, which the copy then overwrites."""
        with ServerProcess(url_of(path)) as server:
            copied = prepare(server, path)
            server.stop()
            readme(path, "mkdir")
            server.restart()
            assert f"data in {path} (empty: nobody has made a config yet)" in server.printed
            with lamina.connect(server.target, timeout=TIMEOUT_SECONDS) as client:
                cfg = client.config(CONFIG, create=True)
                readme(path, "cp")
                cfg["x"] = 1
                with pytest.raises(lamina.UnavailableError):
                    cfg.commit()
            assert server.wait() == 1
            for suffix in ("-wal", "-shm"):
                path.with_name(path.name + suffix).unlink()
            readme(path, "cp")
            server.restart()
            assert "empty" not in server.printed
            assert served(server) == copied


def prepare(server: ServerProcess, path: Path) -> int:
    """Make a backup beside the file, and commit once more; return the version that the backup ends with."""
    start(server)
    with Committing(server.target) as committing:
        committing.wait_for_more()
    program = [sys.executable, "-m", "lamina_server", "backup", "monday.db", "--database", url_of(path)]
    subprocess.run(program, cwd=path.parent, capture_output=True, check=True)
    copied = committing.acknowledged[-1].number
    with Committing(server.target) as committing:
        committing.wait_for_more()
    return copied


def readme(path: Path, *commands: str) -> None:
    """Run the lines that begin with these commands, of those by which the README restores a backup."""
    lines = readme_block("mkdir replaced").splitlines()
    script = "\n".join(next(line for line in lines if line.startswith(command)) for command in commands)
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=path.parent, check=True)


def served(server: ServerProcess) -> int:
    """Return the head that a server has; see that it takes another commit."""
    with lamina.connect(server.target) as client:
        cfg = client.config(CONFIG)
        number = cfg.version
        cfg["after"] = True
        assert cfg.commit().number == number + 1
    return number
