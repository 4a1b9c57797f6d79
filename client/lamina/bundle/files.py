"""Write to a path that a user gave: a regular file as a whole, anything else as a stream."""

import errno
import os
import re
import stat
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_DESCRIPTORS: Final = re.compile(r"/proc/[0-9]+(/task/[0-9]+)?/fd|/dev/fd")
"""Folders whose names are open files: /dev/stdout is a link into one."""
_LINKS_LIMIT: Final = 40
"""Linux follows at most this many symbolic links in a chain."""


@contextmanager
def written(path: str | os.PathLike[str], *, private: bool = False) -> Generator[IO[bytes], None, None]:
    """Open a file for writing. It gets its name when the block ends without an error; otherwise nothing of it is left.

    A new file takes the owner and mode of the one that it replaces; a new `private` file is readable only by its owner.
    A symbolic link stays, and its target is replaced. Other hard links keep the old content.

    The path may also be an open descriptor (/dev/stdout, /dev/fd/3, `>(...)`), a device or a pipe. These are written as
    a stream, after their content: the part that was written before an error stays.

    Raises OSError with the name.
    """
    target = _followed(Path(path))
    try:
        status = target.stat()
    except FileNotFoundError:
        status = None
    except OSError as error:
        raise _named(error, path) from None
    if _is_descriptor(target) or (status is not None and not stat.S_ISREG(status.st_mode)):
        with _stream(target, path) as file:
            yield file
        return
    beside = target.parent / f".lamina-{os.urandom(8).hex()}.part"
    try:
        descriptor = _create(beside, 0o666 if status is None and not private else 0o600)
    except OSError as error:
        raise _named(error, path) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if status is not None:
                _keep_owner_and_mode(file.fileno(), status)
            os.fsync(file.fileno())
        _replace(beside, target, path)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def _followed(path: Path) -> Path:
    """Follow symbolic links, except those of descriptors: their path may be another file by now."""
    for _ in range(_LINKS_LIMIT):
        target = Path(os.path.realpath(path.parent)) / path.name
        if _is_descriptor(target) or not target.is_symlink():
            return target
        path = target.parent / target.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _is_descriptor(target: Path) -> bool:
    return _DESCRIPTORS.fullmatch(str(target.parent)) is not None


def _stream(target: Path, path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a stream. A descriptor of this process is duplicated, so that its position is used."""
    for printed in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None
            printed.flush()  # earlier output of this process comes first
    own = {f"/proc/{os.getpid()}/fd", "/dev/fd"}
    try:
        if str(target.parent) in own and target.name.isdecimal():
            return os.fdopen(os.dup(int(target.name)), "wb")
        return os.fdopen(os.open(target, os.O_WRONLY | os.O_APPEND), "wb")
    except OSError as error:
        raise _named(error, path) from None


def _create(path: Path, mode: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)


def _keep_owner_and_mode(descriptor: int, status: os.stat_result) -> None:
    if sys.platform == "win32":
        return
    with suppress(PermissionError):  # only root can change a file's owner
        os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _replace(beside: Path, target: Path, path: str | os.PathLike[str]) -> None:
    try:
        beside.replace(target)
    except OSError as error:  # a single file that is mounted, as in containers, cannot be replaced
        raise _named(error, path) from None


def _named(error: OSError, path: str | os.PathLike[str]) -> OSError:
    """Return the same error with the path that the user gave, instead of an internal one."""
    return OSError(error.errno, error.strerror, os.fspath(path))
