"""Open a store by its address."""

import structlog
from sqlalchemy import Engine

from lamina_server.domain.errors import ServerError
from lamina_server.models import queries as shared
from lamina_server.store.address import Address, SqliteAddress, parse
from lamina_server.store.contract import UnusableStoreError, Upgrade
from lamina_server.store.sql import revision
from lamina_server.store.sql.creating import create_if_empty
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.measured import Measure, measured
from lamina_server.store.sql.prepared import prepared
from lamina_server.store.sql.queries import versions as queries
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.sqlite.database import SqliteDatabase

READER_CONNECTIONS = 4
WAIT_SECONDS = 5.0

_log = structlog.get_logger(__name__)


def open_store(
    url: str,
    *,
    reader_connections: int = READER_CONNECTIONS,
    wait_seconds: float = WAIT_SECONDS,
    upgrades_shared: bool = False,
    measure: Measure | None = None,
) -> SqlStore:
    """Open the database at an address, as address.py has it, bring its tables up to date, and see if it takes commits.

    reader_connections  how many reading blocks there can be at once
    wait_seconds        how long another one waits for its turn
    upgrades_shared     whether to upgrade the tables of an older release that other servers may be using
    measure             what takes the seconds of each operation, by its name; see sql/measured.py

    Raises DatabaseAddressError or UnusableStoreError.
    """
    database = open_database(parse(url), reader_connections=reader_connections, wait_seconds=wait_seconds)
    try:
        with database.migrating() as engine:
            upgrade = None
            if not (revision.is_newest(engine) or create_if_empty(engine)):
                upgrade = _migrate(database, engine, upgrades_shared=upgrades_shared)
            _compile(engine)
        store = SqlStore(measured(database, measure) if measure else database, upgrade)
        _check_writable(store)
    except BaseException:
        database.close()
        raise
    return store


def _migrate(database: Database, engine: Engine, *, upgrades_shared: bool) -> Upgrade | None:
    """Make the tables, or upgrade those of an older release; return what was upgraded."""
    from lamina_server.store.sql.migrations import migrate  # noqa: PLC0415 - and Alembic with it

    upgrade: Upgrade | None = None

    def prepare(before: str) -> None:
        nonlocal upgrade
        backup = database.before_upgrade(before, revision.NEWEST, is_asked=upgrades_shared)
        upgrade = Upgrade(before, revision.NEWEST, backup)
        _log.info("upgrading the tables", before=before, after=revision.NEWEST)

    migrate(engine, prepare)
    if upgrade:
        backup = str(upgrade.backup) if upgrade.backup else None
        _log.info("tables upgraded", before=upgrade.before, after=upgrade.after, backup=backup)
    return upgrade


def _check_writable(store: SqlStore) -> None:
    try:
        store.check_writable()
    except ServerError as error:
        cause = error.__cause__
        raise cause if isinstance(cause, UnusableStoreError) else UnusableStoreError(str(error)) from error


def _compile(engine: Engine) -> None:
    """Compile what the first requests will ask, so that they need not wait for it."""
    asked = (shared.head(), queries.header(), queries.heads(), queries.changed_keys_of_one(), queries.known_requests())
    read = (
        shared.keyframe(),
        shared.lines_with_values(),
        shared.line_ids(),
        shared.younger(),
        shared.younger_ids(),
    )
    for statement in (*asked, *read):
        prepared(statement, engine.dialect)


def open_database(
    address: Address, *, reader_connections: int = READER_CONNECTIONS, wait_seconds: float = WAIT_SECONDS
) -> Database:
    """Open the database at an address. Its tables may be those of another release."""
    if isinstance(address, SqliteAddress):
        return SqliteDatabase(address.path, reader_connections=reader_connections, wait_seconds=wait_seconds)
    from lamina_server.store.postgresql.database import PostgresqlDatabase  # noqa: PLC0415 - and its driver with it

    return PostgresqlDatabase(address, reader_connections=reader_connections, wait_seconds=wait_seconds)
