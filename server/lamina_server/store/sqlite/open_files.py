"""The files that SQLite has open: whether they still lie at their paths, and whether others have written to them.

SQLite opens its files by name, once. Whatever the names lead to later, it goes on with the files that it has open, and
what it commits there would be gone after a restart. So the server looks again at each commit. Knows no SQL.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

HEADER_BYTES = 100
"""The header of a database file. SQLite's description of its file format says what these bytes mean."""
_LOG_MAGICS = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_LOG_HEADER_BYTES = 32

RESTORE = "see 'Backup and restore' in server/README.md"
_PUT_BACK = f"put the file back together with its -wal, or restore a backup ({RESTORE}), and start the server again"
_REMOVE = "remove what lies there now, if anything, and start the server again"


class _Place(NamedTuple):
    """Where a file must lie.

    expected  its inode, its device, and its one link
    remedy    what to do if it does not lie there
    """

    path: str
    expected: tuple[int, ...]
    remedy: str


class OpenFiles:
    """The database's file, its log and the log's index, as they were when SQLite had just opened them.

    Each method returns words for the operator; an empty text if all is well.

    path        the database's own path
    names       all the paths by which a restart would find it: one of them may be a link
    descriptor  of the file, opened by the caller

    Raises OSError if one of the files cannot be read.
    """

    def __init__(self, path: Path, names: Sequence[str], descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        log, index = (beside(path, suffix) for suffix in ("-wal", "-shm"))
        its_own = _identified(os.fstat(descriptor))
        self._durable = [
            *(_Place(name, its_own, _PUT_BACK) for name in names),
            _Place(str(log), _identified(log.stat()), _REMOVE),
        ]
        self._all = [*self._durable, _Place(str(index), _identified(index.stat()), _REMOVE)]
        with ExitStack() as stack:
            self._log_descriptor = os.open(log, os.O_RDONLY)
            stack.callback(os.close, self._log_descriptor)
            self._log_header, self._log_bytes = start_of(self._log_descriptor, _LOG_HEADER_BYTES)
            self._header, self._size_bytes = start_of(descriptor, HEADER_BYTES)
            self._close = stack.pop_all().close

    def changed(self) -> str:
        """Return what others have done to one of the files."""
        return self.moved() or self.overwritten()

    def endangered(self) -> str:
        """Return why a restart might not find what was just committed.

        Each commit waits for this, so it leaves out the log's index, which a restart makes anew.
        """
        return _moved(self._durable) or self.overwritten()

    def moved(self) -> str:
        """Return which path no longer leads to the file that is open."""
        return _moved(self._all)

    def overwritten(self) -> str:
        """Return which file has other content, such as after `cp`: the database's or its log.

        SQLite itself writes there only in this process, and its counters never go back. This does not notice
        everything: a damaged page is found when it is read.
        """
        try:
            header, size_bytes = start_of(self._descriptor, HEADER_BYTES)
            log_header, log_bytes = start_of(self._log_descriptor, _LOG_HEADER_BYTES)
        except OSError as error:  # an answer like the others: a COMMIT that ended just now is unknown then
            return f"{str(self._path)!r} cannot be read any more ({error.strerror}): see whether its disk works"
        if size_bytes < self._size_bytes or not _continues(header, self._header):
            return _overwritten(self._path)
        is_same_log = log_header == self._log_header and log_bytes >= self._log_bytes
        if not (is_same_log or _begins_anew(log_header, self._log_header)):
            return _overwritten(beside(self._path, "-wal"))
        self._header, self._size_bytes = header, size_bytes
        self._log_header, self._log_bytes = log_header, log_bytes
        return ""

    def close(self) -> None:
        """Close what this has opened itself: the log."""
        self._close()


def beside(path: Path, suffix: str) -> Path:
    """Return the path of a file that SQLite, or a server, keeps beside a database."""
    return path.with_name(path.name + suffix)


def start_of(descriptor: int, count: int) -> tuple[bytes, int]:
    """Return the first bytes of a file, and its size."""
    return os.pread(descriptor, count, 0), os.fstat(descriptor).st_size


def _identified(found: os.stat_result) -> tuple[int, ...]:
    return found.st_ino, found.st_dev, 1


def _moved(places: Sequence[_Place]) -> str:
    for path, expected, remedy in places:
        try:
            found = os.stat(path)  # noqa: PTH116 - each commit waits for it, and Path's takes a third longer
        except OSError as error:
            return f"{path!r} was removed or moved while the server ran ({error.strerror}): {remedy}"
        if found[1:4] == expected:
            continue
        if found[1:3] == expected[:2]:
            return f"{path!r} got a second name (a hard link) while the server ran: remove that name"
        return f"{path!r} was replaced by another file while the server ran: {remedy}"
    return ""


def _overwritten(path: Path) -> str:
    return f"{str(path)!r} was overwritten or cut while the server ran: restore a backup, {RESTORE}"


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
