"""Watches that come while older versions are being put back into a ring."""

import asyncio
from typing import Any

from lamina_server.domain.records import HeadMark
from lamina_server.domain.selection import KeyFilter
from lamina_server.feed.backfill import Backfill
from lamina_server.feed.feed import Feed
from lamina_server.feed.ring import Ring
from lamina_server.feed.subscribers import Subscriber

CONFIG = "shop/prod"
LOOKS = 100
"""More looks at the ring mean a busy loop, in which nothing else on the event loop has its turn."""


class Counting(Subscriber):
    """A subscriber that fails instead of looking for ever."""

    looks = 0

    @property
    def ring(self) -> Ring | None:
        self.looks += 1
        assert self.looks < LOOKS, "a busy loop: it waits for a task that is over"
        return super().ring


async def test_a_watch_that_comes_just_when_a_reading_has_ended_does_not_wait_for_it() -> None:
    """P15: the task is over, and its callback is still to come. A server with many watches once hung like this."""
    feed = Feed(limit_bytes=1 << 20, message_limit_bytes=1 << 20)
    feed.set_head(CONFIG, None, HeadMark(50, b"h"))
    one, other = (Counting(feed._topic(CONFIG), KeyFilter((), ()), feed._timers) for _ in range(2))
    coming: list[asyncio.Task[None]] = []

    class Readers:
        async def read(self, _: Any) -> None:
            if not coming:
                # Its first step comes after the end of the reading, and before what is called at that end.
                coming.append(asyncio.create_task(backfill.extend_to(CONFIG, other, 20)))

    readers: Any = Readers()
    codec: Any = None
    backfill = Backfill(feed, readers, codec, asyncio.Semaphore(2))
    await backfill.extend_to(CONFIG, one, 10)
    await coming[0]
    assert other.unreachable_through == 20
