"""The bytes of watches' messages that are on their way: bounded, however many watchers are slow at once.

What a client has not taken lies in this process. Small messages are let go in any case; the
larger wait, in order, until there is room. When room is short, messages are made small
enough not to wait: so a few who take nothing hold up nobody else.
"""

import asyncio
from collections import deque

SMALL_BYTES = 64 * 1024
"""A message up to this size does not wait: it is what a stream's window takes anyway."""


class Flight:
    """Counts what is on its way. Lives on the event loop.

    limit_bytes          of all messages, small ones beyond it excepted
    message_limit_bytes  of one message, where there is room
    """

    def __init__(self, *, limit_bytes: int, message_limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._message_limit_bytes = message_limit_bytes
        self._carried_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def message_limit_bytes(self) -> int:
        """How large the next message should be."""
        is_short = self._waiting or 2 * self._carried_bytes > self._limit_bytes
        return min(SMALL_BYTES, self._message_limit_bytes) if is_short else self._message_limit_bytes

    async def take_off(self, size_bytes: int) -> None:
        """Count a message, once there is room for it; let it `land` in any case."""
        if size_bytes <= SMALL_BYTES or (not self._waiting and self._has_room(size_bytes)):
            self._carried_bytes += size_bytes
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = (size_bytes, future)
        self._waiting.append(waiting)
        try:
            await future
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:
                self._carried_bytes -= size_bytes  # it was its turn, just now
            self._next()
            raise

    def land(self, size_bytes: int) -> None:
        """Count a message off: it was taken, or will never be."""
        self._carried_bytes -= size_bytes
        self._next()

    def _next(self) -> None:
        while self._waiting and self._has_room(self._waiting[0][0]):
            size_bytes, future = self._waiting.popleft()
            self._carried_bytes += size_bytes
            future.set_result(None)

    def _has_room(self, size_bytes: int) -> bool:
        # One that is larger than all there may be goes alone.
        return not self._carried_bytes or self._carried_bytes + size_bytes <= self._limit_bytes
