"""How many files the process may have open, and how many connections that leaves. Each connection is an open file.

Without a limit of connections that fits, callers who only open some would leave none for the database.
"""

import resource
from contextlib import suppress
from typing import Final

import structlog

from lamina_server.settings import Settings

OTHERS: Final = 400
"""What the database's connections, the log and gRPC itself need."""

_log = structlog.get_logger(__name__)


def connections(settings: Settings, addresses: int) -> int:
    """Return how many connections each of the server's addresses can have: the limit, or what the open files allow."""
    soft = _soft()
    if soft == resource.RLIM_INFINITY:
        return settings.connection_limit
    return max(1, min(settings.connection_limit, max(soft - OTHERS, soft // 2) // addresses))


def allow(settings: Settings, addresses: int) -> None:
    """Let this process have as many open files as it needs. Log it if less than half of the connections are left."""
    needed = addresses * settings.connection_limit + OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    left = connections(settings, addresses)
    if left < settings.connection_limit // 2:  # less would only tell that the limit was chosen for larger machines
        _log.warning(
            "fewer connections than the limit",
            connections=left,
            connection_limit=settings.connection_limit,
            addresses=addresses,
            open_files=_soft(),
            open_files_needed=needed,
            reason="the hard limit of open files is too low: raise it (LimitNOFILE= of systemd, ulimit -Hn)",
        )


def _soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
