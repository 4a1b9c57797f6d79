"""Which revision a database's schema has. Does not use Alembic, whose import takes longer than opening the database."""

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

NEWEST = "0002"
"""The revision that the migrations lead to. A test compares the two."""


def is_newest(engine: Engine) -> bool:
    """Return whether there is nothing to migrate."""
    try:
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [NEWEST]
    except DBAPIError:  # no such table; the migration reports any other problem
        return False
