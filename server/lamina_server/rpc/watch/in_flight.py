"""The messages of watches that are in flight: how many bytes, and for how long.

A message that a client has not taken lies in this process. Small messages are always sent;
large ones wait, in order, until there is room. When room is short, messages are made small
enough not to wait: so a few clients that take nothing hold up no others. A watch whose client
takes nothing for too long is ended.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeAlias

from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.rpc.deadlines import Deadlines

SMALL_BYTES = 64 * 1024
"""A message up to this size does not wait: the window of a stream takes as much anyway."""

Send: TypeAlias = Callable[[bytes], Awaitable[None]]


class SendBudget:
    """Counts the messages in flight. Lives on the event loop.

    limit_bytes          of all large messages; each watch has at most one small message besides
    message_limit_bytes  of one message, if there is room
    limit_seconds        for a client to take one message
    """

    def __init__(self, *, limit_bytes: int, message_limit_bytes: int, limit_seconds: float) -> None:
        self._limit_bytes = limit_bytes
        self._message_limit_bytes = message_limit_bytes
        self._deadlines = Deadlines(limit_seconds)
        self._large_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def message_limit_bytes(self) -> int:
        """Return how large the next message should be."""
        is_short = self._waiting or 2 * self._large_bytes > self._limit_bytes
        return min(SMALL_BYTES, self._message_limit_bytes) if is_short else self._message_limit_bytes

    @property
    def large_bytes(self) -> int:
        """Return the size of all large messages in flight."""
        return self._large_bytes

    async def send(self, message: bytes, write: Send, task: "asyncio.Task[Any]", end_of_call: ExitStack) -> None:
        """Write a task's message, once there is room for it.

        Raises UnavailableError(TOO_SLOW) if it was not taken in time. It still lies in this process until it is taken
        or the connection ends: so it is counted until `end_of_call` is closed.
        """
        large_bytes = len(message) if len(message) > SMALL_BYTES else 0
        if large_bytes and (self._waiting or not self._has_room(large_bytes)):
            await self._wait_for_room(large_bytes)
        else:
            self._large_bytes += large_bytes
        deadlines = self._deadlines
        deadlines.begin(task)
        try:
            await write(message)
        except asyncio.CancelledError:
            if deadlines.has_ended(task):
                end_of_call.callback(self._release, large_bytes)
                large_bytes = 0
                seconds = deadlines.limit_seconds
                text = f"the watch has not taken a message within {seconds:g} s; watch again after your cursor"
                raise UnavailableError(Reason.TOO_SLOW, text) from None
            raise
        finally:
            deadlines.end(task)
            if large_bytes:
                self._release(large_bytes)

    def _release(self, size_bytes: int) -> None:
        self._large_bytes -= size_bytes
        self._admit_waiting()

    async def _wait_for_room(self, size_bytes: int) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size_bytes, future)
        self._waiting.append(waiting)
        try:
            await future
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._large_bytes -= size_bytes  # it was admitted just now
            self._admit_waiting()
            raise

    def _admit_waiting(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            size_bytes, future = self._waiting.popleft()
            self._large_bytes += size_bytes
            future.set_result(None)

    def _has_room(self, size_bytes: int) -> bool:
        # A message that is larger than the limit goes alone.
        return not self._large_bytes or self._large_bytes + size_bytes <= self._limit_bytes
