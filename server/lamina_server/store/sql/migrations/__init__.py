"""Migrations of the schema from one release to the next, by Alembic: a server's start and `migrate` run them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from lamina_server.models.locking import lock_writers
from lamina_server.store.contract import UnusableStoreError
from lamina_server.store.sql.migrations import adopting

_HERE = Path(__file__).parent


def migrate(engine: Engine) -> None:
    """Bring a database to this release's schema in one transaction. Leave it as it is if it has that schema.

    Takes the writers' lock first: if several servers start together, one of them migrates
    and the others find it done. Tables that the models' create_all has made are taken over
    if they are this release's.

    Raises UnusableStoreError if the schema is of a newer release, or if tables with our
    names are not ours.
    """
    with engine.begin() as connection:
        lock_writers(connection)
        if current(connection) is None:
            if adopting.has_tables(connection):
                _adopt(connection)
            else:
                _refuse_second_set(connection)
        try:
            command.upgrade(_config(connection), "head")
        except CommandError as error:
            text = f"the database's schema {current(connection)!r} is not known to this release; use a newer release"
            raise UnusableStoreError(text) from error


def _adopt(connection: Connection) -> None:
    if not adopting.is_newest(connection):
        text = (
            "the database has tables with the names of Lamina's, but without a revision, and not as this release"
            " makes them: they are somebody else's, or another release made them by create_all(); use another database"
        )
        raise UnusableStoreError(text)
    command.stamp(_config(connection), "head")


def _refuse_second_set(connection: Connection) -> None:
    """Refuse to make empty tables where the database already has tables of ours in another schema."""
    for schema in adopting.other_schemas(connection):
        text = (
            f"the database has Lamina's tables in the schema {schema!r}, but this session uses 'public': name the"
            f" schema in the database's address, as ?options=-csearch_path%3D{schema}, or use another database"
        )
        raise UnusableStoreError(text)


def current(connection: Connection) -> str | None:
    """Return the revision of a database's schema; None if it has none yet."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str | None:
    """Return the revision that `migrate` leads to."""
    return ScriptDirectory(str(_HERE)).get_current_head()


def known() -> frozenset[str]:
    """Return all revisions that this release can serve or upgrade."""
    return frozenset(script.revision for script in ScriptDirectory(str(_HERE)).walk_revisions())


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE).replace("%", "%%"))  # ConfigParser's own character
    config.attributes["connection"] = connection
    return config
