"""The watch: a cursor that follows a config. Knows the store through readings, and no message.

The store is the truth: what a watch tells, it has read there, after the place where it
stands. The feed only tells it when reading again is worth the while, so nothing can be
missed, doubled or out of order, and a slow watcher costs no memory: it is simply behind,
and waits for its last message to be taken before it reads again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

from lamina_server.errors import CursorError, Reason, UnavailableError
from lamina_server.feed import Feed
from lamina_server.hashing import NO_PARENT
from lamina_server.heads import Heads
from lamina_server.readers import Readers
from lamina_server.rpc.changes import Batch, Place, read_batch
from lamina_server.rpc.convert import replies
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.requests import Cursor, WatchRequest
from lamina_server.settings import Settings
from lamina_server.store.contract import Reading

Send = Callable[[bytes], Awaitable[None]]


class Watch:
    """One watch, from its first message to its end."""

    def __init__(
        self,
        request: WatchRequest,
        *,
        heads: Heads,
        readers: Readers,
        feed: Feed,
        draining: Draining,
        settings: Settings,
    ) -> None:
        self._request = request
        self._heads = heads
        self._readers = readers
        self._feed = feed
        self._draining = draining
        self._settings = settings
        self._place = Place(1)
        self._cursor = Cursor(0, NO_PARENT)
        self._told: int | None = None
        self._sent_at = 0.0
        self._is_live = False

    async def run(self, send: Send) -> NoReturn:
        """Tell everything after the cursor, then each new version, until cancelled or DRAINING."""
        self._draining.refuse()
        await self._begin(send)
        while True:
            batch = await self._readers.read(self._read)
            await self._heads.settled(self._request.config)
            await self._tell(batch, send)
            if self._draining.begun:
                await self._end(send)
            if self._is_bookmark_due(caught_up=batch.caught_up):
                await self._bookmark(send)
            if batch.caught_up:
                self._is_live = True
                await self._sleep()

    async def _begin(self, send: Send) -> None:
        self._cursor = await self._readers.read(lambda reading: resolve_cursor(reading, self._request))
        await self._heads.settled(self._request.config)
        self._place = Place(self._cursor.number + 1)
        self._sent_at = _now()
        if self._request.after is None:
            await self._bookmark(send)

    def _read(self, reading: Reading) -> Batch:
        request = self._request
        return read_batch(reading, request, self._place, self._cursor, settings=self._settings)

    async def _tell(self, batch: Batch, send: Send) -> None:
        for message in batch.messages:
            await send(message)  # waits for a slow watcher, and for that one alone
            self._sent_at = _now()
        self._place, self._cursor = batch.place, batch.cursor
        self._told = batch.told or self._told

    def _is_bookmark_due(self, *, caught_up: bool) -> bool:
        """Tell whether the watcher would otherwise not learn for long, or at all, how far it has come."""
        if self._place.within_version:
            return False
        replay_ends_here = caught_up and not self._is_live and self._told != self._cursor.number
        return replay_ends_here or _now() >= self._sent_at + self._request.bookmark_interval_seconds

    async def _bookmark(self, send: Send) -> None:
        await send(replies.bookmark(self._cursor))
        self._told, self._sent_at = self._cursor.number, _now()

    async def _sleep(self) -> None:
        """Wait for a newer version, for the time of the next bookmark, or for the server to stop."""
        try:
            async with asyncio.timeout_at(self._sent_at + self._request.bookmark_interval_seconds) as timeout:
                with self._draining.wakes(timeout):
                    await self._feed.wait(self._request.config, beyond=self._cursor.number)
        except TimeoutError:
            pass  # what it is that ended the wait is looked at after the next reading

    async def _end(self, send: Send) -> NoReturn:
        if not self._place.within_version:
            await self._bookmark(send)
        raise UnavailableError(Reason.DRAINING, "the server is stopping; watch on after your cursor, at another one")


def resolve_cursor(reading: Reading, request: WatchRequest) -> Cursor:
    """Find where a watch begins, and refuse a cursor that is not part of this database's past."""
    config, after = request.config, request.after
    head = reading.head(config)
    if after is None:
        return Cursor(head.number, head.hash) if head else Cursor(0, NO_PARENT)
    if after.number > (head.number if head else 0):
        raise CursorError.ahead(config, after.number, head)
    found = reading.versions(config, [after.number])[after.number].hash if after.number else NO_PARENT
    if after.hash and after.hash != found:
        raise CursorError.forked(config, after.number, head)
    return Cursor(after.number, found)


def _now() -> float:
    return asyncio.get_running_loop().time()
