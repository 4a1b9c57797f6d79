"""PostgreSQL's errors: which error of ours each one is, and what it means for the operator. Knows no table.

One table leads from what went wrong to words. The key is a SQLSTATE, or an errno where no server answered. While a
session is being opened libpq hands on a text without either, so the phrases of those texts lead to the same table.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DiskFullError, HashMismatchError
from lamina_server.store.address import PostgresqlAddress
from lamina_server.store.contract import HistoryBrokenError, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sql.database import caused, not_answered

_SHOWN = {"host", "hostaddr", "port", "dbname", "user", "service"}
"""The parameters of an address that an error repeats."""

_DISK_FULL, _NO_RIGHT = "53100", "42501"
_CORRUPTED = ("XX001", "XX002")


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong, for people. `passes` says whether it may end without the operator: then waiting makes sense."""

    words: str
    passes: bool = False


_CAUSES: dict[str | int, Cause] = {
    "25006": Cause("it takes no writes: it has become a standby, or its transactions are read-only", passes=True),
    "28000": Cause("this role may not log in from here: see its LOGIN attribute and pg_hba.conf"),
    "28P01": Cause("the password is wrong, or there is no such role"),
    "3D000": Cause("there is no such database"),
    "3F000": Cause("the role's search_path names no schema that exists"),
    "42501": Cause("the role lacks a right"),
    "53100": Cause("its disk is full"),
    "53200": Cause("it has no memory left", passes=True),
    "53300": Cause("it has no connection left for this role: see max_connections and CONNECTION LIMIT", passes=True),
    "55000": Cause("the database accepts no connections at present"),
    "55P03": Cause("another session held a lock for too long", passes=True),
    "57014": Cause("a statement took too long", passes=True),
    "57P01": Cause("it is shutting down", passes=True),
    "57P02": Cause("it is recovering from a crash", passes=True),
    "57P03": Cause("it is starting up, shutting down or recovering", passes=True),
    errno.EACCES: Cause("this account may not open its socket"),
    errno.ECONNREFUSED: Cause("nothing listens there", passes=True),
    errno.ECONNRESET: Cause("the connection was cut", passes=True),
    errno.EHOSTUNREACH: Cause("the host cannot be reached", passes=True),
    errno.ENETUNREACH: Cause("the network cannot be reached", passes=True),
    errno.ENOENT: Cause("there is no such socket: PostgreSQL does not run, or not there", passes=True),
    errno.ETIMEDOUT: Cause("it did not answer in time", passes=True),
}

_NO_NAME = Cause("the host's name does not resolve", passes=True)
_NOT_POSTGRESQL = Cause("what answers there is not PostgreSQL")
_NO_CERTIFICATE = Cause("its TLS certificate is not trusted: see sslmode and sslrootcert")

_PHRASES: tuple[tuple[str, Cause], ...] = (
    ("could not translate host name|failed to resolve host|[Nn]ame or service not known", _NO_NAME),
    ("no password supplied", Cause("it asks for a password, and none was given")),
    ("password authentication failed", _CAUSES["28P01"]),
    ('role ".*" does not exist', Cause("there is no such role")),
    ("is not permitted to log in|authentication failed for user|pg_hba.conf", _CAUSES["28000"]),
    ('database ".*" does not exist', _CAUSES["3D000"]),
    ('permission denied for database ".*"', Cause("the role lacks the right CONNECT on the database")),
    ("too many (clients|connections)|remaining connection slots", _CAUSES["53300"]),
    ("is not currently accepting connections", _CAUSES["55000"]),
    ("the database system is", _CAUSES["57P03"]),
    ("in hot standby mode", Cause("it is a standby, which takes no writes: name the primary", passes=True)),
    ("does not support SSL", Cause("it speaks no TLS, which sslmode asks for")),
    ("certificate verify failed|root certificate|server certificate", _NO_CERTIFICATE),
    ("invalid response to (SSL|GSSAPI)|expected authentication request", _NOT_POSTGRESQL),
    ("timeout expired", _CAUSES[errno.ETIMEDOUT]),
    ("server closed the connection|connection to server was lost", _CAUSES[errno.ECONNRESET]),
    *((re.escape(os.strerror(key)), cause) for key, cause in _CAUSES.items() if isinstance(key, int)),
)


class PostgresqlErrors:
    """The errors of one database."""

    def __init__(self, address: PostgresqlAddress) -> None:
        self._address = address

    def translate(self, error: DBAPIError) -> Exception:
        """Return our error for a driver's, or the same where it can only be a bug of ours."""
        ours = self.ours(error.orig) if isinstance(error.orig, psycopg.Error) else caused(not_answered(), error)
        return error if ours is error.orig else ours

    def ours(self, error: psycopg.Error) -> Exception:
        """Return our error for the driver's own, with its cause set."""
        if error.sqlstate == _DISK_FULL:
            return caused(DiskFullError(), error)
        if is_damage(error):
            return caused(HashMismatchError("the database"), error)
        if isinstance(error, psycopg.IntegrityError):
            # PostgreSQL quotes what a constraint refused, values and all: that may not get into a log.
            return caused(HistoryBrokenError("the database refused rows that do not continue its history"), None)
        is_bug = isinstance(error, psycopg.ProgrammingError | psycopg.DataError | psycopg.NotSupportedError)
        if is_bug and error.sqlstate not in _CAUSES:
            return error
        return caused(not_answered(), caused(self.unusable(error), error))

    def unusable(self, error: BaseException) -> UnusableStoreError:
        """Return the error that tells the operator which database cannot be used, and why; never the password."""
        cause = cause_of(error.orig if isinstance(error, DBAPIError) else error)
        kind = StoreNotReadyError if cause.passes else UnusableStoreError
        return kind(f"{self._address} cannot be used: {self._without_values(cause.words)}")

    def _without_values(self, words: str) -> str:
        """Leave out what libpq quotes of the address: which part of it is a password, nobody knows for sure."""
        quoted = [value for name, value in self._address.parameters.items() if name not in _SHOWN and value]
        return re.sub(rf"""(['"])({"|".join(map(re.escape, quoted))})\1""", "…", words) if quoted else words


def is_damage(error: psycopg.Error) -> bool:
    """Return whether the database found itself damaged."""
    return error.sqlstate in _CORRUPTED


def cause_of(error: BaseException | None) -> Cause:
    """Return what an error means."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return _cause_of_statement(error, error.sqlstate)
    if isinstance(error, TimeoutError):
        return _CAUSES[errno.ETIMEDOUT]
    if isinstance(error, OSError) and error.errno in _CAUSES:
        return _CAUSES[error.errno]
    causes = list(dict.fromkeys(_causes_of_attempts(str(error))))
    return Cause("; ".join(cause.words for cause in causes), passes=any(cause.passes for cause in causes))


def _cause_of_statement(error: psycopg.Error, sqlstate: str) -> Cause:
    cause = _CAUSES.get(sqlstate)
    if cause is None:
        return Cause(f"it failed with {type(error).__name__} (SQLSTATE {sqlstate})")
    if sqlstate == _NO_RIGHT and error.diag.message_primary:  # it names a table or a schema
        return Cause(f"{cause.words}: {error.diag.message_primary}", passes=cause.passes)
    return cause


def _causes_of_attempts(text: str) -> Iterator[Cause]:
    """Yield the cause of each attempt: a name may have several addresses, and an address several hosts."""
    for attempt in re.split(r"\n(?=connection to server )", text.strip()):
        known = (cause for phrase, cause in _PHRASES if re.search(phrase, attempt))
        # A server may speak any language, and libpq's texts hold no password. Unknown, so it may pass.
        unknown = Cause(" ".join(attempt.rpartition("failed: ")[2].split()) or "it cannot be reached", passes=True)
        yield next(known, unknown)
