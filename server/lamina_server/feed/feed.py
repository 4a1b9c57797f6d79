"""New versions, brought to the watches of this process: a ring of recent versions per config, and its subscribers.

A watch is a cursor, not a queue. It takes from the ring the versions that follow its cursor,
and sleeps when none does; a version wakes only the watches whose keys it changed. A sleeping
watch has missed nothing by definition, so when it wakes its cursor is just before the version
that woke it. The last look at the ring and the start of the sleep happen without an `await`
in between, so no version comes between them.

Worked example: a watch of "db/" sleeps at version 7. Version 8 changes "ui": no watch wakes.
Version 9 changes "db/x": the watch wakes, and learns that it has missed nothing up to 8.

Lives on the event loop alone. Knows no store: watches read there what is not in the ring.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.selection import KeyFilter
from lamina_server.feed.ring import Recent, Ring
from lamina_server.feed.subscribers import Subscriber, Topic, WakeTimers

WAKES_AT_ONCE = 100
"""Subscribers woken before the event loop serves other calls: each of them will write a message."""


class Feed:
    """The rings of all configs. Make it on the event loop.

    limit_bytes          what all rings may hold, by estimate; the oldest version of the config
                         that has been quiet for longest goes first
    message_limit_bytes  a larger version is not kept: watches read it from the store, in parts
    is_shared            whether others write to the database: then only configs with a
                         subscriber are compared with it, so no version of others is kept
    """

    def __init__(self, *, limit_bytes: int, message_limit_bytes: int, is_shared: bool = False) -> None:
        self._limit_bytes = limit_bytes
        self._is_shared = is_shared
        self._message_limit_bytes = message_limit_bytes
        self._held_bytes = 0
        self._timers = WakeTimers()
        self._topics: dict[str, Topic] = {}
        # The rings that hold a version; the one that has been quiet for longest comes first.
        self._filled: OrderedDict[str, Ring] = OrderedDict()
        self._subscriber_counts: dict[str, int] = {}
        self._due: deque[Subscriber] = deque()

    # --- for the watches --------------------------------------------------------------------

    @contextmanager
    def subscribe(self, config: str, wanted: KeyFilter) -> Iterator[Subscriber]:
        """Subscribe to a config for the duration of the block."""
        topic = self._topic(config)
        self._subscriber_counts[config] = self._subscriber_counts.get(config, 0) + 1
        subscriber = Subscriber(topic, wanted, self._timers)
        try:
            yield subscriber
        finally:
            subscriber.leave()
            self._subscriber_counts[config] -= 1
            if not self._subscriber_counts[config]:
                del self._subscriber_counts[config]
            self._forget_if_idle(config)

    def set_head(self, config: str, known: HeadMark | None, head: HeadMark) -> None:
        """Set the head as the store reported it; `known` is what the feed knew when the store was asked."""
        topic = self._topic(config)
        if topic.ring is not None and topic.ring.last == known:
            if head.number < known.number or (head.number == known.number and head != known):
                self.reset(config)
            else:
                self.skip_to(config, head)
        if topic.ring is None:
            topic.ring = Ring(head)

    def prepend(self, config: str, ring: Ring, before: HeadMark, older: Sequence[EncodedChanges]) -> None:
        """Add the versions that follow `before` to the front of a ring, as far as it lacks them.

        Nothing happens if they do not join the versions there, or if the config has another ring by now.
        """
        if self._topic(config).ring is not ring or before.number >= ring.before.number or not self.has_room(ring):
            return
        missing = [made for made in older if made.version.number <= ring.before.number]
        is_whole = before.number + len(missing) == ring.before.number
        is_same = not ring.before.hash or (missing and missing[-1].version.hash == ring.before.hash)
        if not is_whole or not is_same or any(map(self._is_too_large, missing)):
            return
        held_bytes = ring.size_bytes
        ring.prepend(before, [Recent(made) for made in missing])
        self._update_size(config, ring, held_bytes)

    def has_room(self, ring: Ring) -> bool:
        """Return whether older versions in front of a ring would stay, and not go at once to make room."""
        return 2 * ring.size_bytes < self._limit_bytes

    # --- for the committer, and for news from other servers -----------------------------------

    def watched(self) -> Collection[str]:
        """Return the configs that have a subscriber, as a live view."""
        return self._subscriber_counts.keys()

    def last(self, config: str) -> HeadMark | None:
        """Return the newest version that is known here; None if none is."""
        topic = self._topics.get(config)
        return topic.ring.last if topic is not None and topic.ring is not None else None

    def append(self, made: EncodedChanges) -> None:
        """Add a config's next version, which must be durable. A version that is known already is ignored."""
        config, number = made.version.config, made.version.number
        if self._is_shared and config not in self._subscriber_counts:
            return
        self.check_head(config, HeadMark(number, made.version.hash))
        topic = self._topic(config)
        if topic.ring is None:
            topic.ring = Ring(HeadMark(number - 1, b""))
        ring = topic.ring
        if number <= ring.last.number:
            return
        if number > ring.last.number + 1:
            self.skip_to(config, HeadMark(number - 1, b""))
        position, held_bytes = ring.last, ring.size_bytes
        if self._is_too_large(made):
            ring.skip_to(HeadMark(number, made.version.hash))
            topic.unreachable_through = number - 1
        else:
            ring.append(Recent(made))
        self._wake(topic.matching(made.entries), position)
        self._update_size(config, ring, held_bytes)
        self._forget_if_idle(config)

    def check_head(self, config: str, mark: HeadMark) -> None:
        """Compare a version of the store with what is known under its number; reset the config if they differ."""
        topic = self._topics.get(config)
        if topic is not None and topic.ring is not None:
            known = topic.ring.hash_of(mark.number)
            if known and known != mark.hash:
                self.reset(config)

    def skip_to(self, config: str, mark: HeadMark) -> None:
        """Note that the store has versions up to this one, without their changes: watches read them there.

        The version need not be the head. Nothing happens if no version of the config is known.
        """
        topic = self._topics.get(config)
        ring = None if topic is None else topic.ring
        if topic is not None and ring is not None and mark.number > ring.last.number:
            position, held_bytes = ring.last, ring.size_bytes
            ring.skip_to(mark)
            self._update_size(config, ring, held_bytes)
            self._wake(topic.all(), position)
            self._forget_if_idle(config)

    def reset(self, config: str) -> None:
        """Start a new epoch of a config: watches must check their cursors against the store."""
        topic = self._topic(config)
        topic.next_epoch()
        if topic.ring is not None:
            self._held_bytes -= topic.ring.size_bytes
            self._filled.pop(config, None)
            topic.ring = None
        self._wake(topic.all(), NO_VERSION)
        self._forget_if_idle(config)

    def wake_all(self) -> None:
        """Wake every subscriber, because the server is stopping."""
        for topic in self._topics.values():
            if topic.ring is not None:
                self._wake(topic.all(), topic.ring.last)

    # --- for those who measure, on any thread ---------------------------------------------------

    @property
    def held_bytes(self) -> int:
        """Return what all rings hold, by estimate."""
        return self._held_bytes

    @property
    def held_versions(self) -> int:
        """Return how many versions all rings hold."""
        return sum(ring.held_versions for ring in list(self._filled.values()))

    # --- waking -----------------------------------------------------------------------------

    def _wake(self, subscribers: Iterable[Subscriber], position: HeadMark) -> None:
        is_waking = bool(self._due)
        self._due.extend([subscriber for subscriber in subscribers if subscriber.mark_due(position)])
        if self._due and not is_waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(WAKES_AT_ONCE, len(self._due))):
            self._due.popleft().wake()
        if self._due:
            asyncio.get_running_loop().call_soon(self._wake_some)

    # --- the budget -------------------------------------------------------------------------

    def _topic(self, config: str) -> Topic:
        if config not in self._topics:
            self._topics[config] = Topic()
        return self._topics[config]

    def _is_too_large(self, made: EncodedChanges) -> bool:
        return made.size_bytes + len(made.header) > self._message_limit_bytes

    def _update_size(self, config: str, ring: Ring, before_bytes: int) -> None:
        """Count the bytes by which a ring has changed, and make room."""
        self._held_bytes += ring.size_bytes - before_bytes
        if ring.is_empty:
            self._filled.pop(config, None)
        else:
            self._filled[config] = ring
            self._filled.move_to_end(config)
        while self._held_bytes > self._limit_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        """Drop the oldest version of the config that has been quiet for longest."""
        config, ring = next(iter(self._filled.items()))
        self._held_bytes -= ring.size_bytes
        ring.drop_first()
        self._held_bytes += ring.size_bytes
        if ring.is_empty:
            del self._filled[config]
            self._forget_if_idle(config)

    def _forget_if_idle(self, config: str) -> None:
        topic = self._topics.get(config)
        if topic is None or config in self._subscriber_counts:
            return
        if self._is_shared and topic.ring is not None:
            self._held_bytes -= topic.ring.size_bytes
            self._filled.pop(config, None)
        if self._is_shared or topic.ring is None or topic.ring.is_empty:
            del self._topics[config]
