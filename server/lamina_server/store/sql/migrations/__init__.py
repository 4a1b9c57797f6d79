"""The schema's way from one release to the next, by Alembic: at a server's start, or by `lamina-server migrate`."""

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
    """Bring a database to this release's schema, in one transaction; one that is there already is left alone.

    Takes the writers' lock first, so that of several servers that start together one
    migrates and the others find it done. Tables that the models' create_all has made are
    taken over, where they are this release's.

    Raises UnusableStoreError where the schema is of a newer release than this one, or
    tables with our names are not ours.
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
            text = f"the database's schema {current(connection)!r} is not known to this release; use a newer one"
            raise UnusableStoreError(text) from error


def _adopt(connection: Connection) -> None:
    if not adopting.is_newest(connection):
        text = (
            "the database has tables with the names of ours, but they have no revision and are not what this release"
            " makes: they are somebody else's, or of another release's create_all(); use a database of its own"
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
    """Return the revision of a database's schema; None where there is none yet."""
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
