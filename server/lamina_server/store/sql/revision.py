"""Which revision a database's schema has, asked without Alembic: to load it takes longer than to open the database."""

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

NEWEST = "0002"
"""What the migrations lead to; a test compares."""


def is_newest(engine: Engine) -> bool:
    """Tell whether there is nothing to migrate."""
    try:
        with engine.connect() as connection:
            return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [NEWEST]
    except DBAPIError:  # no such table: whatever else is wrong with the database is said by who migrates it
        return False
