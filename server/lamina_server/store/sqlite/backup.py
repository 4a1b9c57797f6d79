"""A copy of a SQLite database while a server is using it. Knows no table but the list of configs.

It runs in a process of its own, and does not disturb the server. It opens the file for reading
only, so its connection never writes and never checkpoints, not even when it is the last one to
be closed.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lamina_server.store.address import PostgresqlAddress, parse, resolved
from lamina_server.store.contract import BackupRefusedError, UnusableStoreError
from lamina_server.store.sql.revision import recorded
from lamina_server.store.sqlite.errors import SqliteErrors, code_of
from lamina_server.store.sqlite.file import OWNER_ONLY
from lamina_server.store.sqlite.sessions import lend_reader

STEP_PAGES = 1024
"""Copied between two looks at the progress: 4 MiB."""

PART = ".part"
"""The end of the name of a copy that is not complete."""

Progress = Callable[[int, int], None]
"""Called with the pages that are copied and the pages that there are."""


Check = Callable[[Path], None]
"""Looks at a complete copy that has no name yet."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished copy."""

    path: Path
    size_bytes: int
    configs: int


def back_up(
    url: str, target: Path, progress: Progress, *, check: Check = lambda _: None, step_pages: int = STEP_PAGES
) -> Backup:
    """Copy the SQLite database with a SQLAlchemy URL into a new file, which has one moment's whole content.

    The copy has its name only once it is complete, checked and on the disk. It is one plain
    file, which only its owner can read, without a write-ahead log; a server that opens it
    adds one. `check` is called with the complete copy, and raises if that is not good enough.

    Raises DatabaseAddressError or BackupRefusedError where nothing was tried, UnusableStoreError where it failed.
    """
    source = _source(url)
    _check_target(target)
    with _our_words(source, target), _reading(source) as original, _unnamed(target) as unnamed:
        with closing(sqlite3.connect(unnamed, isolation_level=None)) as copy:
            _copy(original, copy, progress, step_pages)
            configs = _check(copy)
        check(unnamed)
        _name(unnamed, target)
    return Backup(target, target.stat().st_size, configs)


def _source(url: str) -> Path:
    address = parse(url)
    if isinstance(address, PostgresqlAddress):
        raise BackupRefusedError("PostgreSQL has its own backups: use pg_dump or pg_basebackup, see server/README.md")
    if address.path is None:
        raise BackupRefusedError("a database in memory can be read by its own process alone: there is no file to copy")
    source = resolved(address.path)
    if not source.is_file():
        raise UnusableStoreError(f"there is no database {str(source)!r}")
    return source


def _check_target(target: Path) -> None:
    if os.path.lexists(target):
        raise BackupRefusedError(f"{str(target)!r} exists already: nothing is overwritten")
    for suffix in ("-wal", "-journal"):
        leftover = target.with_name(target.name + suffix)
        if leftover.exists():  # SQLite would apply it to whatever file has the name
            raise BackupRefusedError(
                f"{str(leftover)!r} of another database lies there: remove it, or name another file"
            )
    if not target.absolute().parent.is_dir():
        raise UnusableStoreError(f"there is no folder {str(target.absolute().parent)!r}")


@contextmanager
def _reading(source: Path) -> Iterator[sqlite3.Connection]:
    """Lend a connection that sees one moment of the file until it is closed.

    SQLite's backup begins anew whenever another process has written since its last step, so
    that under constant load it would never end; in one single step it would show no progress.
    Within a transaction all steps read the same moment. Writers go on beside it; what they
    write stays in the write-ahead log until the copy is done, which therefore grows meanwhile.
    """
    with lend_reader(source) as connection:
        connection.execute("BEGIN")
        _check_revision(connection)  # the first reading, which chooses the moment
        yield connection


@contextmanager
def _unnamed(target: Path) -> Iterator[Path]:
    """Make an empty file beside the target, for the owner alone; whatever is left of it goes away."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PART, dir=target.absolute().parent)
    os.fchmod(descriptor, OWNER_ONLY)  # the umask may have taken even that away
    os.close(descriptor)
    unnamed = Path(name)
    try:
        yield unnamed
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            unnamed.with_name(unnamed.name + suffix).unlink(missing_ok=True)


def _copy(original: sqlite3.Connection, copy: sqlite3.Connection, progress: Progress, step_pages: int) -> None:
    # What is not finished is thrown away, so that it needs no journal, and one sync at the end.
    copy.execute("PRAGMA journal_mode=OFF")
    copy.execute("PRAGMA synchronous=OFF")
    original.backup(copy, pages=step_pages, progress=lambda _status, left, total: progress(total - left, total))
    # The pages say that there is a write-ahead log. Without, the file can be read from any place.
    copy.execute("PRAGMA journal_mode=DELETE")


def _check(copy: sqlite3.Connection) -> int:
    """Check that the copy is sound; return how many configs it has."""
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise UnusableStoreError(f"the database is damaged, and was not copied: {found}")
    _check_revision(copy)
    configs: int
    (configs,) = copy.execute("SELECT count(*) FROM config_name").fetchone()
    return configs


def _check_revision(connection: sqlite3.Connection) -> None:
    if recorded(lambda statement: connection.execute(statement).fetchall(), "sqlite") is None:
        raise UnusableStoreError("the file is not a database that lamina-server has made or migrated")


def _name(unnamed: Path, target: Path) -> None:
    """Bring the copy to the disk, then give it its name, then bring that to the disk."""
    _sync(unnamed)
    _check_target(target)  # it took its time
    unnamed.rename(target)
    _sync(target.absolute().parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _our_words(source: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        # Of two files SQLite does not say which one it is about; a disk is full only where something is written.
        path = target if code_of(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY} else source
        raise SqliteErrors(path).unusable(error) from error
    except OSError as error:
        raise UnusableStoreError(f"{str(source)!r} cannot be copied to {str(target)!r}: {error.strerror}") from error
