"""Work that several callers want at the same time, done once for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class SingleFlight:
    """The tasks under way, by key. Lives on the event loop. All that share a key must expect the same type."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tasks

    async def join(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the work under a key, which is started unless it is under way.

        Cancelling a caller does not cancel the work. An error is raised in every caller that waits.
        """
        return await asyncio.shield(self.begin(key, start))

    def begin(self, key: Hashable, start: Callable[[], Coroutine[Any, Any, T]]) -> "asyncio.Task[T]":
        """Start the work under a key unless it is under way, and return its task."""
        task = self._tasks.get(key)
        if task is None or task.done():  # its callback is still to come: joining it would wait for nothing
            self._tasks[key] = task = asyncio.get_running_loop().create_task(start())
            task.add_done_callback(partial(self._end, key))
        return task

    def _end(self, key: Hashable, task: "asyncio.Task[Any]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # retrieved here, because all callers may have left
