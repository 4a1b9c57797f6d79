"""How every session with PostgreSQL is opened and set up, whichever side of the driver opens it. Knows no table.

A role, a database and postgresql.conf may each set nearly every parameter. So each session sets the parameters that our
statements depend on, in one message after it has connected. It does not use startup parameters: a pooler such as
pgbouncer refuses those that it does not know.

All other parameters are left to the operator, because they change no answer of ours: the formats of bytes and times
(the driver reads both formats of bytes, and no column holds a time), languages, memory, costs, logging, and where and
how a new table is stored.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event, text

from lamina_server.store.address import FIXED, PostgresqlAddress
from lamina_server.store.contract import UnusableStoreError

APPLICATION_NAME = "lamina-server"
CONNECT_SECONDS = 5
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 10, 5, 3
DEAD_PEER_MS = 25_000
"""As long as keepalive takes for a silent connection. Keepalive does not notice one with data on its way."""
CLIENT_CHECK_MS = 5_000
"""How often a backend checks whether its client is still there, while a statement runs."""

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
_UNSAFE = text(f"SELECT name, current_setting(name) AS value {_DIFFERENT} ORDER BY name")


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
    """Return the statements that set up a new session, as one message: what every session needs, then `settings`."""
    timeouts = {name: 0 for name, since in _TIMEOUTS_SINCE.items() if server_version >= since}
    conditional = (_SEARCH_PATH, _SYNCHRONOUS_COMMIT, _AS_SUPERUSER, _CLIENT_CHECK)
    parts = [*_set({**_EVERY_SESSION, **timeouts}), *conditional, *_set(settings)]
    return "; ".join(["BEGIN ISOLATION LEVEL READ COMMITTED", *parts, "COMMIT"])


def set_up_connections(engine: Engine, settings: Settings) -> None:
    """Set up each connection that an engine opens, before SQLAlchemy asks anything over it."""

    def on_connect(driver: psycopg.Connection[Any], _record: object) -> None:
        try:
            driver.autocommit = True  # a setting that is rolled back does not last
            driver.execute(setup(driver.info.server_version, settings), prepare=False)
            driver.autocommit = False
        except psycopg.Error:
            driver.close()
            raise

    event.listen(engine, "connect", on_connect, insert=True)


def refuse_unsafe_settings(connection: Connection) -> None:
    """Raise UnusableStoreError where a setting could lose or hide data, and only a superuser may change it."""
    unsafe = [f"{row.name} = {row.value}" for row in connection.execute(_UNSAFE)]
    if unsafe:
        names = " and ".join(unsafe)
        raise UnusableStoreError(f"the role's sessions have {names}, which is unsafe; a superuser must reset it")


def _set(settings: Settings) -> Iterator[str]:
    return (f"SET {name} = '{value}'" for name, value in settings.items())
