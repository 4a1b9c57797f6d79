"""The file of the audit, or the standard output. Knows bytes alone.

A line that the file has taken survives a crash of the server. It is not synced: a power cut may take the last
lines, and what they tell of the writes is in the history too.
"""

import os
import select
import sys
from contextlib import suppress
from errno import EAGAIN, EBADF
from pathlib import Path
from typing import Final

STDOUT: Final = Path("-")
_MODE: Final = 0o600
# O_NONBLOCK: a pipe that nobody reads must not hold up the server. It means nothing to a file.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class AuditFile:
    """Takes whole lines. Raises OSError if it cannot.

    path  of the file, which is made with the mode 0600 if there is none; "-" is the standard output
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_stdout = path == STDOUT
        self._descriptor = self._open()
        self._is_torn = False

    def write(self, line: bytes) -> None:
        """Write a line at once, or not at all."""
        if self._is_stdout and not select.select([], [self._descriptor], [], 0)[1]:
            raise OSError(EAGAIN, "nobody reads the standard output")
        begun = b"\n" + line if self._is_torn else line
        written = os.write(self._descriptor, begun)
        self._is_torn = written < len(begun)
        if self._is_torn:  # such as the last bytes of a disk
            raise OSError(EAGAIN, "the file took only a part of a line")

    @property
    def is_in_place(self) -> bool:
        """Return whether the file is the one under its path: nobody has moved it away, removed or replaced it."""
        try:
            return self._is_stdout or os.path.samestat(self._path.stat(), os.fstat(self._descriptor))
        except OSError:
            return False

    @property
    def is_removed(self) -> bool:
        """Return whether nobody can find the file any more, so that its lines would be lost."""
        return not os.fstat(self._descriptor).st_nlink

    def reopen(self) -> None:
        """Open the file anew under its path, after somebody has moved it away. If that fails, keep it."""
        if self._is_stdout:
            return
        descriptor = self._open()
        self.close()
        self._descriptor, self._is_torn = descriptor, False

    def close(self) -> None:
        """Close the file; the standard output stays open."""
        if not self._is_stdout:
            os.close(self._descriptor)

    def _open(self) -> int:
        if not self._is_stdout:
            return os.open(self._path, _FLAGS, _MODE)
        if sys.stdout is None:
            raise OSError(EBADF, os.strerror(EBADF))
        with suppress(ValueError):
            sys.stdout.flush()
        return sys.stdout.fileno()
