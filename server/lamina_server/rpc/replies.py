"""The answers that their callers have not taken yet: they lie in this process, however slowly somebody reads.

gRPC takes an answer at once, and keeps it until the caller has room for it. So the bytes are counted until the call has
ended. Who has too many, or comes when all have too many, waits before the answer is made, and is refused after a
while. Who has none always gets one: so callers that take nothing hold up no others.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from lamina_server.domain.errors import RateError

FREE_BYTES: Final = 4 * 1024
"""An answer up to this size is not counted: its call alone takes more."""
WAIT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Holder:
    size_bytes: int = 0
    waiting: "deque[tuple[int, asyncio.Future[None]]]" = field(default_factory=deque)


class ReplyBudget:
    """Counts the answers in flight. Lives on the event loop.

    limit_bytes  of all answers; a holder (a principal, or a machine) has at most half of it
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._share_bytes = max(1, limit_bytes // 2)
        self._size_bytes = 0
        self._holders: dict[str, _Holder] = {}

    @property
    def size_bytes(self) -> int:
        """Return the size of all answers in flight that are counted."""
        return self._size_bytes

    def hold(self, holder: str, size_bytes: int) -> bool:
        """Count an answer until it is released, if there is room; return whether there is."""
        found = self._holders.get(holder)
        if found is not None and (found.waiting or not self._has_room(found, size_bytes)):
            return False
        self._take(self._holders.setdefault(holder, _Holder()), size_bytes)
        return True

    def hold_anyway(self, holder: str, size_bytes: int) -> None:
        """Count an answer that cannot be made again: that of a write."""
        self._take(self._holders.setdefault(holder, _Holder()), size_bytes)

    async def wait_for_room(self, holder: str) -> None:
        """Wait until a holder has taken enough for another call. Raise RateError if it has not for WAIT_SECONDS."""
        found = self._holders.get(holder)
        if found is not None and not self._has_room(found, 1):
            await self.wait(holder, 0)

    async def wait(self, holder: str, size_bytes: int) -> None:
        """Wait for room for an answer, in order, and count it. Raise RateError if there is none for WAIT_SECONDS."""
        found = self._holders.setdefault(holder, _Holder())
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found.waiting.append((size_bytes, admitted))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await admitted
        except BaseException as error:
            if admitted.done() and not admitted.cancelled():
                self.release(holder, size_bytes)
            else:
                found.waiting.remove((size_bytes, admitted))
                self._admit(holder, found)
            if isinstance(error, TimeoutError):
                what = "bytes of answers that the caller has not taken"
                raise RateError(what, limit=self._share_bytes, unit="bytes", retry_seconds=_RETRY_SECONDS) from None
            raise

    def release(self, holder: str, size_bytes: int) -> None:
        """Forget an answer whose call has ended."""
        found = self._holders.setdefault(holder, _Holder())
        found.size_bytes -= size_bytes
        was_full, self._size_bytes = self._size_bytes > self._limit_bytes // 2, self._size_bytes - size_bytes
        others = list(self._holders.items()) if was_full else [(holder, found)]
        for name, each in others:
            self._admit(name, each)

    def _admit(self, holder: str, found: _Holder) -> None:
        while found.waiting and (not found.size_bytes or self._has_room(found, found.waiting[0][0])):
            size_bytes, admitted = found.waiting.popleft()
            if not admitted.done():
                self._take(found, size_bytes)
                admitted.set_result(None)
        if not found.waiting and not found.size_bytes:
            self._holders.pop(holder, None)

    def _has_room(self, found: _Holder, size_bytes: int) -> bool:
        return found.size_bytes + size_bytes <= self._share_bytes and self._size_bytes + size_bytes <= self._limit_bytes

    def _take(self, found: _Holder, size_bytes: int) -> None:
        found.size_bytes += size_bytes
        self._size_bytes += size_bytes
