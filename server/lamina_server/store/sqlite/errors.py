"""SQLite's errors: which error of ours each one is, and what it means for the operator. Knows no table."""

import re
import sqlite3
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DiskFullError, HashMismatchError
from lamina_server.store.contract import HistoryBrokenError, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sql.database import caused, not_answered

_PRIMARY_CODE = 0xFF  # SQLite's extended error codes hold the primary one in their lowest byte

_WORDS = {
    sqlite3.SQLITE_AUTH: "SQLite may not do this",
    sqlite3.SQLITE_BUSY: "another program holds it locked",
    sqlite3.SQLITE_CANTOPEN: "it, or a file that SQLite keeps beside it, cannot be opened: check that the account may"
    " write to the folder",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_INTERNAL: "SQLite failed inside",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_LOCKED: "another program holds it locked",
    sqlite3.SQLITE_NOMEM: "there is not enough memory",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database",
    sqlite3.SQLITE_PERM: "the account may not open it",
    sqlite3.SQLITE_PROTOCOL: "its locks do not work: it must be on a local disk",
    sqlite3.SQLITE_READONLY: "it, or its folder, is read-only for this account",
}


_TABLES_CHANGED = re.compile(r"no such (table|column): |table \S+ has no column named ")
"""How SQLite says so, in English always and with names alone; the code is that of any mistake in a statement."""


class SqliteErrors:
    """The errors of one database."""

    def __init__(self, path: Path | None) -> None:
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
                return caused(HashMismatchError("the database's file"), error)
            case None if isinstance(error, sqlite3.OperationalError):  # of Python's: a text that is not UTF-8
                return caused(HashMismatchError("the database's file"), error)
            case None | sqlite3.SQLITE_ERROR | sqlite3.SQLITE_MISUSE | sqlite3.SQLITE_RANGE if not _is_changed(error):
                return error
            case _:
                return caused(not_answered(_words(error)), caused(self.unusable(error), error))

    def unusable(self, error: BaseException) -> UnusableStoreError:
        """Return the error that tells the operator why the database cannot be used."""
        original = error.orig if isinstance(error, DBAPIError) else error
        code = code_of(original)
        kind = StoreNotReadyError if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED} else UnusableStoreError
        return kind(f"{self._name} cannot be used: {_words(original)}")


def code_of(error: BaseException | None) -> int | None:
    """Return the primary code of an error; None where the driver itself raised it."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & _PRIMARY_CODE


def _words(error: BaseException | None) -> str:
    """Return what an error means, and what SQLite calls it."""
    if _is_changed(error):
        return f"another program has dropped or changed Lamina's tables; restore a backup: {error}"
    words = _WORDS.get(code_of(error) or 0, "SQLite failed")
    return f"{words} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def _is_changed(error: BaseException | None) -> bool:
    """Return whether an error says that a table or a column is missing."""
    return code_of(error) == sqlite3.SQLITE_ERROR and _TABLES_CHANGED.match(str(error)) is not None
