"""PostgreSQL's errors: which error of ours each one is, and what it means for the operator. Knows no table.

One table leads from what went wrong to words. The key is a SQLSTATE, the first two characters of one (its class), or an
errno where no server answered. While a session is being opened libpq hands on a text without either, so the phrases of
those texts lead to the same table. A server's texts may be in any language, and libpq's own are in English.
"""

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg.pq import PGconn, Ping
from sqlalchemy.exc import DBAPIError

from lamina_server.domain.errors import DamagedError, DiskFullError
from lamina_server.store.address import PostgresqlAddress
from lamina_server.store.contract import HistoryBrokenError, StoreNotReadyError, UnusableStoreError
from lamina_server.store.sql.database import caused, not_answered

_SHOWN = {"host", "hostaddr", "port", "dbname", "user", "service"}
"""The parameters of an address that an error repeats."""

_DISK_FULL, _NO_RIGHT = "53100", "42501"
_CORRUPTED = ("XX001", "XX002")
_QUOTED = {"08P01", "42501", "42P01", "42703", "42883", "42P07", "3F000"}
"""The SQLSTATEs whose message says which table, right or function it is about, and quotes no value."""

_BUGS = {"21", "22", "2F", "34", "42"}
"""The classes of what PostgreSQL refuses because a statement of ours is wrong, unless a SQLSTATE has words."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong, for people. `passes` says whether it may end without the operator: then waiting makes sense."""

    words: str
    passes: bool = False


_NO_TABLE = (
    "Lamina's tables were dropped or changed, or the database was made anew, or the role lacks the right USAGE on their"
    " schema; restore a backup, or restart a server, which makes the tables of an empty database"
)

_CAUSES: dict[str | int, Cause] = {
    "08": Cause("a connection to it was cut or refused", passes=True),
    "08P01": Cause("it, or a pooler before it, ended the connection", passes=True),
    "0A000": Cause("its tables were changed while they were in use", passes=True),
    "25": Cause("it has ended the transaction", passes=True),
    "25006": Cause("it takes no writes: it has become a standby, or its transactions are read-only", passes=True),
    "25P03": Cause("a transaction was idle for too long, so it ended it", passes=True),
    "26": Cause("a prepared statement is gone, as it happens behind a pooler that shares its sessions"),
    "28": Cause("this role may not log in"),
    "28000": Cause("this role may not log in from here: see its LOGIN attribute and pg_hba.conf"),
    "28P01": Cause("the password is wrong, or there is no such role"),
    "3D000": Cause("there is no such database"),
    "3F000": Cause("the schema does not exist, or the role lacks the right USAGE on it"),
    "40": Cause("it has ended the transaction, because another one was in its way", passes=True),
    "42501": Cause("the role lacks a right"),
    "42P01": Cause(_NO_TABLE),
    "42703": Cause(_NO_TABLE),
    "42883": Cause("a function is missing, or the role may not use its schema"),
    "42P05": Cause("a prepared statement is there already, as it happens behind a pooler that shares its sessions"),
    "42P07": Cause("a table or view of another application has the name of one of Lamina's"),
    "53": Cause("it lacks a resource", passes=True),
    "53100": Cause("its disk is full"),
    "53200": Cause("it has no memory left", passes=True),
    "53300": Cause("it has no connection left for this role: see max_connections and CONNECTION LIMIT", passes=True),
    "54": Cause("a limit of PostgreSQL was reached"),
    "55": Cause("something in it is in use", passes=True),
    "55000": Cause("the database accepts no connections at present"),
    "55P03": Cause("another session held a lock for too long", passes=True),
    "57": Cause("somebody has intervened", passes=True),
    "57014": Cause("a statement took too long", passes=True),
    "57P01": Cause("it is shutting down", passes=True),
    "57P02": Cause("it is recovering from a crash", passes=True),
    "57P03": Cause("it is starting up, shutting down or recovering", passes=True),
    "57P04": Cause("the database was dropped"),
    "57P05": Cause("it has ended a connection that was idle", passes=True),
    "58": Cause("its disk or its operating system failed"),
    "F0": Cause("its configuration file has an error"),
    "P0": Cause("a function or trigger in the database refused"),
    "XX": Cause("it failed inside"),
    errno.EACCES: Cause("this account may not open its socket"),
    errno.ECONNREFUSED: Cause("nothing listens there", passes=True),
    errno.ECONNRESET: Cause("the connection was cut", passes=True),
    errno.EHOSTUNREACH: Cause("the host cannot be reached", passes=True),
    errno.ENETUNREACH: Cause("the network cannot be reached", passes=True),
    errno.ENOENT: Cause("there is no such socket: PostgreSQL does not run, or not there", passes=True),
    errno.ETIMEDOUT: Cause("it did not answer in time", passes=True),
}

_NO_NAME = Cause("the host's name does not resolve", passes=True)
_POOLER_ALONE = Cause("the pooler before it cannot reach it, or has no connection left", passes=True)
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
    ("pgbouncer cannot connect|server login|server_login_retry|query_wait_timeout|server conn crashed", _POOLER_ALONE),
    *((re.escape(os.strerror(key)), cause) for key, cause in _CAUSES.items() if isinstance(key, int)),
)

_SERVER_SAYS = re.compile(r"failed: [^\s:]+:  ")
"""What libpq writes before a server's own words: their severity, in the server's language."""

_OPTION_REFUSED = re.compile(r"(^|is bad: |failed: )(invalid|weak|bad value for) ")
"""What libpq and the driver say of an option in the address or in the environment."""


class PostgresqlErrors:
    """The errors of one database."""

    def __init__(self, address: PostgresqlAddress) -> None:
        self._address = address

    def translate(self, error: DBAPIError) -> Exception:
        """Return our error for a driver's, or the same where it can only be a bug of ours."""
        if not isinstance(error.orig, psycopg.Error):
            return caused(not_answered(), error)
        ours = self.ours(error.orig, error.statement or "")
        return error if ours is error.orig else ours

    def ours(self, error: psycopg.Error, statement: str = "") -> Exception:
        """Return our error for the driver's own, with its cause set; `statement` is what it is about, if known."""
        if error.sqlstate == _DISK_FULL:
            return caused(DiskFullError(), error)
        if is_damage(error):
            return caused(DamagedError("PostgreSQL has found damage in its data: see its log"), error)
        if isinstance(error, psycopg.IntegrityError):
            # PostgreSQL quotes what a constraint refused, values and all: that may not get into a log.
            return caused(HistoryBrokenError("the database refused rows that do not continue its history"), None)
        if is_bug(error):
            return error
        cause = cause_of(error, statement)
        # A failure that nobody knows may pass: only its name is known.
        lasts = not cause.passes and (error.sqlstate is None or error.sqlstate in _CAUSES)
        ours = not_answered(self._without_values(cause.words), lasts=lasts)
        return caused(ours, caused(self._unusable(cause), error))

    def unusable(self, error: BaseException) -> UnusableStoreError:
        """Return the error that tells the operator which database cannot be used, and why; never the password."""
        if isinstance(error, DBAPIError):
            return self._unusable(cause_of(error.orig, error.statement or ""))
        return self._unusable(cause_of(error))

    def _unusable(self, cause: Cause) -> UnusableStoreError:
        kind = StoreNotReadyError if cause.passes else UnusableStoreError
        return kind(f"{self._address} cannot be used: {self._without_values(cause.words)}")

    def _without_values(self, words: str) -> str:
        """Leave out what libpq quotes of the address: which part of it is a password, nobody knows for sure."""
        quoted = [value for name, value in self._address.parameters.items() if name not in _SHOWN and value]
        return re.sub(rf"""(['"])({"|".join(map(re.escape, quoted))})\1""", "…", words) if quoted else words


def is_damage(error: psycopg.Error) -> bool:
    """Return whether the database found itself damaged."""
    return error.sqlstate in _CORRUPTED


def is_bug(error: psycopg.Error) -> bool:
    """Return whether only a fault of ours can have led to an error."""
    if error.sqlstate is None:  # of the driver, which was used wrongly
        return isinstance(error, psycopg.ProgrammingError | psycopg.DataError | psycopg.NotSupportedError)
    return error.sqlstate[:2] in _BUGS and error.sqlstate not in _CAUSES


def cause_of(error: BaseException | None, statement: str = "") -> Cause:
    """Return what an error means; `statement` is what it is about, if known."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return _cause_of_statement(error, error.sqlstate, statement)
    if isinstance(error, TimeoutError):
        return _CAUSES[errno.ETIMEDOUT]
    if isinstance(error, OSError) and error.errno in _CAUSES:
        return _CAUSES[error.errno]
    causes = list(dict.fromkeys(_causes_of_attempts(str(error))))
    return Cause("; ".join(cause.words for cause in causes), passes=any(cause.passes for cause in causes))


def is_starting(refused: BaseException | None, conninfo: str) -> bool:
    """Return whether a connection was refused by a server that lets nobody in yet.

    The server is asked once more, because its words may be in any language.
    """
    text = str(refused.orig) if isinstance(refused, DBAPIError) else ""
    return _SERVER_SAYS.search(text) is not None and PGconn.ping(conninfo.encode()) == Ping.REJECT


def _attempt(statement: str) -> str:
    verb = statement.split(maxsplit=1)[0].replace("WITH", "SELECT")
    if "sequence" in statement:
        return "the server needs USAGE on it"
    if verb == "CREATE":
        return "the server tried to CREATE: run lamina-server migrate with a role that may"
    return f"the server tried to {verb}"


def _cause_of_statement(error: psycopg.Error, sqlstate: str, statement: str) -> Cause:
    cause = _CAUSES.get(sqlstate)
    if cause is None:
        known = _CAUSES.get(sqlstate[:2])
        words = known.words if known else f"it failed with {type(error).__name__}"
        return Cause(f"{words} (SQLSTATE {sqlstate})", passes=known is not None and known.passes)
    words = cause.words
    if sqlstate in _QUOTED and error.diag.message_primary:
        words = f"{words}: {error.diag.message_primary}"
    if sqlstate == _NO_RIGHT and statement:  # PostgreSQL says to what, but not which right
        words = f"{words} ({_attempt(statement)})"
    return Cause(words, passes=cause.passes)


def _causes_of_attempts(text: str) -> Iterator[Cause]:
    """Yield the cause of each attempt: a name may have several addresses, and an address several hosts."""
    for attempt in re.split(r"\n(?=connection to server )", text.strip()):
        known = (cause for phrase, cause in _PHRASES if re.search(phrase, attempt))
        words = " ".join(attempt.rpartition("failed: ")[2].split()) or "it cannot be reached"
        # What a server has refused stays refused, and so does a wrong option. A network may recover.
        unknown = Cause(words, passes=not (_SERVER_SAYS.search(attempt) or _OPTION_REFUSED.search(attempt)))
        yield next(known, unknown)
