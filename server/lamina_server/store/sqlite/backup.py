"""A copy of a SQLite database while a server is using it. Knows no table but the list of configs.

It runs in a process of its own, and takes no part in the server's work: the file is opened
for reading only, so that this connection never writes and never checkpoints, not even as
the last one to be closed: that takes a lock which a file opened so does not get. And the
server's lock file is left alone: it says who may write.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from lamina_server.store.contract import BackupRefusedError, UnusableStoreError
from lamina_server.store.sql.migrations import known

BUSY_SECONDS = 5.0
"""How long to wait for a server that opens or closes the file at this moment; nothing else locks readers out."""

STEP_PAGES = 1024
"""Copied between two looks at the progress: 4 MiB."""

Progress = Callable[[int, int], None]
"""Called with the pages that are copied and the pages that there are."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished copy."""

    path: Path
    size_bytes: int
    configs: int


def back_up(url: str, target: Path, progress: Progress) -> Backup:
    """Copy the SQLite database with a SQLAlchemy URL into a new file, which has one moment's whole content.

    The copy has its name only once it is complete, checked and on the disk. It is one plain
    file that nobody else can read, without a write-ahead log; a server that opens it gives
    it one.

    Raises BackupRefusedError where nothing was tried, UnusableStoreError where it failed.
    """
    source = _source(url)
    _check_target(target)
    with _our_words(f"{str(source)!r} could not be copied"), _reading(source) as original, _unnamed(target) as unnamed:
        with closing(sqlite3.connect(unnamed, isolation_level=None)) as copy:
            _copy(original, copy, progress)
            configs = _check(copy)
        _name(unnamed, target)
    return Backup(target, target.stat().st_size, configs)


def _source(url: str) -> Path:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        # Its text stays with the cause: a URL may hold a password.
        raise UnusableStoreError("the database's address is not a URL such as sqlite:///lamina.db") from error
    if parsed.get_backend_name() in {"postgresql", "postgres"}:
        raise BackupRefusedError("PostgreSQL has its own backups: use pg_dump or pg_basebackup, see server/README.md")
    if parsed.drivername != "sqlite":
        raise UnusableStoreError(f"{parsed.drivername!r} is not a database that is known here: sqlite or postgresql")
    if parsed.database in (None, "", ":memory:"):
        raise BackupRefusedError("a database in memory can be read by its own process alone: there is no file to copy")
    source = Path(str(parsed.database)).resolve()
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
    uri = f"file:{quote(str(source))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
        for pragma in ("query_only=ON", "wal_autocheckpoint=0", "trusted_schema=OFF", "cell_size_check=ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        _check_revision(connection)  # the first reading, which chooses the moment
        yield connection


@contextmanager
def _unnamed(target: Path) -> Iterator[Path]:
    """Make an empty file beside the target, for the owner alone; whatever is left of it goes away."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent)
    os.close(descriptor)
    unnamed = Path(name)
    try:
        yield unnamed
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            unnamed.with_name(unnamed.name + suffix).unlink(missing_ok=True)


def _copy(original: sqlite3.Connection, copy: sqlite3.Connection, progress: Progress) -> None:
    # What is not finished is thrown away, so that it needs no journal, and one sync at the end.
    copy.execute("PRAGMA journal_mode=OFF")
    copy.execute("PRAGMA synchronous=OFF")
    original.backup(copy, pages=STEP_PAGES, progress=lambda _status, left, total: progress(total - left, total))
    # The pages say that there is a write-ahead log. Without, the file can be read from any place.
    copy.execute("PRAGMA journal_mode=DELETE")


def _check(copy: sqlite3.Connection) -> int:
    """See that the copy is sound; return how many configs it has."""
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise UnusableStoreError(f"the database is damaged, and was not copied: {found}")
    _check_revision(copy)
    configs: int
    (configs,) = copy.execute("SELECT count(*) FROM config_name").fetchone()
    return configs


def _check_revision(connection: sqlite3.Connection) -> None:
    there = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'alembic_version'").fetchone()
    revisions = {row[0] for row in connection.execute("SELECT version_num FROM alembic_version")} if there else set()
    if not revisions:
        raise UnusableStoreError("the file is not a database that lamina-server has made or migrated")
    if not revisions <= known():
        text = f"the database's schema {min(revisions)!r} is not known to this release; use a newer one"
        raise UnusableStoreError(text)


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
def _our_words(text: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise UnusableStoreError(f"{text}: {error}") from error
