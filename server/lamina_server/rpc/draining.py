"""The calls under way, and their end when the server stops. Knows nothing of their contents.

gRPC's own stop does not wait for the handlers that it cuts off, so they are counted here.
"""

import asyncio

from lamina_server.domain.errors import Reason, UnavailableError


class Draining:
    """Whether the server is stopping, and how many calls are under way. Lives on the event loop alone."""

    def __init__(self) -> None:
        self._begun = False
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def begun(self) -> bool:
        """Return whether new writes and watches are refused."""
        return self._begun

    @property
    def calls(self) -> int:
        """Return how many calls are under way, watches among them."""
        return self._calls

    def begin(self) -> None:
        """Refuse new writes and watches from now on."""
        self._begun = True

    def refuse(self) -> None:
        """Raise DRAINING if the server is stopping."""
        if self._begun:
            raise UnavailableError(Reason.DRAINING, "the server is stopping; nothing was written", wrote_nothing=True)

    def __enter__(self) -> None:
        """Count a call as under way for the duration of the block."""
        self._calls += 1
        self._idle.clear()

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no call is under way."""
        await self._idle.wait()
