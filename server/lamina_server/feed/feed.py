"""New versions, told to the watchers of this process: a shared ring of recent ones per config, and who sleeps by it.

A watcher is a cursor, not a queue. It takes from the ring what follows its cursor, and
sleeps when nothing does; a version wakes only those whose keys it changed. One asleep has
by definition missed nothing, so on waking it stands just before the version that woke it.
The last look at the ring and the falling asleep happen without an `await` in between, so
no version comes between the two.

Worked example: a watcher of "db/" sleeps at version 7. Version 8 changes "ui": nobody
moves. Version 9 changes "db/x": it wakes, and is told that it has missed nothing up to 8.

Lives on the event loop alone. Knows no store: what is not in the ring, watchers read there.
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
"""So many watchers are woken before the event loop looks at other calls: each will write a message."""


class Feed:
    """The rings of all configs. Make it on the event loop.

    limit_bytes     what all rings may hold, by estimate: of the config that is quiet for
                    longest the oldest version goes first
    message_limit_bytes  a version that takes more is not kept: watchers read it from the
                    store, in parts
    is_shared       whether others write to the database: then only what is watched is
                    compared with it, so nothing is kept of what is not
    """

    def __init__(self, *, limit_bytes: int, message_limit_bytes: int, is_shared: bool = False) -> None:
        self._limit_bytes = limit_bytes
        self._is_shared = is_shared
        self._message_limit_bytes = message_limit_bytes
        self._held_bytes = 0
        self._alarms = WakeTimers()
        self._followed: dict[str, Topic] = {}
        # The rings that hold anything; the one that is quiet for longest comes first.
        self._filled: OrderedDict[str, Ring] = OrderedDict()
        self._watched: dict[str, int] = {}
        self._roused: deque[Subscriber] = deque()

    # --- for the watches --------------------------------------------------------------------

    @contextmanager
    def follow(self, config: str, wanted: KeyFilter) -> Iterator[Subscriber]:
        """Be one of a config's watchers while the block lasts."""
        followed = self._get(config)
        self._watched[config] = self._watched.get(config, 0) + 1
        follower = Subscriber(followed, wanted, self._alarms)
        try:
            yield follower
        finally:
            follower.leave()
            self._watched[config] -= 1
            if not self._watched[config]:
                del self._watched[config]
            self._forget_if_idle(config)

    def begin(self, config: str, known: HeadMark | None, head: HeadMark) -> None:
        """Say what the store's head is, or was a moment ago; `known` is what was known here when that was asked."""
        followed = self._get(config)
        if followed.ring is not None and followed.ring.last == known:
            if head.number < known.number or (head.number == known.number and head != known):
                self.fork(config)
            else:
                self.skip(config, head)
        if followed.ring is None:
            followed.ring = Ring(head)

    def prepend(self, config: str, ring: Ring, before: HeadMark, older: Sequence[EncodedChanges]) -> None:
        """Take in versions that follow `before`, for watchers who stand there, as far as a ring lacks them.

        Where they do not go together with what is there, or the config has another ring by now, nothing happens.
        """
        if self._get(config).ring is not ring or before.number >= ring.before.number or not self.has_room(ring):
            return
        missing = [made for made in older if made.version.number <= ring.before.number]
        is_whole = before.number + len(missing) == ring.before.number
        is_same = not ring.before.hash or (missing and missing[-1].version.hash == ring.before.hash)
        if not is_whole or not is_same or any(map(self._is_too_large, missing)):
            return
        held_bytes = ring.size_bytes
        ring.prepend(before, [Recent(made) for made in missing])
        self._grown(config, ring, held_bytes)

    def has_room(self, ring: Ring) -> bool:
        """Tell whether older versions in front of a ring would stay, and not go at once to make room for newer ones."""
        return 2 * ring.size_bytes < self._limit_bytes

    # --- for the committer, and for news from other servers -----------------------------------

    def watched(self) -> Collection[str]:
        """Return the configs that somebody watches, as of now and later."""
        return self._watched.keys()

    def last(self, config: str) -> HeadMark | None:
        """Return the newest version that is known here."""
        followed = self._followed.get(config)
        return followed.ring.last if followed is not None and followed.ring is not None else None

    def append(self, made: EncodedChanges) -> None:
        """Tell a config's next version, which must be durable. One that is known already is ignored."""
        config, number = made.version.config, made.version.number
        if self._is_shared and config not in self._watched:
            return
        self.compare(config, HeadMark(number, made.version.hash))
        followed = self._get(config)
        if followed.ring is None:
            followed.ring = Ring(HeadMark(number - 1, b""))
        ring = followed.ring
        if number <= ring.last.number:
            return
        if number > ring.last.number + 1:
            self.skip(config, HeadMark(number - 1, b""))
        position, held_bytes = ring.last, ring.size_bytes
        if self._is_too_large(made):
            ring.skip_to(HeadMark(number, made.version.hash))
            followed.unreachable_through = number - 1
        else:
            ring.append(Recent(made))
        self._rouse(followed.matching(made.entries), position)
        self._grown(config, ring, held_bytes)
        self._forget_if_idle(config)

    def compare(self, config: str, mark: HeadMark) -> None:
        """Say what the store holds under a number: where another one is known here, the past is another."""
        followed = self._followed.get(config)
        if followed is not None and followed.ring is not None:
            known = followed.ring.hash_of(mark.number)
            if known and known != mark.hash:
                self.fork(config)

    def skip(self, config: str, mark: HeadMark) -> None:
        """Say that versions up to this one are there, without telling them: watchers read them from the store.

        It need not be the newest: of a config of which nothing is known, it says nothing.
        """
        followed = self._followed.get(config)
        ring = None if followed is None else followed.ring
        if followed is not None and ring is not None and mark.number > ring.last.number:
            position, held_bytes = ring.last, ring.size_bytes
            ring.skip_to(mark)
            self._grown(config, ring, held_bytes)
            self._rouse(followed.everybody(), position)
            self._forget_if_idle(config)

    def fork(self, config: str) -> None:
        """Say that what was known is not the past any more: watchers have to check where they stand."""
        followed = self._get(config)
        followed.next_epoch()
        if followed.ring is not None:
            self._held_bytes -= followed.ring.size_bytes
            self._filled.pop(config, None)
            followed.ring = None
        self._rouse(followed.everybody(), NO_VERSION)
        self._forget_if_idle(config)

    def wake_all(self) -> None:
        """Wake every watcher, to look around: the server is stopping."""
        for followed in self._followed.values():
            if followed.ring is not None:
                self._rouse(followed.everybody(), followed.ring.last)

    # --- waking -----------------------------------------------------------------------------

    def _rouse(self, followers: Iterable[Subscriber], position: HeadMark) -> None:
        is_waking = bool(self._roused)
        self._roused.extend([follower for follower in followers if follower.mark_due(position)])
        if self._roused and not is_waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(WAKES_AT_ONCE, len(self._roused))):
            self._roused.popleft().wake()
        if self._roused:
            asyncio.get_running_loop().call_soon(self._wake_some)

    # --- the budget -------------------------------------------------------------------------

    def _get(self, config: str) -> Topic:
        if config not in self._followed:
            self._followed[config] = Topic()
        return self._followed[config]

    def _is_too_large(self, made: EncodedChanges) -> bool:
        return made.size_bytes + len(made.header) > self._message_limit_bytes

    def _grown(self, config: str, ring: Ring, before_bytes: int) -> None:
        """Count what a ring has grown by, and make room."""
        self._held_bytes += ring.size_bytes - before_bytes
        if ring.is_empty:
            self._filled.pop(config, None)
        else:
            self._filled[config] = ring
            self._filled.move_to_end(config)
        while self._held_bytes > self._limit_bytes:
            self._drop_one()

    def _drop_one(self) -> None:
        """Drop the oldest version of the config that is quiet for longest."""
        config, ring = next(iter(self._filled.items()))
        self._held_bytes -= ring.size_bytes
        ring.drop_first()
        self._held_bytes += ring.size_bytes
        if ring.is_empty:
            del self._filled[config]
            self._forget_if_idle(config)

    def _forget_if_idle(self, config: str) -> None:
        followed = self._followed.get(config)
        if followed is None or config in self._watched:
            return
        if self._is_shared and followed.ring is not None:
            self._held_bytes -= followed.ring.size_bytes
            self._filled.pop(config, None)
        if self._is_shared or followed.ring is None or followed.ring.is_empty:
            del self._followed[config]
