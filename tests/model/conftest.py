"""Real servers, on SQLite and on PostgreSQL, one of each for the whole run."""

from tests.support.server import config_name, server, target

__all__ = ["config_name", "server", "target"]
