"""How every SQLite database is opened: by the server's writer and readers, by verify and by backup. Knows no table."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, StaticPool, create_engine

from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql.pool import ClosingPool
from lamina_server.store.sqlite.errors import SqliteErrors, code_of
from lamina_server.store.sqlite.file import keeping_servers_out, log_bytes, refuse_foreign_log

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
    "temp_store=MEMORY",  # where the rows of a large version wait
    f"journal_size_limit={WAL_LIMIT_BYTES}",
)
_READER_PRAGMAS = (
    *_PRAGMAS,
    "query_only=ON",  # once more, beside mode=ro
    "wal_autocheckpoint=0",  # the server's writer alone checkpoints
)


_SYNCHRONOUS_FULL = 2


def writer_engine(path: Path | None) -> Engine:
    """Return an engine over one connection that writes to a file, or to a new database in memory if there is no path.

    The first use opens it. Raises UnusableStoreError then, if the file cannot be written to safely.
    """
    return _engine(lambda: _open_in_memory() if path is None else _open_writer(path), poolclass=StaticPool)


def reader_engine(path: Path, *, connections: int, wait_seconds: float) -> Engine:
    """Return an engine over so many connections that read a file, and for which a thread waits so long."""
    return _engine(
        lambda: _open_reader(path),
        poolclass=ClosingPool,
        isolation_level="AUTOCOMMIT",
        pool_size=connections,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_use_lifo=True,  # the warmest page cache first
    )


def memory_reader_engine(writer: Engine) -> Engine:
    """Return another engine over the one connection of a database in memory: it never ends a transaction there."""
    return _engine(
        lambda: writer.raw_connection().driver_connection,
        poolclass=StaticPool,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
        skip_autocommit_rollback=True,
    )


@contextmanager
def lend_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Lend a connection that reads a file beside its server, if it has one; also where this account cannot write.

    Raises UnusableStoreError.
    """
    with ExitStack() as stack:
        try:
            connection = _readable(path, stack)
        except sqlite3.Error as error:
            raise SqliteErrors(path).unusable(error) from error
        except OSError as error:
            raise UnusableStoreError(f"cannot open {str(path)!r}: {error.strerror}") from error
        yield connection


def _readable(path: Path, stack: ExitStack) -> sqlite3.Connection:
    """Open a file for reading, on a stack that closes it.

    To read a log, SQLite needs an index of it in the same folder. Where it can make none, a file without a log can
    still be read as it is, if nobody writes to it meanwhile: so no server can open it then.
    """
    refuse_foreign_log(path)
    try:
        return stack.enter_context(closing(_reading(_open_reader(path))))
    except sqlite3.OperationalError as error:
        if code_of(error) not in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}:
            raise
    stack.enter_context(keeping_servers_out(path))
    if log_bytes(path):
        text = (
            f"{str(path)!r} has commits in its log '{path}-wal', which SQLite reads only in a folder where it may write"
        )
        raise UnusableStoreError(f"{text}: copy both files to one, and use the copy")
    return stack.enter_context(closing(_reading(_open(f"{_uri(path)}?mode=ro&immutable=1", _READER_PRAGMAS))))


def _reading(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Read something: SQLite opens no file before that."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except BaseException:
        connection.close()
        raise
    return connection


def _engine(connect: Callable[[], Any], **options: Any) -> Engine:
    return create_engine("sqlite://", creator=connect, hide_parameters=True, **options)


def _open_in_memory() -> sqlite3.Connection:
    return _open("file::memory:", _WRITER_PRAGMAS)


def _open_reader(path: Path) -> sqlite3.Connection:
    """Open a file that is there for reading alone: this connection never writes and never checkpoints."""
    return _open(f"{_uri(path)}?mode=ro", _READER_PRAGMAS)


def _open_writer(path: Path) -> sqlite3.Connection:
    """Open a file for writing, with its log."""
    connection = _open(f"{_uri(path)}?mode=rwc", _WRITER_PRAGMAS)
    try:
        _open_log(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _open_log(connection: sqlite3.Connection, path: Path) -> None:
    # Readers go on beside the writer, and a commit is one fsync. It stays in the file.
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise UnusableStoreError(f"{str(path)!r} cannot have a write-ahead log; it must be on a local disk")
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    if synchronous < _SYNCHRONOUS_FULL:  # built to know no better
        raise UnusableStoreError("this SQLite does not wait for the disk: it would lose what it has confirmed")
    # Not before this does SQLite open its log, and see whether it may write.
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("ROLLBACK")


def _uri(path: Path) -> str:
    return f"file:{quote(str(path))}"


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
