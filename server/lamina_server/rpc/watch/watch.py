"""The watch: a cursor that follows a config. Knows no message and no database.

It takes the versions that follow its cursor from the ring of recent versions, and older ones
from the store. No queue is kept for it: so no version is missed, doubled or out of order, and
a slow watch costs no memory. It is simply behind, and waits until its last message was taken
before it looks again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import NoReturn, TypeAlias

from lamina_server.domain.errors import CompactedError, CursorError, Reason, UnavailableError, cursor_lost
from lamina_server.domain.records import NO_VERSION, HeadMark, Version
from lamina_server.feed.ring import Ring
from lamina_server.feed.subscribers import Subscriber
from lamina_server.rpc.rates import NO_LIMITS, Usage
from lamina_server.rpc.watch.batches import ReplayKey, ReplayPoint
from lamina_server.rpc.watch.context import WatchContext
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.rpc.watch.messages import message_of
from lamina_server.store.contract import Reading
from lamina_server.wire import encode
from lamina_server.wire.requests import Cursor, WatchRequest

Reveal: TypeAlias = Callable[[bytes], Awaitable[bytes]]

_TICK_SECONDS = 0.25
"""Bookmarks are due at multiples of this: a few dozen together take half the time that each would alone."""
_RING_LIMIT_VERSIONS = 1_000
"""Versions of the ring that a watch looks through before other calls have their turn."""


class Watch:
    """One watch, from its first message to its end. Make it in the task that runs it; `end` is closed after its call.

    `reveal` returns a message as this caller may see it, with the contents of its secrets or without.

    The code for each message is written out in full, because a thousand watches run it for one commit.
    """

    def __init__(
        self,
        request: WatchRequest,
        context: WatchContext,
        subscriber: Subscriber,
        write: Send,
        end: ExitStack,
        *,
        reveal: Reveal,
        usage: Usage,
    ) -> None:
        self._request = request
        self._config = request.config
        self._heads = context.heads
        self._readers = context.readers
        self._feed = context.feed
        self._backfill = context.backfill
        self._replays = context.replays
        self._in_flight = context.in_flight
        self._draining = context.draining
        self._under_way = context.under_way
        self._chance = context.chance
        self._subscriber = subscriber
        self._write = write
        self._reveal = reveal
        self._usage = usage
        self._end_of_call = end
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._epoch = subscriber.epoch
        # The cursor. While the version after it is sent in parts: the last key that was sent, and that version's hash.
        self._number, self._hash, self._key, self._key_hash = 0, b"", "", b""
        self._bookmarked: int | None = None
        self._bookmark_at = 0.0
        self._is_live = False

    async def run(self) -> NoReturn:
        """Send the versions after the cursor, then each new one, until cancelled, too slow or DRAINING."""
        self._under_way.add(self)
        try:
            await self._begin()
            while True:
                if self._draining.begun:
                    await self._end()
                if self._subscriber.epoch != self._epoch or self._subscriber.ring is None:
                    await self._check_cursor()
                elif self._loop.time() >= self._bookmark_at and not self._key:
                    await self._bookmark_again()
                else:
                    await self._advance(self._subscriber.ring)
        finally:
            self._under_way.discard(self)

    # --- for those who measure, on any thread -----------------------------------------------

    @property
    def state(self) -> str:
        """Return what it does: `replaying` up to the head, `sending` what is new, or `waiting` for it."""
        if not self._is_live:
            return "replaying"
        return "waiting" if self._subscriber.is_asleep else "sending"

    @property
    def lag_versions(self) -> int:
        """Return how many versions it has not looked at. One that waits has looked at all."""
        ring = self._subscriber.ring
        return 0 if ring is None or self._subscriber.is_asleep else max(ring.last.number - self._number, 0)

    # --- the cursor -------------------------------------------------------------------------

    async def _begin(self) -> None:
        after = self._request.after
        await self._set_cursor(after)
        # The first bookmark is at a random time, and the next ones regularly, whatever is sent in between: watches
        # that began together, or got the same version, are not bookmarked together. None waits longer than that.
        now, interval = self._loop.time(), self._request.bookmark_interval_seconds
        self._bookmark_at = max(_before(now + interval * (1 + self._chance()) / 2), now)
        if after is None:
            await self._bookmark()

    async def _check_cursor(self) -> None:
        """Continue in another epoch, if the cursor is part of its history too."""
        if self._key:
            text = "the database lost versions while one of them was being sent; watch again after your cursor"
            raise UnavailableError(Reason.STORE_UNAVAILABLE, text)
        await self._set_cursor(Cursor(self._number, self._hash))

    async def _set_cursor(self, after: Cursor | None) -> None:
        """Find the head, and set the cursor, which must be part of this database's history; None: to the head."""
        self._epoch = self._subscriber.epoch
        head = await self._find_head()
        if after is None:
            self._move_to(head.number, head.hash)
            return
        if after.number > head.number:
            raise CursorError.ahead(self._config, after.number, head)
        found = await self._hash_of(after.number, head)
        if after.hash and after.hash != found:
            raise CursorError.forked(self._config, after.number, head)
        if after.number + 1 < head.oldest:
            raise CompactedError(self._config, after.number + 1, head.oldest)
        self._move_to(after.number, found)

    async def _find_head(self) -> HeadMark:
        known = self._feed.last(self._config)
        if known is not None and not self._heads.is_shared:
            return known
        head = await self._heads.head_mark(self._config) or NO_VERSION
        self._feed.set_head(self._config, known, head)
        return head

    async def _hash_of(self, number: int, head: HeadMark) -> bytes:
        if number in {0, head.number}:
            return head.hash if number else b""
        config = self._config
        await self._backfill.extend_to(config, self._subscriber, number)
        ring = self._subscriber.ring
        if ring is not None and (found := ring.hash_of(number)):
            return found
        version = await self._readers.read(partial(_read_version, config=config, number=number))
        return version.hash

    def _move_to(self, number: int, hash_: bytes) -> None:
        self._number, self._hash, self._key, self._key_hash = number, hash_, "", b""

    # --- the versions after it --------------------------------------------------------------

    async def _advance(self, ring: Ring) -> None:
        """Send what follows the cursor, from the ring or from the store; if nothing does, sleep."""
        number = self._number
        if not ring.reaches(number) and not self._key:
            await self._backfill.extend_to(self._config, self._subscriber, number)
            if self._subscriber.ring is not ring:
                return
        if self._key or not ring.reaches(number):
            await self._replay(ring.last.number)
        elif ring.last.number > number:
            known = ring.hash_of(number)
            if known and self._hash and known != self._hash:
                raise CursorError.forked(self._config, number, ring.last)
            await self._send_recent(ring)
        elif not self._is_live:
            # The watch has reached the head: a bookmark tells the client that what came before was the history.
            self._is_live = True
            if self._bookmarked != number:
                await self._bookmark()
        else:
            # There is no `await` between the look at the ring and this sleep.
            position = await self._subscriber.sleep(self._bookmark_at)
            if position.number > number:
                self._move_to(position.number, position.hash)

    async def _send_recent(self, ring: Ring) -> None:
        """Send what follows in the ring, with several versions in one message if they fit."""
        messages: list[bytes] = []
        size_bytes, limit_bytes = 0, self._in_flight.message_limit_bytes
        for recent in ring.after(self._number, _RING_LIMIT_VERSIONS):
            message = message_of(recent, self._subscriber)
            if message:
                size_bytes += len(message)
                if messages and size_bytes > limit_bytes:
                    break
                messages.append(message)
            self._move_to(recent.mark.number, recent.mark.hash)
        if messages:
            await self._send(messages[0] if len(messages) == 1 else b"".join(messages))
        else:
            await asyncio.sleep(0)  # other calls have their turn

    async def _replay(self, through: int) -> None:
        """Send what follows from the store, because the ring no longer holds it."""
        request, limit_bytes = self._request, self._in_flight.message_limit_bytes
        point, cursor = ReplayPoint(self._number + 1, self._key, self._key_hash), Cursor(self._number, self._hash)
        key = ReplayKey(self._config, request.wanted, point, cursor, self._epoch, limit_bytes)
        batch = await self._replays.read(key, through)
        for message in batch.messages:
            await self._send(message)
        self._move_to(batch.cursor.number, batch.cursor.hash)
        self._key, self._key_hash = batch.point.key, batch.point.hash

    # --- messages ---------------------------------------------------------------------------

    async def _send(self, message: bytes) -> None:
        """Send a message, and wait until it was taken: a slow client holds up its own watch alone."""
        message = await self._reveal(message)
        await self._in_flight.send(message, self._write, self._task, self._end_of_call)
        if self._usage is not NO_LIMITS:
            await self._usage.pace(len(message))

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
        raise UnavailableError(
            Reason.DRAINING, "the server is stopping; watch again after your cursor, at another server"
        )


def _read_version(reading: Reading, config: str, number: int) -> Version:
    found = reading.versions(config, [number]).get(number)
    if found is None:
        raise cursor_lost(config, number, reading.head(config))
    return found


def _before(seconds: float) -> float:
    """Return the last multiple of _TICK_SECONDS that is not after a time of the event loop."""
    return seconds // _TICK_SECONDS * _TICK_SECONDS
