"""The watchers of a config: what each wants, how it sleeps, and who is woken by which keys, or by the clock.

Lives on the event loop alone. Knows no version but its mark: what happened is the feed's to say.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.selection import KeyFilter
from lamina_server.feed.ring import Ring

LOOKED_UP_PREFIXES = 50_000
"""So many look-ups find out whom a commit concerns, in some milliseconds; beyond, all who want prefixes are woken."""
_CLOCK_SECONDS = 1e-6
"""An event loop calls back a moment early, as fine as its clock."""

_pasts = itertools.count()
"""A number for each past that was ever known of a config: two that are equal are the same."""


class Subscriber:
    """One watcher: what it wants, and how it sleeps."""

    __slots__ = (
        *("_alarm_at", "_alarms", "_followed", "_future", "_is_listed", "_loop", "_position", "_until"),
        *("keys", "prefixes", "prefixes_by_length"),
    )

    def __init__(self, followed: "Topic", wanted: KeyFilter, alarms: "WakeTimers") -> None:
        self.keys = frozenset(wanted.keys)
        self.prefixes = wanted.prefixes
        self.prefixes_by_length = {
            length: frozenset(group) for length, group in itertools.groupby(sorted(wanted.prefixes, key=len), key=len)
        }
        self._followed = followed
        self._future: asyncio.Future[HeadMark] | None = None
        self._position: HeadMark | None = None
        self._is_listed = False
        self._loop = asyncio.get_running_loop()
        self._until = 0.0
        self._alarms = alarms
        self._alarm_at = 0.0

    @property
    def ring(self) -> Ring | None:
        """The recent versions; none until somebody has found out which version is the head, or after a fork."""
        return self._followed.ring

    @property
    def unreachable_through(self) -> int:
        """The newest version to which the ring could not be brought back; -1 where there is none."""
        return self._followed.unreachable_through

    @unreachable_through.setter
    def unreachable_through(self, number: int) -> None:
        self._followed.unreachable_through = number

    @property
    def past(self) -> int:
        """Which past is known here: another number means that it was found to be another, and cursors are checked."""
        return self._followed.past

    async def sleep(self, until: float) -> HeadMark:
        """Sleep until a version comes that is wanted, or at most until a time of the event loop.

        Returns how far nothing was missed. Nothing may be awaited between the last look at
        the ring and this call.
        """
        if not self._is_listed:
            self._followed.list(self)
            self._is_listed = True
        self._future = self._loop.create_future()
        self._position = None
        self._until = until
        if not self._alarm_at:
            self._set_alarm()
        try:
            return await self._future
        finally:
            self._future = None

    def leave(self) -> None:
        """Sleep no more."""
        if self._alarm_at:
            self._alarms.take_back(self._alarm_at, self)
        if self._is_listed:
            self._followed.unlist(self)

    def mark_due(self, position: HeadMark) -> bool:
        """Decide that a sleeper is to be woken, having missed nothing up to a version; `wake` it soon."""
        if self._future is None or self._future.done() or self._position is not None:
            return False
        self._position = position
        return True

    def wake(self) -> None:
        """End the sleep, unless it has ended."""
        if self._future is not None and not self._future.done() and self._position is not None:
            self._future.set_result(self._position)

    def _set_alarm(self) -> None:
        self._alarm_at = self._until
        self._alarms.set(self._until, self)

    def ring_alarm(self) -> None:
        """Hear that it is time. Whoever was woken before does not take its alarm back: that would cost more."""
        self._alarm_at = 0.0
        if self._future is None:
            return
        if self._alarms.time() < self._until:
            self._set_alarm()
            return
        ring = self.ring
        # Whoever was roused already, and not woken yet, keeps its place: what came since it has missed.
        self.mark_due(NO_VERSION if ring is None else ring.last)
        self.wake()


class Topic:
    """One config: its ring, and its watchers by what they want."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.next_epoch()
        self._all: dict[Subscriber, None] = {}
        self._by_key: dict[str, dict[Subscriber, None]] = {}
        self._by_prefix: dict[str, dict[Subscriber, None]] = {}
        self._prefix_lengths: Counter[int] = Counter()

    def next_epoch(self) -> None:
        """Know of another past, of which nothing else is known yet."""
        self.past = next(_pasts)
        self.unreachable_through = -1

    def list(self, follower: Subscriber) -> None:
        """Remember who is to be woken for what."""
        if not follower.keys and not follower.prefixes:
            self._all[follower] = None
        for key in follower.keys:
            self._by_key.setdefault(key, {})[follower] = None
        for prefix in follower.prefixes:
            self._by_prefix.setdefault(prefix, {})[follower] = None
            self._prefix_lengths[len(prefix)] += 1

    def unlist(self, follower: Subscriber) -> None:
        """Forget a watcher."""
        self._all.pop(follower, None)
        for key in follower.keys:
            _discard(self._by_key, key, follower)
        for prefix in follower.prefixes:
            _discard(self._by_prefix, prefix, follower)
            self._prefix_lengths[len(prefix)] -= 1
            if not self._prefix_lengths[len(prefix)]:
                del self._prefix_lengths[len(prefix)]

    def matching(self, keys: Iterable[str]) -> Iterator[Subscriber]:
        """Yield the watchers of any of these keys, some perhaps several times, and perhaps some who want none."""
        keys = list(keys)
        if keys:
            yield from self._all
        if self._by_key:
            for key in keys:
                yield from self._by_key.get(key, ())
        if len(keys) * len(self._prefix_lengths) > LOOKED_UP_PREFIXES:
            for followers in self._by_prefix.values():
                yield from followers
            return
        for length in self._prefix_lengths:
            for prefix in {key[:length] for key in keys}:
                yield from self._by_prefix.get(prefix, ())

    def everybody(self) -> Iterator[Subscriber]:
        """Yield all watchers, some perhaps several times."""
        yield from self._all
        for followers in (*self._by_key.values(), *self._by_prefix.values()):
            yield from followers


class WakeTimers:
    """Who is to be woken when, with one timer for all who have the same time: a timer each costs more than waking."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, dict[Subscriber, None]] = {}

    def time(self) -> float:
        """Return the event loop's time; what is due now has come."""
        return self._loop.time() + _CLOCK_SECONDS

    def set(self, until: float, follower: Subscriber) -> None:
        """Ring a follower's alarm at a time."""
        if until not in self._due:
            self._due[until] = {}
            self._loop.call_at(until, self._ring, until)
        self._due[until][follower] = None

    def take_back(self, until: float, follower: Subscriber) -> None:
        """Do not."""
        self._due.get(until, {}).pop(follower, None)

    def _ring(self, until: float) -> None:
        for follower in self._due.pop(until):
            follower.ring_alarm()


def _discard(listed: dict[str, dict[Subscriber, None]], name: str, follower: Subscriber) -> None:
    followers = listed.get(name)
    if followers is not None:
        followers.pop(follower, None)
        if not followers:
            del listed[name]
