"""Tasks that wait for a peer, and are given up after a while: one timer for all of them. Knows no call."""

import asyncio
from typing import Any


class Deadlines:
    """Cancels tasks that wait for too long. Lives on the event loop.

    limit_seconds  how long each task may wait
    """

    def __init__(self, limit_seconds: float) -> None:
        self.limit_seconds = limit_seconds
        # When each task began to wait, the oldest first; one timer is set for the first of them.
        self._since: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, task: "asyncio.Task[Any]") -> None:
        """Take note that a task begins to wait."""
        loop = task.get_loop()
        self._since[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self.limit_seconds, self._expire)

    def end(self, task: "asyncio.Task[Any]") -> None:
        """Take note that a task waits no more."""
        self._since.pop(task, None)
        self._overdue.discard(task)

    def has_ended(self, task: "asyncio.Task[Any]") -> bool:
        """Return whether the cancellation of a task is ours, and nobody else's; it is not cancelled any more then."""
        return task in self._overdue and not task.uncancel()

    def _expire(self) -> None:
        self._timer = None
        for task, since in list(self._since.items()):
            loop = task.get_loop()
            due = since + self.limit_seconds
            if due > loop.time():
                self._timer = loop.call_at(due, self._expire)
                return
            del self._since[task]
            self._overdue.add(task)
            task.cancel()
