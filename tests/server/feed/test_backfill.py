"""Watches that begin while older versions are added to the front of a ring."""

import asyncio
from typing import Any

from lamina_server.domain.records import HeadMark
from lamina_server.domain.selection import EVERYTHING
from lamina_server.feed.backfill import Backfill
from lamina_server.feed.feed import Feed
from lamina_server.feed.ring import Ring

CONFIG = "shop/prod"
LOOKS = 100
"""More looks at the ring mean a busy loop, in which nothing else on the event loop has its turn."""


class CountingFeed(Feed):
    """A feed that fails instead of being asked for ever."""

    looks = 0

    def has_room(self, ring: Ring) -> bool:
        self.looks += 1
        assert self.looks < LOOKS, "a busy loop: it waits for a task that is over"
        return super().has_room(ring)


async def test_a_watch_that_comes_just_when_a_reading_has_ended_does_not_wait_for_it() -> None:
    """P15: the task is done, but its callback has not run yet. A server with many watches once hung like this."""
    feed = CountingFeed(limit_bytes=1 << 20, message_limit_bytes=1 << 20)
    feed.set_head(CONFIG, None, HeadMark(50, b"h"))
    coming: list[asyncio.Task[None]] = []

    class Readers:
        async def read(self, _: Any) -> None:
            if not coming:
                # Its first step runs after the end of the reading, and before the callback of that end.
                coming.append(asyncio.create_task(backfill.extend_to(CONFIG, other, 20)))

    readers: Any = Readers()
    codec: Any = None
    backfill = Backfill(feed, readers, codec, asyncio.Semaphore(2))
    with feed.subscribe(CONFIG, EVERYTHING) as one, feed.subscribe(CONFIG, EVERYTHING) as other:
        await backfill.extend_to(CONFIG, one, 10)
        await coming[0]
        assert other.unreachable_through == 20
