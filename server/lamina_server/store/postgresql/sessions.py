"""How every session with PostgreSQL is opened and set up, whichever side of the driver opens it. Knows no table.

A role, a database and postgresql.conf may each set nearly every parameter. So each session sets the parameters that our
statements depend on, in one message after it has connected. It does not use startup parameters: a pooler such as
pgbouncer refuses those that it does not know.

All other parameters are left to the operator, because they change no answer of ours: the formats of bytes and times
(the driver reads both formats of bytes, and no column holds a time), languages, memory, costs, logging, and where and
how a new table is stored.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row
from sqlalchemy import Engine, event

from lamina_server.store.address import FIXED, PostgresqlAddress
from lamina_server.store.contract import UnusableStoreError

APPLICATION_NAME = "lamina-server"
CONNECT_SECONDS = 5
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 10, 5, 3
DEAD_PEER_MS = 25_000
"""As long as keepalive takes for a silent connection. Keepalive does not notice one with data on its way."""
CLIENT_CHECK_MS = 5_000
"""How often a backend checks whether its client is still there, while a statement runs."""

OLDEST_VERSION = 140_000
"""The oldest release that PostgreSQL maintains. Before 13 a COMMIT could not have a statement timeout of its own."""

POOLER_ROUNDS = 4
"""Other clients of a pooler may take a backend between two of our questions. Hardly in each round."""

Settings = Mapping[str, object]

DRIVER_URL = "postgresql+psycopg://"
"""The driver's name for SQLAlchemy. The arguments say where the database is."""

_DEFAULTS: Settings = {
    "application_name": APPLICATION_NAME,
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
    "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
    "keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": DEAD_PEER_MS,
}
"""What an address may set otherwise."""

_TIMEOUTS_SINCE = {"idle_session_timeout": 140_000, "transaction_timeout": 170_000}
"""Timeouts that a pool's connections must not have, and the first version of PostgreSQL that knows each."""

_EVERY_SESSION: Settings = {
    # First, because the operator's timeout may be too short for the other statements of the message.
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_in_transaction_session_timeout": 0,
    # The backend's side of the connection, too. A backend that got a part of a pipeline waits for the rest without any
    # other timeout. If this machine or the network is gone, it would hold the write lock for two hours.
    "tcp_keepalives_idle": KEEPALIVE_IDLE_SECONDS,
    "tcp_keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
    "tcp_keepalives_count": KEEPALIVE_COUNT,
    "tcp_user_timeout": DEAD_PEER_MS,
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "extra_float_digits": 1,  # 1 or more writes the digits that read back as the same number
    "standard_conforming_strings": "on",  # the views' texts have backslashes in them
    "quote_all_identifiers": "off",  # a schema that create_all has made is compared by the database's own texts
    "row_security": "off",  # an error, rather than rows that are missing without a word
    "exit_on_error": "off",
    # COMMIT only warns if it has not waited for its standby. "error" would hide this; "log" and "debug" add messages.
    "client_min_messages": "warning",
    # Each of our statements is made to walk indexes. The planner would scan small tables, and keep such a plan when
    # they have grown; it knows nothing right after a bulk load. To compile a statement, or to start a second process
    # for it, takes longer than to run it.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_indexscan": "on",
    "enable_indexonlyscan": "on",
    "enable_bitmapscan": "on",
    "enable_nestloop": "on",
    "enable_sort": "on",
    "plan_cache_mode": "auto",
    "max_parallel_workers_per_gather": 0,
    "jit": "off",
}

# The tables are in one schema, whatever the role's search_path is: a second set of them in another schema would look
# like an empty database. Only the address can name another schema. Operators are looked up on the search_path, too.
_SEARCH_PATH = (
    "SELECT pg_catalog.set_config('search_path', 'public', false) FROM pg_catalog.pg_settings"
    " WHERE name OPERATOR(pg_catalog.=) 'search_path' AND source OPERATOR(pg_catalog.<>) 'client'"
)

# `on` waits for the disk, and for a synchronous standby if there is one. `remote_write` and `remote_apply` stay: they
# are another way to wait for the standby.
_SYNCHRONOUS_COMMIT = (
    "SELECT set_config('synchronous_commit', 'on', false)"
    " WHERE current_setting('synchronous_commit') IN ('off', 'local')"
)

# Not on every platform can a backend notice this, and none before version 14, whose refusal comes later.
_CLIENT_CHECK = (
    f"DO $$ BEGIN SET client_connection_check_interval = {CLIENT_CHECK_MS};"
    " EXCEPTION WHEN invalid_parameter_value OR undefined_object THEN NULL; END $$"
)

_SUPERUSERS_ONLY = {
    "session_replication_role": "origin",  # else neither triggers nor foreign keys are checked
    "ignore_checksum_failure": "off",
    "zero_damaged_pages": "off",  # it removes the rows of a damaged page
}
_WANTED = ", ".join(f"('{name}', '{value}')" for name, value in _SUPERUSERS_ONLY.items())
_DIFFERENT = f"FROM (VALUES {_WANTED}) AS wanted (name, value) WHERE current_setting(name) <> value"
_AS_SUPERUSER = f"SELECT set_config(name, value, false) {_DIFFERENT} AND current_setting('is_superuser') = 'on'"
_UNSAFE = f"SELECT coalesce(string_agg(name || ' = ' || current_setting(name), ' and ' ORDER BY name), '') {_DIFFERENT}"

_STATE = (
    "SELECT current_setting('server_version_num')::int AS version,"
    " current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync,"
    f" current_setting('full_page_writes') AS full_page_writes, ({_UNSAFE}) AS unsafe"
)


@dataclass(frozen=True, slots=True)
class State:
    """What a session depends on and cannot set: the server's own settings, and a superuser's."""

    version: int
    encoding: str
    fsync: str
    full_page_writes: str
    unsafe: str


def connect_arguments(
    address: PostgresqlAddress, *, purpose: str = "", standby_allowed: bool = False
) -> dict[str, Any]:
    """Return all that the driver needs to connect: the address, and our own.

    purpose          what pg_stat_activity shows after the application's name
    standby_allowed  otherwise the primary is chosen of several hosts: a standby takes no writes, and its answers may
                     be old
    """
    arguments = {**_DEFAULTS, **address.parameters, **FIXED}
    if standby_allowed:
        arguments["target_session_attrs"] = "any"
    if purpose:
        arguments["application_name"] = f"{arguments['application_name']} {purpose}"
    return arguments


def setup(server_version: int, settings: Settings) -> str:
    """Return the statements that set up a new session, as one message: what every session needs, then `settings`.

    Its last result is the session's State.
    """
    timeouts = {name: 0 for name, since in _TIMEOUTS_SINCE.items() if server_version >= since}
    conditional = (_SEARCH_PATH, _SYNCHRONOUS_COMMIT, _AS_SUPERUSER, _CLIENT_CHECK)
    parts = [*_set({**_EVERY_SESSION, **timeouts}), *conditional, *_set(settings)]
    return "; ".join(["BEGIN ISOLATION LEVEL READ COMMITTED", *parts, "COMMIT", _STATE])


def set_up_connections(
    engine: Engine, arguments: Mapping[str, Any], settings: Settings, *checks: Callable[[State], None]
) -> None:
    """Set up each connection that an engine opens with these arguments, before SQLAlchemy asks anything over it.

    To open one raises UnusableStoreError if it is no session, or if one of the checks raises it: after a failover, the
    server may be another one than at the start, and there may be a pooler before it.
    """
    has_session_pooler = False

    def on_connect(driver: psycopg.Connection[Any], _record: object) -> None:
        nonlocal has_session_pooler
        try:
            driver.autocommit = True  # a setting that is rolled back does not last
            if not has_session_pooler:  # behind a pooler once, because it takes another connection there
                has_session_pooler = _is_behind_session_pooler(driver, arguments)
            with driver.cursor(row_factory=class_row(State)) as cursor:
                cursor.execute(setup(driver.info.server_version, settings), prepare=False)
                while cursor.nextset():
                    pass
                (state,) = cursor.fetchall()
            for check in checks:
                check(state)
            driver.autocommit = False
        except (psycopg.Error, UnusableStoreError):
            driver.close()
            raise

    event.listen(engine, "connect", on_connect, insert=True)


def refuse_lossy_server(state: State) -> None:
    """Raise UnusableStoreError if the server could lose what it has confirmed, or change what it stores."""
    off = [name for name in ("fsync", "full_page_writes") if getattr(state, name) == "off"]
    if state.version < OLDEST_VERSION:
        raise UnusableStoreError(f"PostgreSQL {OLDEST_VERSION // 10_000} or newer is needed")
    if state.encoding != "UTF8":
        raise UnusableStoreError(f"the database's encoding is {state.encoding}; it must be UTF8")
    if off:
        raise UnusableStoreError(f"PostgreSQL has {' and '.join(off)} off: it would lose what it has confirmed")


def refuse_unsafe_settings(state: State) -> None:
    """Raise UnusableStoreError where a setting could lose or hide data, and only a superuser may change it."""
    if state.unsafe:
        text = f"the role's sessions have {state.unsafe}, which is unsafe; a superuser must reset it"
        raise UnusableStoreError(text)


def _is_behind_session_pooler(driver: psycopg.Connection[Any], arguments: Mapping[str, Any]) -> bool:
    """Return whether there is a pooler that lends a backend for each session.

    Raise UnusableStoreError if it lends one for each transaction: no setting and no LISTEN lasts there.

    A pooler has told the client another process id than its backend has. So without a pooler this is one question.
    Behind a pooler of sessions, each of two open sessions keeps a backend of its own. It is asked before any setting is
    made, because the backend may be lent to another application afterwards.
    """
    ours, theirs = {_backend(driver)}, set[int]()
    if driver.info.backend_pid in ours:
        return False
    with psycopg.connect(**arguments, autocommit=True) as other:
        for _ in range(POOLER_ROUNDS):  # each twice: a pooler may give out its backends in turn
            theirs |= {_backend(other), _backend(other)}
            ours |= {_backend(driver), _backend(driver)}
    if ours == theirs or len(ours) > 1 or len(theirs) > 1:
        text = (
            "a pooler gives each transaction another connection to PostgreSQL, but the server needs sessions: set its"
            " pool_mode to session, or name PostgreSQL itself in the database's address"
        )
        raise UnusableStoreError(text)
    return True


def _backend(driver: psycopg.Connection[Any]) -> int:
    row = driver.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    assert row is not None
    pid: int = row[0]
    return pid


def _set(settings: Settings) -> Iterator[str]:
    return (f"SET {name} = '{value}'" for name, value in settings.items())
