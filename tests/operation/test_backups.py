"""Backups that are made again and again, of a database that is in use."""

import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import lamina
from tests.support.server import ServerProcess


def backup(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "lamina_server", "backup", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_a_folder_keeps_the_newest_backups(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    older = [folder / f"lamina-2026010{day}T030000Z.db" for day in range(1, 5)]
    others = [folder / name for name in ("lamina-20260101T030000Z.db.old", "notes-20260101T030000Z.db", "lamina.db")]
    for path in (*older, *others):
        path.touch()
    url = f"sqlite:///{tmp_path}/lamina.db"
    before = datetime.now(UTC).replace(microsecond=0)
    with ServerProcess(url) as server, lamina.connect(server.target) as client:
        config = client.config("shop/prod", create=True)
        config["x"] = 28
        config.commit()
        done = backup("--database", url, "--folder", folder, "--keep", 3)
        assert (done.returncode, done.stderr) == (0, "")
    (made,) = set(folder.iterdir()) - {*older, *others}
    assert datetime.strptime(made.name, "lamina-%Y%m%dT%H%M%SZ.db").replace(tzinfo=UTC) >= before
    first, *removed = done.stdout.splitlines()
    assert first == f"lamina-server: {made}, {made.stat().st_size} bytes, configs: 1"
    assert removed == [f"lamina-server: removed {path}" for path in older[:2]]
    assert {path for path in (*older, *others) if path.exists()} == {*older[2:], *others}
    with ServerProcess(f"sqlite:///{made}") as restored, lamina.connect(restored.target) as client:
        assert client.config("shop/prod")["x"] == 28


def test_the_backup_that_was_just_made_stays(tmp_path: Path) -> None:
    """Also beside files that a clock in the future has named, and folders."""
    future = [tmp_path / f"lamina-2999010{day}T030000Z.db" for day in (1, 2)]
    for path in future:
        path.touch()
    folder = tmp_path / "lamina-20000101T030000Z.db"
    folder.mkdir()
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db"):
        done = backup("--database", f"sqlite:///{tmp_path}/lamina.db", "--folder", tmp_path, "--keep", 2)
    assert (done.returncode, done.stderr) == (0, "")
    made = Path(done.stdout.removeprefix("lamina-server: ").partition(",")[0])
    assert made.exists()
    assert [path.exists() for path in (*future, folder)] == [False, True, True]


def test_a_broken_database_makes_no_backup_and_removes_none(tmp_path: Path) -> None:
    url, folder = f"sqlite:///{tmp_path}/lamina.db", tmp_path / "backups"
    folder.mkdir()
    older = folder / "lamina-20260101T030000Z.db"
    older.touch()
    with ServerProcess(url) as server, lamina.connect(server.target) as client:
        config = client.config("shop/prod", create=True)
        config["x"] = 28
        config.commit()
    with sqlite3.connect(tmp_path / "lamina.db") as database:
        database.execute("DROP TRIGGER config_value_no_update")
        database.execute("UPDATE config_value SET int_value = 29")
    done = backup("--database", url, "--folder", folder, "--keep", 1)
    assert done.returncode == 1
    assert "broken: config 'shop/prod', version 1" in done.stdout
    assert "the database is broken, and was not copied" in done.stderr
    assert list(folder.iterdir()) == [older]
    assert backup(tmp_path / "as-it-is.db", "--database", url, "--no-verify").returncode == 0


def test_a_backup_needs_one_place(tmp_path: Path) -> None:
    for arguments in ([], ["copy.db", "--folder", tmp_path], ["copy.db", "--keep", "2"]):
        done = backup(*arguments)
        assert done.returncode == 2
        assert "name either a FILE or a --folder" in done.stderr or "--keep goes with --folder" in done.stderr
