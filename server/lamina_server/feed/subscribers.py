"""The subscribers of a config: what each wants, how it sleeps, and which keys, or which time, wake it.

Lives on the event loop alone. Knows versions by their marks only: the feed knows what happened.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.selection import KeyFilter
from lamina_server.feed.ring import Ring

PREFIX_LOOKUPS_LIMIT = 50_000
"""Look-ups, some milliseconds, to find the subscribers by prefix; a commit that needs more wakes all of them."""
_CLOCK_SECONDS = 1e-6
"""The resolution of an event loop's clock: the loop calls a timer early by up to this."""

_epochs = itertools.count()
"""A number for each epoch that was ever known of a config."""


class Subscriber:
    """One subscriber: what it wants, and how it sleeps."""

    __slots__ = (
        *("_future", "_is_listed", "_loop", "_position", "_timer_at", "_timers", "_topic", "_until"),
        *("keys", "prefixes", "prefixes_by_length"),
    )

    def __init__(self, topic: "Topic", wanted: KeyFilter, timers: "WakeTimers") -> None:
        self.keys = frozenset(wanted.keys)
        self.prefixes = wanted.prefixes
        self.prefixes_by_length = {
            length: frozenset(group) for length, group in itertools.groupby(sorted(wanted.prefixes, key=len), key=len)
        }
        self._topic = topic
        self._future: asyncio.Future[HeadMark] | None = None
        self._position: HeadMark | None = None
        self._is_listed = False
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._timers = timers
        self._timer_at = 0.0

    @property
    def ring(self) -> Ring | None:
        """Return the recent versions; None until `Feed.set_head` was called in this epoch."""
        return self._topic.ring

    @property
    def unreachable_through(self) -> int:
        """Return the newest version to which the ring could not be extended back; -1 if there is none."""
        return self._topic.unreachable_through

    @unreachable_through.setter
    def unreachable_through(self, number: int) -> None:
        self._topic.unreachable_through = number

    @property
    def epoch(self) -> int:
        """Return the number of the config's epoch. When it changes, cursors must be checked against the store."""
        return self._topic.epoch

    @property
    def is_asleep(self) -> bool:
        """Return whether it sleeps, and so has missed nothing."""
        return self._future is not None and not self._future.done()

    async def sleep(self, until: float) -> HeadMark:
        """Sleep until a wanted version comes, or at most until a time of the event loop.

        Return the version up to which nothing was missed. The caller must await nothing
        between its last look at the ring and this call.
        """
        if not self._is_listed:
            self._topic.list(self)
            self._is_listed = True
        self._future = self._loop.create_future()
        self._position = None
        self._until = until
        if not self._timer_at:
            self._set_timer()
        try:
            return await self._future
        finally:
            self._future = None

    def leave(self) -> None:
        """End the subscription."""
        if self._timer_at:
            self._timers.cancel(self._timer_at, self)
        if self._is_listed:
            self._topic.unlist(self)

    def mark_due(self, position: HeadMark) -> bool:
        """Note that a sleeping subscriber has missed nothing up to a version; return whether `wake` must follow."""
        if self._future is None or self._future.done() or self._position is not None:
            return False
        self._position = position
        return True

    def wake(self) -> None:
        """End the sleep, unless it has ended."""
        if self._future is not None and not self._future.done() and self._position is not None:
            self._future.set_result(self._position)

    def _set_timer(self) -> None:
        self._timer_at = self._until
        self._timers.set(self._until, self)

    def on_timer(self) -> None:
        """Wake when the timer fires. A subscriber that was woken earlier leaves its timer running: that costs less."""
        self._timer_at = 0.0
        if self._future is None:
            return
        if self._timers.time() < self._until:
            self._set_timer()
            return
        ring = self.ring
        # A subscriber already marked due keeps its position: it has not seen what came since.
        self.mark_due(NO_VERSION if ring is None else ring.last)
        self.wake()


class Topic:
    """One config: its ring, and its subscribers by what they want."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.next_epoch()
        self._for_all_keys: dict[Subscriber, None] = {}
        self._by_key: dict[str, dict[Subscriber, None]] = {}
        self._by_prefix: dict[str, dict[Subscriber, None]] = {}
        self._prefix_lengths: Counter[int] = Counter()

    def next_epoch(self) -> None:
        """Start a new epoch: nothing is known of it yet."""
        self.epoch = next(_epochs)
        self.unreachable_through = -1

    def list(self, subscriber: Subscriber) -> None:
        """Add a subscriber under the keys and prefixes that it wants."""
        if not subscriber.keys and not subscriber.prefixes:
            self._for_all_keys[subscriber] = None
        for key in subscriber.keys:
            self._by_key.setdefault(key, {})[subscriber] = None
        for prefix in subscriber.prefixes:
            self._by_prefix.setdefault(prefix, {})[subscriber] = None
            self._prefix_lengths[len(prefix)] += 1

    def unlist(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        self._for_all_keys.pop(subscriber, None)
        for key in subscriber.keys:
            _discard(self._by_key, key, subscriber)
        for prefix in subscriber.prefixes:
            _discard(self._by_prefix, prefix, subscriber)
            self._prefix_lengths[len(prefix)] -= 1
            if not self._prefix_lengths[len(prefix)]:
                del self._prefix_lengths[len(prefix)]

    def matching(self, keys: Iterable[str]) -> Iterator[Subscriber]:
        """Yield every subscriber that wants one of these keys: some several times, perhaps with some that do not."""
        keys = list(keys)
        if keys:
            yield from self._for_all_keys
        if self._by_key:
            for key in keys:
                yield from self._by_key.get(key, ())
        if len(keys) * len(self._prefix_lengths) > PREFIX_LOOKUPS_LIMIT:
            for subscribers in self._by_prefix.values():
                yield from subscribers
            return
        for length in self._prefix_lengths:
            for prefix in {key[:length] for key in keys}:
                yield from self._by_prefix.get(prefix, ())

    def all(self) -> Iterator[Subscriber]:
        """Yield every subscriber, some several times."""
        yield from self._for_all_keys
        for subscribers in (*self._by_key.values(), *self._by_prefix.values()):
            yield from subscribers


class WakeTimers:
    """When to wake which subscribers. All that have the same time share a timer: one each costs more than waking."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, dict[Subscriber, None]] = {}

    def time(self) -> float:
        """Return the event loop's time, rounded up: a timer that was called is due."""
        return self._loop.time() + _CLOCK_SECONDS

    def set(self, until: float, subscriber: Subscriber) -> None:
        """Call a subscriber's `on_timer` at a time."""
        if until not in self._due:
            self._due[until] = {}
            self._loop.call_at(until, self._fire, until)
        self._due[until][subscriber] = None

    def cancel(self, until: float, subscriber: Subscriber) -> None:
        """Cancel a timer that `set` made."""
        self._due.get(until, {}).pop(subscriber, None)

    def _fire(self, until: float) -> None:
        for subscriber in self._due.pop(until):
            subscriber.on_timer()


def _discard(listed: dict[str, dict[Subscriber, None]], name: str, subscriber: Subscriber) -> None:
    subscribers = listed.get(name)
    if subscribers is not None:
        subscribers.pop(subscriber, None)
        if not subscribers:
            del listed[name]
