"""Older versions put back into a ring, for the many who come back at once and stand a little behind it.

After a restart no version is in memory, and thousands of watches resume from where they
stood: near the head, each at a slightly different place. The versions in between are read
once for all of them. Who is far behind reads by itself (see rpc/replaying.py).
"""

import asyncio
from functools import partial
from typing import Any

from lamina_server.cache import catch_up
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.records import HeadMark
from lamina_server.feed.feed import Feed
from lamina_server.feed.ring import Ring
from lamina_server.feed.subscribers import Subscriber
from lamina_server.store.contract import Reading
from lamina_server.store.readers import Readers

LEAST_VERSIONS = 64
"""So many are read at least, where they fit, because others will stand a little further behind."""


class Backfill:
    """Fills rings from the store. Lives on the event loop."""

    def __init__(self, feed: Feed, readers: Readers, codec: Codec, turns: asyncio.Semaphore) -> None:
        """Take what lets in as many readings for watches as leave some of the readers to others."""
        self._feed = feed
        self._readers = readers
        self._turns = turns
        self._codec = codec
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def reach(self, config: str, follower: Subscriber, number: int) -> None:
        """Bring a config's ring back to a version, if that is near enough and fits."""
        while (ring := follower.ring) is not None and self._is_worth_it(ring, follower, number):
            if config not in self._under_way:
                self._under_way[config] = task = asyncio.create_task(self._fill(config, follower, ring, number))
                task.add_done_callback(_look_at)
            await asyncio.shield(self._under_way[config])

    def _is_worth_it(self, ring: Ring, follower: Subscriber, number: int) -> bool:
        is_near = ring.last.number - number <= catch_up.LIMIT_VERSIONS
        is_possible = number > follower.unreachable_through and self._feed.has_room(ring)
        return is_near and is_possible and not ring.reaches(number)

    async def _fill(self, config: str, follower: Subscriber, ring: Ring, number: int) -> None:
        try:
            through = ring.before.number
            for after in (max(0, min(number, through - LEAST_VERSIONS)), number):
                read = partial(_read_intact, config=config, after=after, through=through, codec=self._codec)
                async with self._turns:
                    found = await self._readers.read(read)
                if found is not None:
                    self._feed.prepend(config, ring, *found)
                    break
            if follower.ring is ring and not ring.reaches(number):
                follower.unreachable_through = number  # too large, or of another past: nobody need try again
        finally:
            # Here, and not when the task is done: who came in between would wait for what has ended, again and again.
            del self._under_way[config]


def _look_at(task: "asyncio.Task[None]") -> None:
    if not task.cancelled():
        task.exception()  # those who waited may all have left


def _read_intact(reading: Reading, **what: Any) -> tuple[HeadMark, list[EncodedChanges]] | None:
    """Read as `between.read_encoded` does; None where a value is damaged: whoever wants that one will be told."""
    try:
        return catch_up.read_encoded(reading, **what)
    except HashMismatchError:
        return None
