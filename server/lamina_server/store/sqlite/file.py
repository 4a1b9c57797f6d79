"""The data file itself: who has it open, and whether it is still the one at its path. Knows no SQL.

SQLite opens its files by name, once. Whatever the names lead to later, it goes on with the files that it has open, and
what it commits there would be gone after a restart. And a file with two names has two logs, one for each name, which
know nothing of each other. So the server holds a lock on the file, not on its name, and looks again at each commit.

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
from lamina_server.store.contract import StoreNotReadyError, UnusableStoreError
from lamina_server.store.sqlite.errors import not_writable

OWNER_ONLY = 0o600
_OTHERS = 0o077

_MAGIC = b"SQLite format 3\0"
_WAL_MODE = b"\2\2"
_HEADER_BYTES = 100
_LOG_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_LOG_HEADER_BYTES = 32
_RESTORE = "see 'Backup and restore' in server/README.md"
_PUT_BACK = f"put the file back together with its -wal, or restore a backup ({_RESTORE}), and start the server again"
_REMOVE_LOG = "remove what lies there now, if anything, and start the server again"

_log = structlog.get_logger(__name__)

_Identity: TypeAlias = tuple[int, int]
"""Device and inode."""

_Place: TypeAlias = tuple[str, tuple[int, ...], str]
"""A file's path, what is expected there (inode, device, one link), and what to do if it is not there."""

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
            self._names = dict.fromkeys((str(name.absolute()), str(self.path)))
            with _opening, ExitStack() as descriptors:
                self._descriptor = _opened(self.path)
                descriptors.callback(os.close, self._descriptor)
                locks = [] if locks_beside else [self._descriptor]
                beside = _beside(self.path, ".lock")
                if locks_beside or beside.exists():  # where it is left over, a server of an older release may have it
                    locks.append(os.open(beside, os.O_RDWR | os.O_CREAT, OWNER_ONLY))
                    descriptors.callback(os.close, locks[-1])
                self._identity = _locked(self._descriptor, locks, self.path)
                _open_here.add(self._identity)
                self._descriptors = descriptors.pop_all()
        except OSError as error:
            raise _cannot_open(name, error) from error
        self._places: list[_Place] = []
        self._header: bytes | None = None
        self._size_bytes = 0
        self._log_descriptor = -1
        self._log_header, self._log_bytes = b"", 0
        self._warn_of_readers()

    def found_log(self) -> None:
        """Note the log and its index, which SQLite has just opened, and the content that it has found.

        Raises UnusableStoreError where the file is not the one that was opened.
        """
        expected = _only_name(os.fstat(self._descriptor))
        self._places = [(name, expected, _PUT_BACK) for name in self._names]
        try:
            for suffix in ("-wal", "-shm"):
                log = _beside(self.path, suffix)
                self._places.append((str(log), _only_name(log.stat()), _REMOVE_LOG))
            self._log_descriptor = os.open(_beside(self.path, "-wal"), os.O_RDONLY)
            self._descriptors.callback(os.close, self._log_descriptor)
            self._log_header, self._log_bytes = _start_of(self._log_descriptor, _LOG_HEADER_BYTES)
        except OSError as error:
            raise _cannot_open(self.path, error) from error
        self._header, self._size_bytes = _start_of(self._descriptor, _HEADER_BYTES)
        if changed := self.change():
            raise UnusableStoreError(changed)

    def change(self) -> str:
        """Return what others have done to the file since `found_log`, for the operator; else an empty text."""
        return self.misplaced() or self.overwritten()

    def loss(self) -> str:
        """Return why a restart might not find what was just committed; else an empty text.

        Each commit waits for this, so it leaves out the log's index: a restart makes that anew.
        """
        return _misplaced(self._places[:-1]) or self.overwritten()

    def misplaced(self) -> str:
        """Return which name no longer leads to the file, its log or its index that is open; else an empty text."""
        return _misplaced(self._places)

    def overwritten(self) -> str:
        """Return that others have replaced the content of the file or of its log, such as by `cp`; else an empty text.

        SQLite itself writes there only in this process, and what says how old the file is never goes back. This does
        not notice everything: a damaged page is found by its digests when it is read.
        """
        if self._header is None:
            return ""
        try:
            header, size_bytes = _start_of(self._descriptor, _HEADER_BYTES)
            log_header, log_bytes = _start_of(self._log_descriptor, _LOG_HEADER_BYTES)
        except OSError as error:  # an answer like the others: a COMMIT that ended just now is unknown then
            return f"{str(self.path)!r} cannot be read any more ({error.strerror}): see whether its disk works"
        if size_bytes < self._size_bytes or not _continues(header, self._header):
            return f"{str(self.path)!r} was overwritten or cut while the server ran: restore a backup, {_RESTORE}"
        is_same_log = log_header == self._log_header and log_bytes >= self._log_bytes
        if not (is_same_log or _begins_anew(log_header, self._log_header)):
            log = str(_beside(self.path, "-wal"))
            return f"{log!r} was overwritten or cut while the server ran: restore a backup, {_RESTORE}"
        self._header, self._size_bytes = header, size_bytes
        self._log_header, self._log_bytes = log_header, log_bytes
        return ""

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
            header, _ = _start_of(descriptor, _HEADER_BYTES)
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
    beside = _beside(path, ".lock")
    if LOCKS_BESIDE and not beside.exists():  # then no server has ever opened it here
        yield
        return
    descriptor = os.open(beside if LOCKS_BESIDE else path, os.O_RDONLY)
    try:
        if not _flock(descriptor, fcntl.LOCK_SH):
            raise StoreNotReadyError(text)
        yield
    finally:
        os.close(descriptor)


def log_bytes(path: Path) -> int:
    """Return how large the write-ahead log beside a file is; 0 if there is none."""
    try:
        return _beside(path, "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _start_of(descriptor: int, count: int) -> tuple[bytes, int]:
    """Return the first bytes of a file, and its size. SQLite's description of its file format has their meaning."""
    return os.pread(descriptor, count, 0), os.fstat(descriptor).st_size


def _continues(header: bytes, before: bytes) -> bool:
    """Return whether a header may follow another one: the format stays, the counter of changes and the pages grow."""
    return header == before or (
        header[:20] == before[:20] and header[24:28] >= before[24:28] and header[28:32] >= before[28:32]
    )


def _begins_anew(header: bytes, before: bytes) -> bool:
    """Return whether SQLite has begun its log again after a checkpoint: it counts that in two numbers, by one each."""
    if not before:
        return header[:4] in _LOG_MAGICS
    steps = [_number(header[at : at + 4]) - _number(before[at : at + 4]) for at in (12, 16)]
    return header[:12] == before[:12] and steps[0] > 0 and steps[0] == steps[1] % 2**32


def _number(word: bytes) -> int:
    return int.from_bytes(word, "big")


def _opened(path: Path) -> int:
    """Open a file that this process has not open. Only its owner may open a new one, whatever the umask."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    if _is_there(path):
        return os.open(path, flags)
    _refuse_foreign_log(path, b"")
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
    header, _ = _start_of(descriptor, _HEADER_BYTES)
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
        raise UnusableStoreError(f"{text}: {moved}, {overwritten}, {_RESTORE}")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(found: os.stat_result) -> _Identity:
    return found.st_dev, found.st_ino


def _only_name(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_dev, 1


def _misplaced(places: Sequence[_Place]) -> str:
    for name, expected, remedy in places:
        try:
            found = os.stat(name)  # noqa: PTH116 - each commit waits for it, and Path's takes a third longer
        except OSError as error:
            return f"{name!r} was removed or moved while the server ran ({error.strerror}): {remedy}"
        if found[1:4] == expected:
            continue
        if found[1:3] == expected[:2]:
            return f"{name!r} got a second name (a hard link) while the server ran: remove that name"
        return f"{name!r} was replaced by another file while the server ran: {remedy}"
    return ""


def _in_use(path: Path) -> StoreNotReadyError:
    text = "is in use by another server. SQLite serves one; several can share a PostgreSQL"
    return StoreNotReadyError(f"{str(path)!r} {text}")


def _cannot_open(name: Path, error: OSError) -> UnusableStoreError:
    found = "; ".join(not_writable(name)) if os.access(name.parent, os.X_OK) else ""
    return UnusableStoreError(f"cannot open {str(name)!r}: {error.strerror}" + (f"; {found}" if found else ""))
