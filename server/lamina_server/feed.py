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
import itertools
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

from lamina_server.held_map import EncodedChanges
from lamina_server.ring import Recent, Ring
from lamina_server.store.contract import KeyFilter
from lamina_server.versions import HeadMark

LOOKED_UP_PREFIXES = 50_000
"""So many look-ups find out whom a commit concerns, in some milliseconds; beyond, all who want prefixes are woken."""
_CLOCK_SECONDS = 1e-6
"""An event loop calls back a moment early, as fine as its clock."""
WAKES_AT_ONCE = 100
"""So many watchers are woken before the event loop looks at other calls: each will write a message."""


class Follower:
    """One watcher: what it wants, and how it sleeps."""

    __slots__ = (
        *("_alarm_at", "_alarms", "_followed", "_future", "_is_listed", "_loop", "_position", "_until"),
        *("keys", "prefixes", "prefixes_by_length"),
    )

    def __init__(self, followed: "Followed", wanted: KeyFilter, alarms: "Alarms") -> None:
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
    def out_of_reach(self) -> int:
        """The newest version to which the ring could not be brought back; -1 where there is none."""
        return self._followed.out_of_reach

    @out_of_reach.setter
    def out_of_reach(self, number: int) -> None:
        self._followed.out_of_reach = number

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

    def rouse(self, position: HeadMark) -> bool:
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
        self.rouse(HeadMark(0, b"") if ring is None else ring.last)
        self.wake()


_pasts = itertools.count()
"""A number for each past that was ever known of a config: two that are equal are the same."""


class Followed:
    """One config: its ring, and its watchers by what they want."""

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.past = next(_pasts)
        self.out_of_reach = -1
        self._all: dict[Follower, None] = {}
        self._by_key: dict[str, dict[Follower, None]] = {}
        self._by_prefix: dict[str, dict[Follower, None]] = {}
        self._prefix_lengths: Counter[int] = Counter()

    def list(self, follower: Follower) -> None:
        """Remember who is to be woken for what."""
        if not follower.keys and not follower.prefixes:
            self._all[follower] = None
        for key in follower.keys:
            self._by_key.setdefault(key, {})[follower] = None
        for prefix in follower.prefixes:
            self._by_prefix.setdefault(prefix, {})[follower] = None
            self._prefix_lengths[len(prefix)] += 1

    def unlist(self, follower: Follower) -> None:
        """Forget a watcher."""
        self._all.pop(follower, None)
        for key in follower.keys:
            _discard(self._by_key, key, follower)
        for prefix in follower.prefixes:
            _discard(self._by_prefix, prefix, follower)
            self._prefix_lengths[len(prefix)] -= 1
            if not self._prefix_lengths[len(prefix)]:
                del self._prefix_lengths[len(prefix)]

    def wanting(self, keys: Iterable[str]) -> Iterator[Follower]:
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

    def everybody(self) -> Iterator[Follower]:
        """Yield all watchers, some perhaps several times."""
        yield from self._all
        for followers in (*self._by_key.values(), *self._by_prefix.values()):
            yield from followers


class Alarms:
    """Who is to be woken when, with one timer for all who have the same time: a timer each costs more than waking."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due: dict[float, dict[Follower, None]] = {}

    def time(self) -> float:
        """Return the event loop's time; what is due now has come."""
        return self._loop.time() + _CLOCK_SECONDS

    def set(self, until: float, follower: Follower) -> None:
        """Ring a follower's alarm at a time."""
        if until not in self._due:
            self._due[until] = {}
            self._loop.call_at(until, self._ring, until)
        self._due[until][follower] = None

    def take_back(self, until: float, follower: Follower) -> None:
        """Do not."""
        self._due.get(until, {}).pop(follower, None)

    def _ring(self, until: float) -> None:
        for follower in self._due.pop(until):
            follower.ring_alarm()


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
        self._alarms = Alarms()
        self._followed: dict[str, Followed] = {}
        # The rings that hold anything; the one that is quiet for longest comes first.
        self._filled: OrderedDict[str, Ring] = OrderedDict()
        self._watched: dict[str, int] = {}
        self._roused: deque[Follower] = deque()

    # --- for the watches --------------------------------------------------------------------

    @contextmanager
    def follow(self, config: str, wanted: KeyFilter) -> Iterator[Follower]:
        """Be one of a config's watchers while the block lasts."""
        followed = self._get(config)
        self._watched[config] = self._watched.get(config, 0) + 1
        follower = Follower(followed, wanted, self._alarms)
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

    def put_in_front(self, config: str, ring: Ring, before: HeadMark, older: Sequence[EncodedChanges]) -> None:
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
        ring.put_in_front(before, [Recent(made) for made in missing])
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
            ring.pass_by(HeadMark(number, made.version.hash))
            followed.out_of_reach = number - 1
        else:
            ring.append(Recent(made))
        self._rouse(followed.wanting(made.entries), position)
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
            ring.pass_by(mark)
            self._grown(config, ring, held_bytes)
            self._rouse(followed.everybody(), position)
            self._forget_if_idle(config)

    def fork(self, config: str) -> None:
        """Say that what was known is not the past any more: watchers have to check where they stand."""
        followed = self._get(config)
        followed.past = next(_pasts)
        followed.out_of_reach = -1
        if followed.ring is not None:
            self._held_bytes -= followed.ring.size_bytes
            self._filled.pop(config, None)
            followed.ring = None
        self._rouse(followed.everybody(), HeadMark(0, b""))
        self._forget_if_idle(config)

    def wake_all(self) -> None:
        """Wake every watcher, to look around: the server is stopping."""
        for followed in self._followed.values():
            if followed.ring is not None:
                self._rouse(followed.everybody(), followed.ring.last)

    # --- waking -----------------------------------------------------------------------------

    def _rouse(self, followers: Iterable[Follower], position: HeadMark) -> None:
        is_waking = bool(self._roused)
        self._roused.extend([follower for follower in followers if follower.rouse(position)])
        if self._roused and not is_waking:
            self._wake_some()

    def _wake_some(self) -> None:
        for _ in range(min(WAKES_AT_ONCE, len(self._roused))):
            self._roused.popleft().wake()
        if self._roused:
            asyncio.get_running_loop().call_soon(self._wake_some)

    # --- the budget -------------------------------------------------------------------------

    def _get(self, config: str) -> Followed:
        if config not in self._followed:
            self._followed[config] = Followed()
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


def _discard(listed: dict[str, dict[Follower, None]], name: str, follower: Follower) -> None:
    followers = listed.get(name)
    if followers is not None:
        followers.pop(follower, None)
        if not followers:
            del listed[name]
