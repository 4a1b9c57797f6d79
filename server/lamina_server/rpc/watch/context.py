"""What all watches of a server share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lamina_server.cache.heads import Heads
from lamina_server.feed.backfill import Backfill
from lamina_server.feed.feed import Feed
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.watch.in_flight import SendBudget
from lamina_server.rpc.watch.replay import ReplayCache
from lamina_server.store.readers import Readers

if TYPE_CHECKING:
    from lamina_server.rpc.watch.watch import Watch


@dataclass(frozen=True, slots=True)
class WatchContext:
    """What a watch needs besides its request.

    chance     returns a random number in [0, 1)
    under_way  the watches themselves
    """

    heads: Heads
    readers: Readers
    feed: Feed
    backfill: Backfill
    replays: ReplayCache
    in_flight: SendBudget
    draining: Draining
    chance: Callable[[], float]
    under_way: "set[Watch]" = field(default_factory=set)
