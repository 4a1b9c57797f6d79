"""The end of open watches whose caller has lost the right to them, or whose credential has ended. Knows no gRPC.

When the access changes, each open watch is decided anew, as if it were called now: a little at a time,
so that the event loop serves other calls in between. Until that is done, a watch decides for itself
before it sends a message: none is sent on an access that holds no more.

Other streams are not decided anew: those of the health service are public, and each request of
reflection counts as a call of its own.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Caller, HiddenName, Role
from lamina_server.domain.errors import Reason, ServerError, UnavailableError
from lamina_server.rpc.decision import Decision
from lamina_server.rpc.permissions import not_allowed
from lamina_server.rpc.watch.in_flight import Send

DECIDED_AT_ONCE = 100
"""Watches decided anew before the event loop serves other calls: this takes less than a millisecond."""


class Revocation:
    """Decides open watches anew. Lives on the event loop.

    now_us  the clock by which credentials end, in microseconds since 1970
    """

    def __init__(self, access: LiveAccess, *, now_us: Callable[[], int]) -> None:
        self._access = access
        self._now_us = now_us
        self._open: dict[OpenWatch, None] = {}
        self._deciding: asyncio.Task[None] | None = None
        access.call_on_swap(self._begin)

    @contextmanager
    def watched(self, decision: Decision, caller: Caller, write: Send) -> Iterator[Send]:
        """Watch over the current task for the duration of the block, which sends its messages by what this yields.

        write  sends a message

        Raises NOT_ALLOWED or BAD_CREDENTIALS in the block when the right is lost, and TOO_SLOW when there is more to
        see than before, or when the right to reveal is lost.
        """
        if self._access.is_open:
            yield write
            return
        watch = OpenWatch(decision, caller, write)
        self._open[watch] = None
        timer = self._end_at(watch, caller.expires_us)
        try:
            yield watch.send
        except asyncio.CancelledError:
            watch.raise_reason()
            raise
        finally:
            del self._open[watch]
            watch.is_over = True
            if timer is not None:
                timer.cancel()

    def _end_at(self, watch: "OpenWatch", expires_us: int | None) -> asyncio.TimerHandle | None:
        if expires_us is None:
            return None
        seconds = (expires_us - self._now_us()) / 1_000_000
        return asyncio.get_running_loop().call_later(max(seconds, 0), watch.end, _expired())

    def _begin(self) -> None:
        if self._open and (self._deciding is None or self._deciding.done()):
            self._deciding = asyncio.get_running_loop().create_task(self._decide_all())

    async def _decide_all(self) -> None:
        """Decide all open watches that were decided on an older access; again, if it has changed meanwhile."""
        while stale := [watch for watch in self._open if not watch.is_current]:
            deciding = []
            for first in range(0, len(stale), DECIDED_AT_ONCE):
                some = stale[first : first + DECIDED_AT_ONCE]
                deciding.append(asyncio.gather(*(watch.decide_or_end() for watch in some)))
                await asyncio.sleep(0)  # most are decided now; others may wait until a provider has sent its keys
            await asyncio.gather(*deciding)


class OpenWatch:
    """One open watch: its decision, and how it ends. Make it in the task that runs it.

    is_over  whether it has ended, so that nobody cancels its task any more
    """

    def __init__(self, decision: Decision, caller: Caller, write: Send) -> None:
        self._decision = decision
        self._caller = caller
        self._write = write
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._reason: Exception | None = None
        self.is_over = False

    @property
    def is_current(self) -> bool:
        """Return whether it was decided on the access that holds now, or ends anyway."""
        return self._decision.is_current or self._reason is not None or self.is_over

    async def send(self, message: bytes) -> None:
        """Send a message, if the caller may still get it. Raise the error that ends the watch, otherwise."""
        while not self._decision.is_current:
            await self._decide_again()
        await self._write(message)

    async def decide_or_end(self) -> None:
        """Decide anew, and end the watch if its caller may not go on with it."""
        try:
            await self._decide_again()
        except Exception as error:  # noqa: BLE001 - whatever it is, the watch ends, and its caller hears of it
            self.end(error)

    def end(self, reason: Exception) -> None:
        """End the watch with an error."""
        if self._reason is None and not self.is_over:
            self._reason = reason
            self._task.cancel()

    def raise_reason(self) -> None:
        """Raise the error that has ended the watch, unless it was cancelled by others."""
        if self._reason is not None and not self._task.uncancel():
            raise self._reason from None

    async def _decide_again(self) -> None:
        if await self._decision.holds():
            return
        config = self._decision.request.config
        request = await self._decision.decide()
        if request.config != config and isinstance(request.config, HiddenName):
            raise not_allowed(self._caller, Role.READER, config)
        # Clients go on after their cursor, at this server: nothing is wrong with it.
        raise UnavailableError(Reason.TOO_SLOW, "the caller's access has changed; watch again after your cursor")


def _expired() -> ServerError:
    return ServerError(
        Reason.BAD_CREDENTIALS, "the credential has expired: watch again, after your cursor, with a new one"
    )
