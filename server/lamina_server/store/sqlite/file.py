"""A database's file: how it is opened and locked, and which files beside it are its own. Knows no SQL.

A file with two names has two logs, one for each name, which know nothing of each other. So the server holds a lock on
the file, not on its name. open_files.py looks at the file and its log from then on.

Only Linux keeps this lock apart from SQLite's own locks on the same file. Elsewhere a file beside it is locked, with
the suffix .lock, so that only servers that open it under the same name keep each other out.
"""

import fcntl
import os
import shlex
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import structlog

from lamina_server.store.address import resolved
from lamina_server.store.contract import Files, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sqlite.errors import not_writable
from lamina_server.store.sqlite.open_files import HEADER_BYTES, RESTORE, OpenFiles, beside, start_of

OWNER_ONLY = 0o600
_OTHERS = 0o077

_MAGIC = b"SQLite format 3\0"
_WAL_MODE = b"\2\2"

_log = structlog.get_logger(__name__)

_Identity: TypeAlias = tuple[int, int]
"""Device and inode."""

LOCKS_BESIDE = sys.platform != "linux"
"""Whether the lock is on a file beside the data file."""

_open_here: set[_Identity] = set()
"""The files that are open in this process. To open and close one again would drop SQLite's locks on it."""
_opening = threading.Lock()


class DataFile:
    """A database's file, open and locked until `close`; it is made where there is none.

    Close it only after all of SQLite's connections: closing any descriptor of a file drops SQLite's locks on it.

    path  the file's own path, whatever links lead to it

    Raises UnusableStoreError where it cannot be used, and StoreNotReadyError where another server uses it.
    """

    def __init__(self, name: Path, *, locks_beside: bool = LOCKS_BESIDE) -> None:
        try:
            self.path = resolved(name)
            self._names = list(dict.fromkeys((str(name.absolute()), str(self.path))))
            with _opening, ExitStack() as descriptors:
                self._descriptor = _opened(self.path)
                descriptors.callback(os.close, self._descriptor)
                locks = [] if locks_beside else [self._descriptor]
                lock = beside(self.path, ".lock")
                if locks_beside or lock.exists():  # where it is left over, a server of an older release may have it
                    locks.append(os.open(lock, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
                    descriptors.callback(os.close, locks[-1])
                self._identity = _locked(self._descriptor, locks, self.path)
                self._warn_of_readers()
                _open_here.add(self._identity)
                self._descriptors = descriptors.pop_all()
        except OSError as error:
            raise _cannot_open(name, error) from error

    def open_files(self) -> OpenFiles:
        """Note the files as SQLite has just opened them.

        Raises UnusableStoreError where the file is no longer the one that was opened.
        """
        try:
            files = OpenFiles(self.path, self._names, self._descriptor)
        except OSError as error:
            raise _cannot_open(self.path, error) from error
        self._descriptors.callback(files.close)
        if changed := files.changed():
            raise UnusableStoreError(changed)
        return files

    def close(self) -> None:
        """Release the lock."""
        with _opening:
            _open_here.discard(self._identity)
            self._descriptors.close()

    def _warn_of_readers(self) -> None:
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        if mode & _OTHERS:
            remedy = f"run chmod 600 {shlex.quote(str(self.path))}*"
            _log.warning("other accounts may open the database", file=str(self.path), mode=f"{mode:04o}", remedy=remedy)


def refuse_foreign_log(path: Path) -> None:
    """Raise UnusableStoreError if the log beside a file is another file's, as when a server opens the file."""
    with _opening:
        if _identity(path.stat()) in _open_here:  # then it was checked, and to close it here would drop its locks
            return
        descriptor = os.open(path, os.O_RDONLY)
        try:
            header, _ = start_of(descriptor, HEADER_BYTES)
        finally:
            os.close(descriptor)
    _refuse_foreign_log(path, header)


@contextmanager
def keeping_servers_out(path: Path) -> Iterator[None]:
    """Let no server open a file meanwhile. This needs only the right to read it.

    Raises StoreNotReadyError if a server has it open, OSError if it cannot be read.
    """
    text = f"a server has {str(path)!r} open, and this account cannot use the log beside it: use the server's account"
    if _identity(path.stat()) in _open_here:
        raise StoreNotReadyError(text)
    lock = beside(path, ".lock")
    if LOCKS_BESIDE and not lock.exists():  # then no server has ever opened it here
        yield
        return
    descriptor = os.open(lock if LOCKS_BESIDE else path, os.O_RDONLY)
    try:
        if not _flock(descriptor, fcntl.LOCK_SH):
            raise StoreNotReadyError(text)
        yield
    finally:
        os.close(descriptor)


def log_bytes(path: Path) -> int:
    """Return how large the write-ahead log beside a file is; 0 if there is none."""
    try:
        return beside(path, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def files_of(path: Path) -> Files | None:
    """Return the sizes of a file and its log, and of the disk; None where they cannot be found out."""
    try:
        disk = os.statvfs(path)
        sizes = path.stat().st_size, log_bytes(path)
    except OSError:
        return None
    return Files(*sizes, disk_bytes=disk.f_blocks * disk.f_frsize, disk_free_bytes=disk.f_bavail * disk.f_frsize)


def _opened(path: Path) -> int:
    """Open a file that this process has not open. Only its owner may open a new one, whatever the umask."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    if _is_there(path):
        return os.open(path, flags)
    _refuse_foreign_log(path, b"")
    _refuse_remains(path)
    descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    os.fchmod(descriptor, OWNER_ONLY)
    return descriptor


def _is_there(path: Path) -> bool:
    """Return whether there is a file. Raise for what can be no database, before anything is made."""
    if not path.parent.is_dir():
        raise UnusableStoreError(f"there is no folder {str(path.parent)!r}")
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(found.st_mode):
        raise UnusableStoreError(f"{str(path)!r} is a folder: name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise UnusableStoreError(f"{str(path)!r} is not a file")
    if _identity(found) in _open_here:
        raise _in_use(path)
    return True


def _locked(descriptor: int, locks: Sequence[int], path: Path) -> _Identity:
    """Take the locks of an open file. Check that it is the only file at its path, and may be a database of ours."""
    if not all(_flock(lock, fcntl.LOCK_EX) for lock in locks):
        raise _in_use(path)
    found = os.fstat(descriptor)
    if _identity(found) != _identity(path.stat()):
        raise StoreNotReadyError(f"{str(path)!r} was replaced at this moment: try again")
    if found.st_nlink != 1:
        text = f"{str(path)!r} has {found.st_nlink} names (hard links), and SQLite would keep a log for each"
        raise UnusableStoreError(f"{text}: remove all but one, see find -samefile")
    header, _ = start_of(descriptor, HEADER_BYTES)
    if header and not header.startswith(_MAGIC):  # an empty file is an empty database
        raise UnusableStoreError(f"{str(path)!r} is not a SQLite database")
    _refuse_foreign_log(path, header)
    return _identity(found)


def _flock(descriptor: int, kind: int) -> bool:
    """Take a lock that SQLite does not see. Return whether it could be had."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _refuse_foreign_log(path: Path, header: bytes) -> None:
    """Raise where SQLite would apply, or delete, the log of another file: a new file and a backup have none."""
    if header[18:20] != _WAL_MODE and log_bytes(path):
        what = "is a backup, and has" if header else "is new or empty, and would have"
        text = f"{str(path)!r} {what} no log, but there is '{path}-wal' with commits of another file"
        moved = f"move '{path}-wal' and '{path}-shm' to where that file is"
        overwritten = "or, if this file was copied over it, remove both and copy once more"
        raise UnusableStoreError(f"{text}: {moved}, {overwritten}, {RESTORE}")


def _refuse_remains(path: Path) -> None:
    """Raise where a database has been: a new one in its place would look like one that has lost everything."""
    remains = [str(each) for each in (beside(path, suffix) for suffix in ("-wal", "-shm")) if each.exists()]
    if remains:
        text = f"there is no {str(path)!r}, but a server has left {' and '.join(map(repr, remains))} there"
        back = f"put the database back, or restore a backup ({RESTORE})"
        raise UnusableStoreError(f"{text}: {back}; for a new database, remove them")


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _in_use(path: Path) -> StoreNotReadyError:
    text = "is in use by another server. SQLite serves one; several can share a PostgreSQL"
    return StoreNotReadyError(f"{str(path)!r} {text}")


def _cannot_open(name: Path, error: OSError) -> UnusableStoreError:
    found = "; ".join(not_writable(name)) if os.access(name.parent, os.X_OK) else ""
    return UnusableStoreError(f"cannot open {str(name)!r}: {error.strerror}" + (f"; {found}" if found else ""))
