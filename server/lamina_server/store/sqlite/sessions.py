"""How every SQLite file is opened: by the server's writer and readers, by verify and by backup. Knows no table."""

import sqlite3
from pathlib import Path
from urllib.parse import quote

BUSY_MS = 5_000
"""How long a statement waits for a lock. Only another program (a backup, a shell) ever holds one."""

WAL_LIMIT_BYTES = 64 * 1024 * 1024
"""To what the write-ahead log is cut once a checkpoint has emptied it; a burst may have made it longer."""

_PRAGMAS = (
    "trusted_schema=OFF",  # a file made by others cannot call functions from its schema
    "cell_size_check=ON",  # notice a damaged page where it is read, not after having used it
    f"busy_timeout={BUSY_MS}",
)
_WRITER_PRAGMAS = (
    *_PRAGMAS,
    "synchronous=FULL",  # each commit reaches the disk before it returns: NORMAL loses some to a power cut
    "fullfsync=ON",  # on macOS fsync alone stops at the drive's cache; elsewhere this means nothing
    "foreign_keys=ON",
    "recursive_triggers=ON",  # else INSERT OR REPLACE deletes past the triggers that refuse it
    f"journal_size_limit={WAL_LIMIT_BYTES}",
)
_READER_PRAGMAS = (
    *_PRAGMAS,
    "query_only=ON",  # once more, beside mode=ro
    "wal_autocheckpoint=0",  # the server's writer alone checkpoints
)


def open_writer(path: Path | None) -> sqlite3.Connection:
    """Open a file for writing, and make it where there is none; None opens a new database in memory."""
    return _open("file::memory:" if path is None else f"file:{quote(str(path))}?mode=rwc", _WRITER_PRAGMAS)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a file that is there for reading alone: this connection never writes and never checkpoints."""
    return _open(f"file:{quote(str(path))}?mode=ro", _READER_PRAGMAS)


def _open(uri: str, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    # isolation_level=None: transactions begin where we say so. Threads take turns, which the callers see to.
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection
