"""New versions, told to the watchers of this process.

A watcher reads the store, which is the truth; the feed only tells it when reading again
is worth the while. Lives on the event loop alone. Example: a watcher has seen version 7
and waits `beyond=7`; when version 8 was announced between its last look at the store and
the wait, the wait returns 8 at once, so no wake-up is ever lost.
"""

import asyncio

from lamina_server.versions import Version


class Feed:
    """The newest version that was announced of each config, and who waits for a newer one."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}

    def announce(self, version: Version) -> None:
        """Wake everybody who waits for this config. The version must be durable."""
        config = version.config
        self._newest[config] = max(version.number, self._newest.get(config, 0))
        for waiting in self._waiting.pop(config, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self, config: str, beyond: int) -> int:
        """Return the newest announced version of a config, as soon as there is one after `beyond`."""
        while (newest := self._newest.get(config, 0)) <= beyond:
            future = asyncio.get_running_loop().create_future()
            waiting = self._waiting.setdefault(config, set())
            waiting.add(future)
            try:
                await future
            finally:
                waiting.discard(future)
                if not waiting and self._waiting.get(config) is waiting:
                    del self._waiting[config]
        return newest
