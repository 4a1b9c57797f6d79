"""The bytes of watches' messages that are on their way: how many, and for how long.

What a client has not taken lies in this process. Small messages are let go in any case; the
larger wait, in order, until there is room. When room is short, messages are made small
enough not to wait: so a few who take nothing hold up nobody else. Whoever takes nothing for
too long is given up.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeAlias

from lamina_server.domain.errors import Reason, UnavailableError

SMALL_BYTES = 64 * 1024
"""A message up to this size does not wait: it is what a stream's window takes anyway."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]


class SendBudget:
    """Counts what is on its way. Lives on the event loop.

    limit_bytes          of all large messages; of small ones there is one for each watch at most
    message_limit_bytes  of one message, where there is room
    limit_seconds        for a client to take one
    """

    def __init__(self, *, limit_bytes: int, message_limit_bytes: int, limit_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._message_limit_bytes = message_limit_bytes
        self._limit_seconds = limit_seconds
        self._loop = asyncio.get_running_loop()
        self._large_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        # Since when each task's message is on its way, the oldest first; one timer watches over the first of them.
        self._since: dict[asyncio.Task[Any], float] = {}
        self._overdue: set[asyncio.Task[Any]] = set()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def message_limit_bytes(self) -> int:
        """How large the next message should be."""
        is_short = self._waiting or 2 * self._large_bytes > self._limit_bytes
        return min(SMALL_BYTES, self._message_limit_bytes) if is_short else self._message_limit_bytes

    async def carry(self, message: bytes, send: Send, task: "asyncio.Task[Any]", end: ExitStack) -> None:
        """Send a task's message, once there is room for it.

        Raises UnavailableError(TOO_SLOW) when it was not taken in time. It lies in this process all the same, until it
        is taken or the connection ends: so it is counted until `end`, the end of the call.
        """
        large_bytes = len(message) if len(message) > SMALL_BYTES else 0
        if large_bytes and (self._waiting or not self._has_room(large_bytes)):
            await self._wait(large_bytes)
        else:
            self._large_bytes += large_bytes
        self._since[task] = self._loop.time()
        if self._alarm is None:
            self._alarm = self._loop.call_later(self._limit_seconds, self._look)
        try:
            await send(message)
        except asyncio.CancelledError:
            if task in self._overdue and not task.uncancel():
                end.callback(self._land, large_bytes)
                large_bytes = 0
                text = f"the watch has not taken a message within {self._limit_seconds:g} s; watch on after your cursor"
                raise UnavailableError(Reason.TOO_SLOW, text) from None
            raise
        finally:
            self._since.pop(task, None)
            self._overdue.discard(task)
            if large_bytes:
                self._land(large_bytes)

    def _land(self, size_bytes: int) -> None:
        self._large_bytes -= size_bytes
        self._next()

    async def _wait(self, size_bytes: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size_bytes, future)
        self._waiting.append(waiting)
        try:
            await future
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._large_bytes -= size_bytes  # it was its turn, just now
            self._next()
            raise

    def _next(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            size_bytes, future = self._waiting.popleft()
            self._large_bytes += size_bytes
            future.set_result(None)

    def _has_room(self, size_bytes: int) -> bool:
        # One that is larger than all there may be goes alone.
        return not self._large_bytes or self._large_bytes + size_bytes <= self._limit_bytes

    def _look(self) -> None:
        """Give up on those whose time is over, and come again when the next one's may be."""
        self._alarm = None
        for task, since in list(self._since.items()):
            due = since + self._limit_seconds
            if due > self._loop.time():
                self._alarm = self._loop.call_at(due, self._look)
                return
            del self._since[task]
            self._overdue.add(task)
            task.cancel()
