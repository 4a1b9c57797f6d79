"""SQLite's errors: which error of ours each one is, and what it means for the operator. Knows no table."""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DamagedError, DiskFullError
from lamina_server.store.contract import HistoryBrokenError, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sql.database import caused, not_answered
from lamina_server.store.sqlite.open_files import RESTORE

_PRIMARY_CODE = 0xFF  # SQLite's extended error codes hold the primary one in their lowest byte

_WORDS = {
    sqlite3.SQLITE_AUTH: "SQLite may not do this",
    sqlite3.SQLITE_BUSY: "another program holds it locked",
    sqlite3.SQLITE_CANTOPEN: "it, or a file that SQLite keeps beside it, cannot be opened: check that the account may"
    " write to the folder",
    sqlite3.SQLITE_CORRUPT: f"it is damaged: restore a backup, {RESTORE}",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_INTERNAL: "SQLite failed inside",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_IOERR_SHMSIZE: "the disk is full",
    sqlite3.SQLITE_LOCKED: "another program holds it locked",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database",
    sqlite3.SQLITE_PERM: "the account may not open it",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work: it must be on a local disk",
    sqlite3.SQLITE_READONLY: "it, or its folder, is read-only for the server's account",
}
"""What codes mean. An extended code comes before its primary one."""

_LASTING = {sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
"""What does not end before the operator has mended it."""


_TABLES_CHANGED = re.compile(r"no such (table|column): |table \S+ has no column named ")
"""How SQLite says so, in English always and with names alone; the code is that of any mistake in a statement."""

DAMAGED = "the SQLite file is damaged: restore a backup"


class SqliteErrors:
    """The errors of one database.

    on_damage  called with words for the operator when SQLite has found the file itself damaged, not only one value
    """

    def __init__(self, path: Path | None, on_damage: Callable[[str], object] = lambda _: None) -> None:
        self._path = path
        self._on_damage = on_damage
        self._name = "the database in memory" if path is None else repr(str(path))

    def translate(self, error: DBAPIError) -> Exception:
        """Return our error for a driver's, or the same where it can only be a bug of ours."""
        ours = self.ours(error.orig) if isinstance(error.orig, sqlite3.Error) else error
        return error if ours is error.orig else ours

    def ours(self, error: sqlite3.Error) -> Exception:
        """Return our error for the driver's own, with its cause set."""
        match code_of(error):
            case sqlite3.SQLITE_FULL:
                return caused(DiskFullError(), error)
            case sqlite3.SQLITE_CONSTRAINT:
                text = "the database refused rows that do not continue its history"
                return caused(HistoryBrokenError(text), None)
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                remedy = f"see which versions are intact by lamina-server verify, and restore a backup, {RESTORE}"
                self._on_damage(f"{self._name} is damaged ({error.sqlite_errorname}): {remedy}")
                return caused(DamagedError(DAMAGED), error)
            case None if isinstance(error, sqlite3.OperationalError):  # of Python's: a text that is not UTF-8
                return caused(DamagedError(DAMAGED), error)
            case None | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISUSE | sqlite3.SQLITE_RANGE if not _is_changed(error):
                return error
            case _:
                ours = not_answered(_words(error), lasts=code_of(error) in _LASTING)
                return caused(ours, caused(self.unusable(error), error))

    def unusable(self, error: BaseException) -> UnusableStoreError:
        """Return the error that tells the operator why the database cannot be used."""
        original = error.orig if isinstance(error, DBAPIError) else error
        code = code_of(original)
        kind = StoreNotReadyError if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else UnusableStoreError
        found = "; ".join(not_writable(self._path)) if self._path and code in _LASTING else ""
        return kind(f"{self._name} cannot be used: {_words(original)}" + (f"; {found}" if found else ""))


def code_of(error: BaseException | None) -> int | None:
    """Return the primary code of an error; None where the driver itself raised it."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY_CODE


def _words(error: BaseException | None) -> str:
    """Return what an error means, and what SQLite calls it."""
    if _is_changed(error):
        return f"another program has dropped or changed Lamina's tables; restore a backup: {error}"
    extended: int = getattr(error, "sqlite_errorcode", 0)
    words = _WORDS.get(extended) or _WORDS.get(code_of(error) or 0, "SQLite failed")
    return f"{words} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _is_changed(error: BaseException | None) -> bool:
    """Return whether an error says that a table or a column is missing."""
    return code_of(error) == sqlite3.SQLITE_ERROR and _TABLES_CHANGED.match(str(error)) is not None


def not_writable(path: Path) -> Iterator[str]:
    """Say which of a database's files the account may not write, whose they are, and what to do."""
    for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm"), path.parent):
        if each.exists() and not os.access(each, os.W_OK):
            if os.statvfs(each).f_flag & os.ST_RDONLY:
                yield f"the file system of {str(each)!r} is read-only: mount it read-write"
                return
            owner, mode = each.stat().st_uid, each.stat().st_mode & 0o777
            yield (
                f"{str(each)!r} belongs to user {owner}, with mode {mode:04o}, and the server runs as user"
                f" {os.geteuid()}: change its owner or its mode"
            )
