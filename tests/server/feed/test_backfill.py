"""Who comes while older versions are being put back into a ring."""

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
"""More often nobody need look at the ring: it goes round and round, and nothing else on the loop has its turn."""


class Counting(Subscriber):
    """A follower that fails instead of looking for ever."""

    looks = 0

    @property
    def ring(self) -> Ring | None:
        self.looks += 1
        assert self.looks < LOOKS, "it waits for what is over, and lets nobody else have a turn"
        return super().ring


async def test_who_comes_just_when_a_reading_has_ended_does_not_wait_for_it() -> None:
    """P15: the task is over, its callback still to come. A server with a hundred watches hung so after a restart."""
    feed = Feed(limit_bytes=1 << 20, message_limit_bytes=1 << 20)
    feed.begin(CONFIG, None, HeadMark(50, b"h"))
    one, other = (Counting(feed._get(CONFIG), KeyFilter((), ()), feed._alarms) for _ in range(2))
    coming: list[asyncio.Task[None]] = []

    class Readers:
        async def read(self, _: Any) -> None:
            if refilling._under_way and not coming:
                # Its first step comes after the end of the reading, and before what is called at that end.
                coming.append(asyncio.create_task(refilling.reach(CONFIG, other, 20)))

    readers: Any = Readers()
    codec: Any = None
    refilling = Backfill(feed, readers, codec, asyncio.Semaphore(2))
    await refilling.reach(CONFIG, one, 10)
    await coming[0]
    assert other.unreachable_through == 20
