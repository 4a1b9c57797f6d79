"""Files that only their owner can read, replaced as a whole."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace(path: "Path", content: bytes, *, modified_at: float | None = None) -> None:
    """Put new content into a file, so that whoever reads it meanwhile has the old content or the new one, whole.

    The caller holds a lock. So the name of the file beside it is always the same, and that of a killed process does
    not stay for ever.
    """
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(beside, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if modified_at is not None:
        os.utime(beside, (modified_at, modified_at))
    beside.replace(path)
