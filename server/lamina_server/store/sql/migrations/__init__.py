"""Migrations of the schema from one release to the next, by Alembic: a server's start and `migrate` run them."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from lamina_server.models.locking import lock_writers
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql import revision
from lamina_server.store.sql.migrations import adopting
from lamina_server.store.sql.revision import OLD_VERSION_TABLE, OURS, VERSION_TABLE

SCRIPTS = Path(__file__).parent


def migrate(engine: Engine, before_upgrade: Callable[[str], None] = lambda _: None) -> None:
    """Bring a database to this release's schema in one transaction. Leave it as it is if it has that schema.

    Call `before_upgrade` with the schema of an older release before any of its tables is changed. If it raises, nothing
    is changed.

    Takes the writers' lock first: if several servers start together, one of them migrates
    and the others find it done. Tables that the models' create_all has made are taken over
    if they are this release's.

    Raises UnusableStoreError if the schema is of a newer release, if tables with our names
    are not ours, or if some of our tables are missing.
    """
    with engine.begin() as connection:
        lock_writers(connection)
        ask, dialect = revision.asking(connection), engine.dialect.name
        before = revision.table_names(ask, dialect)
        found = revision.own(ask, before)
        if found is None:
            if before.isdisjoint(OURS):
                _refuse_others_file(dialect, before)
                _refuse_second_set(connection)
            else:
                found = _revision_of_tables(connection, before)
                command.stamp(_config(connection), found)
        if found not in {None, revision.NEWEST}:
            before_upgrade(found)
        command.upgrade(_config(connection), "head")
        _check_tables(revision.table_names(ask, dialect))
        _drop_old_version_table(connection, before)


def _revision_of_tables(connection: Connection, names: AbstractSet[str]) -> str:
    """Return the revision of tables without a revision in our version table."""
    if adopting.is_newest(connection):
        return revision.NEWEST
    found = revision.old(revision.asking(connection), names)
    if found is None:
        text = (
            "the database has tables with the names of Lamina's, but without a revision, and not as this release"
            " makes them: they are somebody else's, or another release made them by create_all(); use another database"
        )
        raise UnusableStoreError(text)
    return found


def _refuse_others_file(dialect: str, names: AbstractSet[str]) -> None:
    """Refuse another application's SQLite file: only one program can write to a file that Lamina serves."""
    if dialect == "sqlite" and (others := sorted(names - {VERSION_TABLE})):
        shown = ", ".join(others[:3]) + (" …" if others[3:] else "")
        raise UnusableStoreError(
            f"the SQLite file is another application's: it has tables ({shown}), and none of Lamina's"
        )


def _refuse_second_set(connection: Connection) -> None:
    """Refuse to make empty tables where the database already has tables of ours in another schema."""
    for schema in adopting.other_schemas(connection):
        text = (
            f"the database has Lamina's tables in the schema {schema!r}, but this session uses 'public': name the"
            f" schema in the database's address, as ?options=-csearch_path%3D{schema}, or use another database"
        )
        raise UnusableStoreError(text)


def _check_tables(names: AbstractSet[str]) -> None:
    if missing := OURS - names:
        text = (
            f"the table {VERSION_TABLE} says that Lamina's tables are there, but some are missing"
            f" ({', '.join(sorted(missing))}): restore a backup, or drop all that is left of them and begin anew"
        )
        raise UnusableStoreError(text)


def _drop_old_version_table(connection: Connection, names: AbstractSet[str]) -> None:
    """Drop the version table of a development version, which would find it and trust it after a later migration.

    If there are other tables, it may be the version table of their application.
    """
    if revision.old(revision.asking(connection), names) and names <= OURS | {OLD_VERSION_TABLE, VERSION_TABLE}:
        connection.exec_driver_sql(f"DROP TABLE {OLD_VERSION_TABLE}")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))  # ConfigParser's own character
    config.attributes["connection"] = connection
    return config
