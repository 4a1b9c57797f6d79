"""The pool that lends an engine's connections. Knows no database."""

from sqlalchemy import QueuePool
from sqlalchemy.pool import ConnectionPoolEntry


class ClosingPool(QueuePool):
    """A pool that also closes the connections which are given back after `dispose`.

    SQLAlchemy's own pool keeps them: they stay open until the garbage collector finds the pool.
    """

    __module__ = QueuePool.__module__  # which names its log: what it says is SQLAlchemy's, and not the server's
    _is_disposed = False

    def dispose(self) -> None:
        """Close all connections, now or when they are given back."""
        self._is_disposed = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self._is_disposed:  # asked afterwards: `dispose` may have emptied the pool just before this one came back
            super().dispose()
