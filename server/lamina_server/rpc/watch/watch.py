"""The watch: a cursor that follows a config. Knows no message and no database.

It takes what follows its cursor from the ring of recent versions, and from the store what
is not there any more. Nothing is queued for it: so nothing can be missed, doubled or out
of order, and a slow watcher costs no memory. It is simply behind, and waits for its last
message to be taken before it looks again.
"""

import asyncio
from contextlib import ExitStack
from typing import NoReturn

from lamina_server.domain.errors import CursorError, Reason, UnavailableError
from lamina_server.domain.records import NO_VERSION, HeadMark, Version
from lamina_server.feed.ring import Ring
from lamina_server.feed.subscribers import Subscriber
from lamina_server.rpc.watch.batches import ReplayKey, ReplayPoint
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.rpc.watch.messages import message_of
from lamina_server.wire import encode
from lamina_server.wire.requests import Cursor, WatchRequest

_TICK_SECONDS = 0.25
"""Bookmarks are due at such moments: a few dozen together cost half of what each would alone, and hold up nobody."""
_LOOKED_THROUGH_VERSIONS = 1_000
"""Versions of the ring that a watch looks through at once: then others have their turn."""


class Watch:
    """One watch, from its first message to its end. Make it in the task that runs it; `end` is closed after its call.

    What is done for each message is written out: a thousand watches do it for one commit.
    """

    def __init__(
        self, request: WatchRequest, rooms: WatchContext, follower: Subscriber, send: Send, end: ExitStack
    ) -> None:
        self._request = request
        self._rooms = rooms
        self._follower = follower
        self._write = send
        self._end_of_call = end
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._past = follower.past
        # The cursor, and where the version after it is told in parts, the last key that was, and that version's hash.
        self._number, self._hash, self._key, self._key_hash = 0, b"", "", b""
        self._bookmarked: int | None = None
        self._bookmark_at = 0.0
        self._is_live = False

    async def run(self) -> NoReturn:
        """Tell everything after the cursor, then each new version, until cancelled, too slow or DRAINING."""
        await self._begin()
        while True:
            if self._rooms.draining.begun:
                await self._end()
            if self._follower.past != self._past or self._follower.ring is None:
                await self._check_place()
            elif self._loop.time() >= self._bookmark_at and not self._key:
                await self._bookmark_again()
            else:
                await self._go_on(self._follower.ring)

    # --- where it stands --------------------------------------------------------------------

    async def _begin(self) -> None:
        after = self._request.after
        await self._find_place(after)
        # At a moment of its own, and then regularly whatever is sent in between: thousands that began together, or
        # were told of the same version, are not bookmarked together. Nobody waits for one longer than that.
        now, interval = self._loop.time(), self._request.bookmark_interval_seconds
        self._bookmark_at = max(_before(now + interval * (1 + self._rooms.chance()) / 2), now)
        if after is None:
            await self._bookmark()

    async def _check_place(self) -> None:
        """Go on in another past, if the cursor is part of that, too."""
        if self._key:
            text = "the database lost versions while one was being told; watch on after your cursor"
            raise UnavailableError(Reason.STORE_UNAVAILABLE, text)
        await self._find_place(Cursor(self._number, self._hash))

    async def _find_place(self, after: Cursor | None) -> None:
        """Find out where the head is, and check that a cursor is part of this database's past; None: the head."""
        self._past = self._follower.past
        head = await self._find_head()
        if after is None:
            self._stand(head.number, head.hash)
            return
        if after.number > head.number:
            raise CursorError.ahead(self._request.config, after.number, head)
        found = await self._hash_of(after.number, head)
        if after.hash and after.hash != found:
            raise CursorError.forked(self._request.config, after.number, head)
        self._stand(after.number, found)

    async def _find_head(self) -> HeadMark:
        config, feed = self._request.config, self._rooms.feed
        known = feed.last(config)
        if known is not None and not self._rooms.heads.is_shared:
            return known
        head = await self._rooms.heads.mark(config) or NO_VERSION
        feed.begin(config, known, head)
        return head

    async def _hash_of(self, number: int, head: HeadMark) -> bytes:
        if number in {0, head.number}:
            return head.hash if number else b""
        config = self._request.config
        await self._rooms.refilling.reach(config, self._follower, number)
        ring = self._follower.ring
        if ring is not None and (found := ring.hash_of(number)):
            return found
        versions = await self._rooms.readers.read(lambda reading: reading.versions(config, [number]))
        if number not in versions:  # the head has gone back meanwhile
            raise CursorError.ahead(config, number, head)
        version: Version = versions[number]
        return version.hash

    def _stand(self, number: int, hash_: bytes) -> None:
        self._number, self._hash, self._key, self._key_hash = number, hash_, "", b""

    # --- what follows -----------------------------------------------------------------------

    async def _go_on(self, ring: Ring) -> None:
        """Send what follows, from wherever it is; where nothing does, sleep."""
        number = self._number
        if not ring.reaches(number) and not self._key:
            await self._rooms.refilling.reach(self._request.config, self._follower, number)
            if self._follower.ring is not ring:
                return
        if self._key or not ring.reaches(number):
            await self._replay(ring.last.number)
        elif ring.last.number > number:
            known = ring.hash_of(number)
            if known and self._hash and known != self._hash:
                raise CursorError.forked(self._request.config, number, ring.last)
            await self._take(ring)
        elif not self._is_live:
            # It has reached the head: so whoever follows it knows that what came before was the past.
            self._is_live = True
            if self._bookmarked != number:
                await self._bookmark()
        else:
            # Without an `await` since the look at the ring.
            position = await self._follower.sleep(self._bookmark_at)
            if position.number > number:
                self._stand(position.number, position.hash)

    async def _take(self, ring: Ring) -> None:
        """Send what follows in the ring, several versions together where several are there."""
        messages: list[bytes] = []
        size_bytes, limit_bytes = 0, self._rooms.flight.message_limit_bytes
        for recent in ring.after(self._number, _LOOKED_THROUGH_VERSIONS):
            message = message_of(recent, self._follower)
            if message:
                size_bytes += len(message)
                if messages and size_bytes > limit_bytes:
                    break
                messages.append(message)
            self._stand(recent.mark.number, recent.mark.hash)
        if messages:
            await self._send(messages[0] if len(messages) == 1 else b"".join(messages))
        else:
            await asyncio.sleep(0)  # others have their turn

    async def _replay(self, through: int) -> None:
        """Send what is not in the ring any more."""
        request, limit_bytes = self._request, self._rooms.flight.message_limit_bytes
        place, cursor = ReplayPoint(self._number + 1, self._key, self._key_hash), Cursor(self._number, self._hash)
        where = ReplayKey(request.config, request.wanted, place, cursor, self._past, limit_bytes)
        batch = await self._rooms.replaying.read(where, through)
        for message in batch.messages:
            await self._send(message)
        self._stand(batch.cursor.number, batch.cursor.hash)
        self._key, self._key_hash = batch.place.key, batch.place.hash

    # --- what is sent -----------------------------------------------------------------------

    async def _send(self, message: bytes) -> None:
        """Wait for a slow watcher, and for that one alone."""
        await self._rooms.flight.carry(message, self._write, self._task, self._end_of_call)

    async def _bookmark_again(self) -> None:
        interval = self._request.bookmark_interval_seconds
        late = self._loop.time() - self._bookmark_at
        self._bookmark_at = _before(self._bookmark_at + interval + late // interval * interval)
        await self._bookmark()

    async def _bookmark(self) -> None:
        await self._send(encode.bookmark(Cursor(self._number, self._hash)))
        self._bookmarked = self._number

    async def _end(self) -> NoReturn:
        if not self._key:
            await self._bookmark()
        raise UnavailableError(Reason.DRAINING, "the server is stopping; watch on after your cursor, at another one")


def _before(seconds: float) -> float:
    """Return the last moment at which bookmarks are due, not after a time of the event loop."""
    return seconds // _TICK_SECONDS * _TICK_SECONDS
