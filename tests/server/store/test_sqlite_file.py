"""A SQLite file that others touch while it is served: nothing is acknowledged that a restart would not find."""

import errno
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import structlog
from structlog.typing import EventDict

from lamina_server.domain.errors import DamagedError, UnavailableError
from lamina_server.store.contract import (
    CommitUnknownError,
    Store,
    StoreFailedError,
    StoreNotReadyError,
    UnusableStoreError,
)
from lamina_server.store.open import open_store
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sqlite.backup import back_up
from lamina_server.store.sqlite.database import SqliteDatabase
from lamina_server.store.sqlite.file import DataFile
from tests.conformance.commits import CONFIG, commit, insert, map_at
from tests.support.touching import PAGE_BYTES, beside, damage_pages, link, move_the_folder, remove_log, set_aside

Act = Callable[[Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "served"
    folder.mkdir()
    return folder / "lamina.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store with a version of several pages in its file, and one in its log."""
    with opened(path) as store:
        commit(store, {"x": "y" * 50_000})
    database = SqliteDatabase(path, reader_connections=1, wait_seconds=1, look_seconds=0)
    with closing(SqlStore(database)) as store:
        commit(store, {"x": 2})
        yield store


@contextmanager
def opened(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        yield store


def head(path: Path) -> int:
    with opened(path) as store, store.read() as reading:
        found = reading.head(CONFIG)
    return found.number if found else 0


def backup_of(path: Path) -> Path:
    copy = path.parent.parent / "backup.db"
    back_up(f"sqlite:///{path}", copy, lambda _done, _total: None)
    return copy


def links_to(link: Path, path: Path) -> bool:
    with suppress(FileNotFoundError):  # the one that lists the folder
        return link.readlink() == path
    return False


def is_of(link: Path, path: Path) -> bool:
    """Return whether a descriptor is of a database's file or of one beside it."""
    with suppress(FileNotFoundError):
        return str(link.readlink()).startswith(str(path))
    return False


def remove(path: Path) -> None:
    path.unlink()


def remove_all(path: Path) -> None:
    for each in path.parent.iterdir():
        each.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("old.db"))


def replace_by_a_backup(path: Path) -> None:
    copy = backup_of(path)
    set_aside(path)
    shutil.copy(copy, path)


def replace_log(path: Path) -> None:
    shutil.copy(beside(path, "-wal"), path.with_name("copy"))
    path.with_name("copy").rename(beside(path, "-wal"))


def remove_index(path: Path) -> None:
    beside(path, "-shm").unlink()


def close_the_folder(path: Path) -> None:
    """Put something in the way, as a mount over the folder does."""
    move_the_folder(path)
    path.parent.touch()


def overwrite_with_a_backup(path: Path) -> None:
    shutil.copy(backup_of(path), path)


def cut(path: Path) -> None:
    os.truncate(path, 4096)


def empty(path: Path) -> None:
    os.truncate(path, 0)


ACTS = [
    (remove, "lamina.db' was removed or moved"),
    (remove_all, "lamina.db' was removed or moved"),
    (move, "lamina.db' was removed or moved"),
    (replace_by_a_backup, "lamina.db' was replaced by another file"),
    (link, "lamina.db' got a second name (a hard link)"),
    (remove_log, "lamina.db-wal' was removed or moved"),
    (replace_log, "lamina.db-wal' was replaced by another file"),
    (move_the_folder, "lamina.db' was removed or moved"),
    (close_the_folder, "(Not a directory)"),
    (overwrite_with_a_backup, "lamina.db' was overwritten or cut"),
    (cut, "lamina.db' was overwritten or cut"),
    (empty, "lamina.db' was overwritten or cut"),
]
OF_THE_INDEX = [(remove_index, "lamina.db-shm' was removed or moved")]
"""A restart makes it anew, so no commit is lost with it; but other programs no longer see what the server does."""


def each_of(acts: Sequence[tuple[Act, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("act", "words"), acts, ids=[act.__name__ for act, _ in acts])


def log_of_failures(log: list[EventDict]) -> list[str]:
    return [str(each["reason"]) for each in log if each["event"] == "database given up"]


@each_of(ACTS)
def test_a_commit_into_a_file_that_is_no_longer_at_its_path_is_unknown(
    path: Path, store: Store, act: Act, words: str
) -> None:
    """P1: it may be gone after a restart, so it is not answered OK; and there is no other."""
    with structlog.testing.capture_logs() as log:
        with pytest.raises(StoreFailedError), store.write() as writing:
            insert(writing, CONFIG, {"x": 3})
            act(path)
        assert words in store.failure
        assert log_of_failures(log) == [store.failure]
    for verb in (store.read, store.write):
        with pytest.raises(UnavailableError, match="must be restarted"), verb():
            pass


def test_a_commit_into_a_file_that_cannot_be_read_afterwards_is_unknown(path: Path, store: Store) -> None:
    """P2: it may have been written, whatever the disk says then."""
    (descriptor, *_) = sorted(int(each.name) for each in Path("/proc/self/fd").iterdir() if links_to(each, path))
    kept, nothing = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        with pytest.raises(StoreFailedError), store.write() as writing:
            insert(writing, CONFIG, {"x": 3})
            os.dup2(nothing, descriptor)
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
        os.close(nothing)
    assert "cannot be read any more" in store.failure


@pytest.mark.parametrize(("does", "raised"), [("pass", "StoreFailedError"), ("raise KeyError", "KeyError")])
def test_a_transaction_that_cannot_end_for_want_of_memory_ends_the_store(path: Path, does: str, raised: str) -> None:
    """P2: a COMMIT is unknown then, and a transaction that is still open is in the way of all later ones."""
    program = f"""
import sqlite3
from contextlib import suppress
from lamina_server.store.open import open_store
from tests.conformance.commits import CONFIG, insert
store = open_store({f"sqlite:///{path}"!r})
try:
    with store.write() as writing:
        insert(writing, CONFIG, {{"x": 1}})
        writing.head(CONFIG)
        with suppress(MemoryError):
            sqlite3.connect(":memory:").execute("PRAGMA hard_heap_limit=1000")  # of all connections, for ever
        {does}
except Exception as error:
    print(type(error).__name__, bool(store.failure))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == f"{raised} True"


def test_a_trial_that_comes_after_the_end_holds_nothing_up(path: Path) -> None:
    """The looks at the readiness have threads of their own, which nobody waits for."""
    store = open_store(f"sqlite:///{path}")
    store.close()
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(store.check_writable).exception() is not None
        store.close()


@each_of(ACTS + OF_THE_INDEX)
def test_a_commit_after_the_file_has_gone_is_refused(path: Path, store: Store, act: Act, words: str) -> None:
    """P2: nothing has begun, so the answer is definite."""
    act(path)
    with pytest.raises(UnavailableError, match="nothing was written") as refused:
        commit(store, {"x": 3})
    assert not isinstance(refused.value, CommitUnknownError)
    assert words in store.failure


@pytest.mark.parametrize(
    ("act", "place"),
    [
        (move, "old.db"),
        (set_aside, "replaced/lamina.db"),
        (remove_log, "lamina.db"),
        (remove_index, "lamina.db"),
        (replace_by_a_backup, "replaced/lamina.db"),
        (move_the_folder, "../moved/lamina.db"),
    ],
)
def test_what_was_acknowledged_is_in_the_file_wherever_it_is(path: Path, store: Store, act: Act, place: str) -> None:
    """P1: the log is moved into the file that is open, even if the log has no name any more."""
    folder = path.parent
    act(path)
    with pytest.raises(UnavailableError, match="nothing was written"):
        commit(store, {"x": "refused"})
    store.close()
    assert head(Path(os.path.normpath(folder / place))) == 2


def test_a_backup_over_the_served_file_is_left_alone(path: Path, store: Store) -> None:
    """SQLite moves the log into the file when it closes it."""
    overwrite_with_a_backup(path)
    store.close()
    assert path.read_bytes() == path.parent.with_name("backup.db").read_bytes()
    assert beside(path, "-wal").stat().st_size > 0


def test_a_server_whose_file_was_replaced_leaves_the_next_one_alone(path: Path, store: Store) -> None:
    """P1: SQLite removes a log by its name, which is the next server's by then."""
    replace_by_a_backup(path)
    with opened(path) as following:
        commit(following, {"x": 3})
        store.close()
        assert commit(following, {"x": 4}).number == 4
        crashed = path.parent / "crashed"
        crashed.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(beside(path, suffix), crashed)
    assert head(crashed / "lamina.db") == 4


def test_a_link_that_leads_elsewhere_is_noticed(path: Path) -> None:
    """After a restart the server would open what the link leads to."""
    name = path.with_name("current.db")
    name.symlink_to(path.name)
    with opened(name) as store:
        commit(store, {"x": 1})
        name.unlink()
        name.symlink_to("other.db")
        path.with_name("other.db").touch()
        with pytest.raises(UnavailableError):
            commit(store, {"x": 2})
        assert "current.db' was replaced by another file" in store.failure


def read_twice(store: Store) -> None:
    """Read over a connection that is opened now, and that has seen no page yet."""
    with store.read() as first, store.read() as second:
        for reading in (first, second):
            reading.head(CONFIG)


def read_map(store: Store) -> None:
    with store.read() as reading:
        map_at(reading, 1)


def commit_again(store: Store) -> None:
    commit(store, {"key/1": "again"})


def write_keyframe(store: Store) -> None:
    store.write_keyframe(CONFIG)


def overwrite_first_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"x" * PAGE_BYTES)


@pytest.mark.parametrize(
    ("act", "verb", "code"),
    [
        (damage_pages, read_map, "SQLITE_CORRUPT"),
        (damage_pages, write_keyframe, "SQLITE_CORRUPT"),
        (damage_pages, commit_again, "SQLITE_CORRUPT"),
        (overwrite_first_page, read_twice, "SQLITE_NOTADB"),
    ],
)
def test_a_damaged_file_takes_no_more_commits(path: Path, act: Act, verb: Callable[[Store], None], code: str) -> None:
    """P1, P5: nothing is written into a file that may not keep it."""
    with opened(path) as store:
        commit(store, {f"key/{number}": number for number in range(2_000)})
    with opened(path) as store, structlog.testing.capture_logs() as log:
        act(path)
        with pytest.raises(DamagedError, match="is damaged: restore a backup"):
            verb(store)
        assert f"lamina.db' is damaged ({code}): see which versions are intact by lamina-server verify" in store.failure
        assert log_of_failures(log) == [store.failure]
        for again in (read_map, commit_again):
            with pytest.raises(DamagedError):
                again(store)


class TestOtherPrograms:
    def test_another_program_that_writes_is_noticed(self, path: Path, store: Store) -> None:
        """P6: heads in memory would no longer be the heads in the file."""
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("CREATE TABLE others (x)")
        with pytest.raises(UnavailableError, match="nothing was written"):
            commit(store, {"x": 3})
        assert "another program wrote to" in store.failure

    def test_programs_that_only_read_are_not(self, path: Path, store: Store) -> None:
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT count(*) FROM lamina_log").fetchone() == (2,)
            commit(store, {"x": 3})
        backup_of(path)
        assert commit(store, {"x": 4}).number == 4

    def test_checkpoints_are_not(self, store: Store) -> None:
        for number in range(3, 9):
            assert commit(store, {"x": f"{number}" * 3_000_000}).number == number


def test_a_log_that_sqlite_begins_again_is_still_its_own(path: Path) -> None:
    """After a checkpoint SQLite writes its log from the beginning, and shortens it."""
    log = path.with_name("lamina.db-wal")
    beginnings = set()
    with opened(path) as store:
        for number in range(60):
            commit(store, {"x": str(number) * 200_000})
            beginnings.add(log.read_bytes()[:32])
        assert not store.failure
    assert len(beginnings) > 1, "it was never begun again"
    assert head(path) == 60


@contextmanager
def locked_by_another(name: str) -> Iterator[None]:
    """Have another process hold a lock on a file."""
    program = ["flock", "--nonblock", name, "sh", "-c", "echo held; read line"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield
        assert process.stdin
        process.stdin.close()


def test_a_failed_opening_leaves_nothing_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails: else no server could open the file before this process ends."""

    def fail(_: DataFile) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(DataFile, "open_files", fail)
        with pytest.raises(OSError, match="Input/output error"):
            open_store(f"sqlite:///{path}")
    assert not [each for each in Path("/proc/self/fd").iterdir() if is_of(each, path)]
    assert head(path) == 0


class TestOneServer:
    @pytest.mark.parametrize("act", [link, move])
    def test_a_second_server_is_refused_whatever_the_files_name(self, path: Path, act: Act) -> None:
        with opened(path) as store:
            commit(store, {"x": 1})
            act(path)
            (name,) = {each.name for each in path.parent.glob("*.db")} - {"lamina.db"}
            with pytest.raises(UnusableStoreError, match="in use by another server"):
                open_store(f"sqlite:///{path.with_name(name)}")

    def test_where_locks_are_not_kept_apart_a_file_beside_is_locked(self, path: Path) -> None:
        """As on macOS, where a lock of ours on the file would keep SQLite from it."""
        beside, data = (["flock", "--nonblock", str(each), "true"] for each in (f"{path}.lock", path))
        file = DataFile(path, locks_beside=True)
        assert [subprocess.run(each, check=False).returncode for each in (beside, data)] == [1, 0]
        assert stat.S_IMODE(Path(f"{path}.lock").stat().st_mode) == 0o600
        file.close()
        assert subprocess.run(beside, check=False).returncode == 0
        with locked_by_another(f"{path}.lock"), pytest.raises(UnusableStoreError, match="in use by another server"):
            DataFile(path, locks_beside=True)

    def test_a_server_of_an_older_release_keeps_others_out(self, path: Path) -> None:
        """It locks a file beside the data file, on each system, and leaves it there."""
        head(path)
        with locked_by_another(f"{path}.lock"), pytest.raises(StoreNotReadyError, match="in use by another server"):
            open_store(f"sqlite:///{path}")
        with opened(path) as store:
            commit(store, {"x": 1})
        assert head(path) == 1

    def test_a_file_with_two_names_is_refused(self, path: Path) -> None:
        with opened(path) as store:
            commit(store, {"x": 1})
        link(path)
        with pytest.raises(UnusableStoreError, match=r"lamina\.db' has 2 names \(hard links\)"):
            open_store(f"sqlite:///{path}")
        path.with_name("second.db").unlink()
        assert head(path) == 1

    def test_what_is_no_file_is_refused(self, path: Path) -> None:
        os.mkfifo(path)
        with pytest.raises(UnusableStoreError, match=r"lamina\.db' is not a file"):
            open_store(f"sqlite:///{path}")

    def test_links_in_a_circle_are_refused(self, path: Path) -> None:
        path.symlink_to("other.db")
        path.with_name("other.db").symlink_to("lamina.db")
        with pytest.raises(UnusableStoreError, match="Too many levels of symbolic links"):
            open_store(f"sqlite:///{path}")


class TestAnotherFilesLog:
    """SQLite applies whatever log has the right name."""

    @pytest.fixture
    def crashed(self, path: Path) -> Path:
        """Return the copy of a database whose server was killed: its log has commits that it has not."""
        folder = path.parent.parent / "crashed"
        with opened(path) as store:
            commit(store, {"x": 1})
            backup_of(path)
            commit(store, {"x": 2})
            shutil.copytree(path.parent, folder)
        return folder / "lamina.db"

    def test_the_log_of_its_own_is_applied(self, crashed: Path) -> None:
        assert head(crashed) == 2

    @pytest.mark.parametrize("overwritten", [False, True])
    def test_a_backup_beside_an_old_log_is_refused(self, crashed: Path, *, overwritten: bool) -> None:
        old = crashed.with_name("old.db")
        if overwritten:
            shutil.copy(crashed, old)
        else:
            crashed.rename(old)
        shutil.copy(crashed.parent.parent / "backup.db", crashed)
        with pytest.raises(UnusableStoreError, match=r"is a backup, and has no log, but there is '.*lamina\.db-wal'"):
            open_store(f"sqlite:///{crashed}")
        for suffix in ("-wal", "-shm"):
            beside(crashed, suffix).rename(beside(old, suffix))
        assert head(crashed) == 1
        assert head(old) == 2

    def test_a_log_without_its_file_is_not_deleted(self, crashed: Path) -> None:
        old = crashed.with_name("old.db")
        crashed.rename(old)
        with pytest.raises(UnusableStoreError, match=r"is new or empty, and would have no log, but there is"):
            open_store(f"sqlite:///{crashed}")
        assert not crashed.exists()
        old.rename(crashed)
        assert head(crashed) == 2

    @pytest.mark.parametrize("left", [("-wal", "-shm"), ("-shm",), ("-wal",)])
    def test_no_new_database_takes_the_place_of_one_that_was_moved_away(self, path: Path, left: Sequence[str]) -> None:
        """The operator would see an empty server. A server that was killed before its first commit leaves these."""
        for suffix in left:
            beside(path, suffix).touch()
        with pytest.raises(UnusableStoreError) as refused:
            open_store(f"sqlite:///{path}")
        assert f"there is no '{path}', but a server has left '{path}{left[0]}'" in str(refused.value)
        assert not path.exists()


class TestModes:
    @pytest.fixture(params=[0o000, 0o022, 0o377])
    def _umask(self, request: pytest.FixtureRequest) -> Iterator[None]:
        before = os.umask(request.param)
        yield
        os.umask(before)

    @pytest.mark.usefixtures("_umask")
    def test_all_files_are_their_owners_alone(self, path: Path) -> None:
        with opened(path) as store, structlog.testing.capture_logs() as log:
            commit(store, {"x": 1})
            copy = backup_of(path)
            files = [*path.parent.iterdir(), copy]
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in files}
        assert modes == dict.fromkeys(("lamina.db", "lamina.db-wal", "lamina.db-shm", "backup.db"), 0o600)
        assert log == []

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
    def test_a_file_that_others_may_open_is_told_once(self, path: Path, mode: int) -> None:
        with opened(path) as store:
            commit(store, {"x": 1})
        path.chmod(mode)
        with structlog.testing.capture_logs() as log, opened(path) as store:
            commit(store, {"x": 2})
        (warning,) = log
        assert warning["log_level"] == "warning"
        assert warning["mode"] == f"{mode:04o}"
        assert warning["remedy"] == f"run chmod 600 {path}*"
