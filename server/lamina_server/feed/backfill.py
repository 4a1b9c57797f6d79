"""Older versions put back into a ring, for the many watches that resume at once a little behind it.

After a restart no version is in memory, and thousands of watches resume near the head, each
at a slightly different version. The versions in between are read once for all of them. A
watch that is far behind reads by itself (see rpc/watch/replay.py).
"""

import asyncio
from functools import partial

from lamina_server.cache.catch_up import read_encoded_changes
from lamina_server.cache.encoded import Codec, EncodedChanges
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.cache.single_flight import SingleFlight
from lamina_server.domain.errors import HashMismatchError
from lamina_server.domain.records import HeadMark
from lamina_server.feed.feed import Feed
from lamina_server.feed.ring import Ring
from lamina_server.feed.subscribers import Subscriber
from lamina_server.store.contract import Reading
from lamina_server.store.readers import Readers

LEAST_VERSIONS = 64
"""Versions read at least, if they fit: other watches will resume a little further behind."""


class Backfill:
    """Fills rings from the store. Lives on the event loop.

    turns  limits how many reader threads watches may occupy
    """

    def __init__(
        self,
        feed: Feed,
        readers: Readers,
        codec: Codec,
        turns: asyncio.Semaphore,
        *,
        limits: CacheLimits = DEFAULT_LIMITS,
    ) -> None:
        self._feed = feed
        self._readers = readers
        self._codec = codec
        self._turns = turns
        self._limits = limits
        self._flights = SingleFlight()

    async def extend_to(self, config: str, subscriber: Subscriber, number: int) -> None:
        """Extend a config's ring back to a version, if that is near enough and fits."""
        while (ring := subscriber.ring) is not None and self._is_worth_it(ring, subscriber, number):
            await self._flights.join(config, partial(self._fill, config, subscriber, ring, number))

    def _is_worth_it(self, ring: Ring, subscriber: Subscriber, number: int) -> bool:
        is_near = ring.last.number - number <= self._limits.catch_up_versions
        is_possible = number > subscriber.unreachable_through and self._feed.has_room(ring)
        return is_near and is_possible and not ring.reaches(number)

    async def _fill(self, config: str, subscriber: Subscriber, ring: Ring, number: int) -> None:
        through = ring.before.number
        for after in (max(0, min(number, through - LEAST_VERSIONS)), number):
            async with self._turns:
                found = await self._readers.read(partial(self._read, config, after, through))
            if found is not None:
                self._feed.prepend(config, ring, *found)
                break
        if subscriber.ring is ring and not ring.reaches(number):
            subscriber.unreachable_through = number  # too large, or another epoch: do not retry

    def _read(
        self, config: str, after: int, through: int, reading: Reading
    ) -> tuple[HeadMark, list[EncodedChanges]] | None:
        codec, limits = self._codec, self._limits
        try:
            return read_encoded_changes(reading, config, after=after, through=through, codec=codec, limits=limits)
        except HashMismatchError:  # the watches that want the damaged value hear of it when they read it
            return None
