"""How a session with PostgreSQL is opened, whichever side of the driver opens it. Knows no statement."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import URL

APPLICATION_NAME = "lamina-server"
CONNECT_SECONDS = 5
KEEPALIVE_IDLE_SECONDS, KEEPALIVE_INTERVAL_SECONDS, KEEPALIVE_COUNT = 10, 5, 3
DEAD_PEER_MS = 25_000
"""As long as keepalive takes for a silent connection: it says nothing of one with data on its way."""

_DRIVER = "postgresql+psycopg"


def driver_url(url: URL) -> URL:
    """Name our driver in a URL."""
    return url.set(drivername=_DRIVER)


def our_arguments(url: URL, settings: Mapping[str, object], *, name: str = APPLICATION_NAME) -> dict[str, Any]:
    """Return what we say of a session beyond its URL; `settings` are the database's, and `name` is what it shows."""
    given = url.query.get("options", "")  # the operator's come first; ours hold what is promised
    return {
        "options": " ".join([str(given), *(f"-c {key}={value}" for key, value in settings.items())]),
        "application_name": name,
        "client_encoding": "utf8",
        "connect_timeout": CONNECT_SECONDS,
        # Of several hosts the one that takes writes; never a standby, whose answers may be old.
        "target_session_attrs": "read-write",
        "keepalives": 1,
        "keepalives_idle": KEEPALIVE_IDLE_SECONDS,
        "keepalives_interval": KEEPALIVE_INTERVAL_SECONDS,
        "keepalives_count": KEEPALIVE_COUNT,
        "tcp_user_timeout": DEAD_PEER_MS,
    }


def all_arguments(url: URL, settings: Mapping[str, object], *, name: str) -> dict[str, Any]:
    """Return all that the driver needs to open a session by itself."""
    _, from_url = driver_url(url).get_dialect()().create_connect_args(url)
    return {**from_url, **our_arguments(url, settings, name=name)}
