"""The limits on the number of watches: on one connection, and on the server."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from lamina_server.domain.errors import LimitError, Reason
from lamina_server.settings import Settings

_UNIX = "unix:"


class Admission:
    """Counts the watches under way."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.watch_limit
        self._connection_limit = settings.connection_limit_watches
        self._watches = 0
        self._by_peer: Counter[str] = Counter()

    @contextmanager
    def admit(self, peer: str) -> Iterator[None]:
        """Count a watch for the duration of the block; raise LimitError if there are too many.

        peer  the connection's other end, an address and a port. All connections of a Unix socket look
              alike, so only the server's limit applies to them
        """
        is_counted = not peer.startswith(_UNIX)
        if self._watches >= self._limit:
            raise _too_many("watches on this server", self._limit)
        if is_counted and self._by_peer[peer] >= self._connection_limit:
            raise _too_many("watches on this connection", self._connection_limit)
        self._watches += 1
        self._by_peer[peer] += is_counted
        try:
            yield
        finally:
            self._watches -= 1
            self._by_peer[peer] -= is_counted
            if not self._by_peer[peer]:
                del self._by_peer[peer]


def _too_many(what: str, limit: int) -> LimitError:
    return LimitError(Reason.TOO_MANY, what, limit=limit, actual=limit + 1, unit="watches")
