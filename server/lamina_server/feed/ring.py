"""A config's recent versions in memory, without a gap, as many as there is room for. Pure.

Worked example: versions 5, 6 and 7 were committed since the server started, so the ring has
`before` 4 and `last` 7. A watch at version 4 or later finds here all that follows. A watch at
3 asks the store, or has version 4 added to the front. With room for two versions, 5 goes, and
`before` is 5.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.domain.records import HeadMark

_RECENT_OVERHEAD_BYTES = 1_500
"""Memory that a version takes besides its bytes: its record, header, dicts and places."""
_CHANGE_OVERHEAD_BYTES = 300
"""Memory that each change takes: its key, two objects' headers, and places in dicts."""


class Recent:
    """One version, and the messages that were made of it: each is made once for all watches that get it.

    mark        the version's number and hash
    messages    by the keys whose changes they hold
    size_bytes  of all of this, by estimate
    """

    __slots__ = ("made", "mark", "messages", "size_bytes")

    def __init__(self, made: EncodedChanges) -> None:
        self.made = made
        self.mark = HeadMark(made.version.number, made.version.hash)
        self.messages: dict[tuple[str, ...], bytes] = {}
        # Counted twice: as entries, which a head in memory may share, and as a message.
        size_bytes = 2 * (made.size_bytes + len(made.header))
        self.size_bytes = _RECENT_OVERHEAD_BYTES + _CHANGE_OVERHEAD_BYTES * len(made.entries) + size_bytes


class Ring:
    """The versions after `before`, through `last`.

    The hash of `before` is empty if it is not known: the first version that the feed gets comes
    without its parent.
    """

    def __init__(self, before: HeadMark) -> None:
        self.before = before
        self.last = before
        self.size_bytes = 0
        self._recents: deque[Recent] = deque()

    @property
    def held_versions(self) -> int:
        """Return how many versions are here."""
        return len(self._recents)

    @property
    def is_empty(self) -> bool:
        """Return whether no version is here."""
        return not self._recents

    def reaches(self, number: int) -> bool:
        """Return whether all versions that follow one are here."""
        return number >= self.before.number

    def hash_of(self, number: int) -> bytes:
        """Return the hash of a version; empty if it is not known here."""
        if number == self.before.number:
            return self.before.hash
        if self.before.number < number <= self.last.number:
            return self._recents[number - self.before.number - 1].made.version.hash
        return b""

    def after(self, number: int, limit: int) -> Iterator[Recent]:
        """Yield at most `limit` versions that follow one for which `reaches` is true."""
        first = number - self.before.number
        return islice(self._recents, first, first + limit)

    def append(self, recent: Recent) -> None:
        """Add the version after the last one."""
        assert recent.made.version.number == self.last.number + 1
        self._recents.append(recent)
        self.last = recent.mark
        self.size_bytes += recent.size_bytes

    def skip_to(self, mark: HeadMark) -> None:
        """Continue after a version that is not kept here, the next one or a later one."""
        self._recents.clear()
        self.size_bytes = 0
        self.before = self.last = mark

    def prepend(self, before: HeadMark, recents: Sequence[Recent]) -> None:
        """Add the versions just before the first one here, without a gap."""
        assert before.number + len(recents) == self.before.number
        self._recents.extendleft(reversed(recents))
        self.size_bytes += sum(recent.size_bytes for recent in recents)
        self.before = before

    def drop_first(self) -> None:
        """Drop the oldest version here."""
        oldest = self._recents.popleft()
        self.size_bytes -= oldest.size_bytes
        self.before = oldest.mark
