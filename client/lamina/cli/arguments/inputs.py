"""Files that are named on the command line, read whole; `-` is standard input. It knows no format."""

import errno
import io
import sys
from pathlib import Path
from typing import Final

_STDIN: Final = frozenset({"-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"})


def is_stdin(path: str) -> bool:
    """Return whether a path names standard input."""
    return path in _STDIN


def read_input(path: str) -> bytes:
    """Return a file's bytes. Raise OSError if it cannot be read, also for a closed standard input."""
    if not path:
        raise OSError(errno.EINVAL, "the name of the file is empty")
    if not is_stdin(path):
        return Path(path).read_bytes()
    try:
        return sys.stdin.buffer.read()
    except io.UnsupportedOperation:
        raise OSError(errno.EBADF, "standard input is closed") from None
