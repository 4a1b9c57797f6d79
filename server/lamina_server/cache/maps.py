"""A whole map in memory, as wire entries in key order, and how the next version changes it. Pure.

Each value is encoded once, when it is committed or read: a page of a map is a header and a
join of bytes. A head keeps one undo step for each recent version. Worked example:

    head 3   {x: 28, z: 5}    steps  to 1: {y: absent}   to 2: {z: absent, y: 450}
    at 2     {x: 28, y: 450}  = the head after the last step
    at 1     {x: 28}          = the head after both steps

So the versions before the head are still known: a commit on top of one of them, or a later
page of it, needs no database.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Mapping
from itertools import islice

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.domain.record import record
from lamina_server.domain.records import HeadMark, Version

_MAP_OVERHEAD_BYTES = 2_000
"""Memory that a map takes besides its entries: two objects, a header in two forms, a dict and a list."""
_ENTRY_OVERHEAD_BYTES = 220
"""Memory that an entry takes besides its bytes: two objects' headers, its key, its places in a dict and a list."""
_STEP_OVERHEAD_BYTES = 1_000
"""Memory that an undo step takes besides its values: a version's header in two forms, and a dict."""
_UNDO_OVERHEAD_BYTES = 300
"""Memory that each key of a step takes: a place in two dicts, a list, a pair and a number."""
_SORTED_AT_ONCE = 64
"""When at least so many keys come or go, sorting all keys is faster than finding the place of each."""


class MapSnapshot:
    """One version's whole map.

    header      the version's header, as wire bytes
    entries     each key's entry, as wire bytes
    keys        the keys, in order
    size_bytes  of all entries together
    """

    def __init__(
        self,
        version: Version,
        header: bytes,
        entries: dict[str, bytes],
        keys: list[str],
        *,
        size_bytes: int | None = None,
    ) -> None:
        self.version = version
        self.header = header
        self.entries = entries
        self.keys = keys
        self.size_bytes = sum(map(len, entries.values())) if size_bytes is None else size_bytes

    @property
    def number(self) -> int:
        """Return the version's number."""
        return self.version.number

    @property
    def held_bytes(self) -> int:
        """Return the memory that it takes, by estimate."""
        return _MAP_OVERHEAD_BYTES + self.size_bytes + _ENTRY_OVERHEAD_BYTES * len(self.keys)


@record
class _Undo:
    """The step back to a version: its header in two forms, and the entries that the next version changed."""

    version: Version
    header: bytes
    undo: Mapping[str, bytes | None]
    size_bytes: int


class _UndoView(dict[str, bytes]):
    """The entries of an older version: some old entries over those of the head. Iterate over `keys`, not over this."""

    def __init__(self, undo: Mapping[str, bytes | None], entries: Mapping[str, bytes]) -> None:
        super().__init__((key, encoded) for key, encoded in undo.items() if encoded is not None)
        self._undo = undo
        self._entries = entries

    def __missing__(self, key: str) -> bytes:
        if key in self._undo:
            raise KeyError(key)
        return self._entries[key]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or (key not in self._undo and key in self._entries)


class HeadMap(MapSnapshot):
    """The newest version's whole map, with the steps back to recent versions. Each new version changes it in place.

    Belongs to the event loop. Another thread may read it while it is not advanced.
    """

    def __init__(
        self,
        version: Version,
        header: bytes,
        entries: dict[str, bytes],
        keys: list[str],
        *,
        limits: CacheLimits = DEFAULT_LIMITS,
    ) -> None:
        super().__init__(version, header, entries, keys)
        self._limits = limits
        self._steps: deque[_Undo] = deque()
        self._steps_bytes = 0
        # The same by key: (the version that changed it, its entry before that), oldest first.
        self._undo_by_key: dict[str, list[tuple[int, bytes | None]]] = {}

    @classmethod
    def first(cls, made: EncodedChanges, *, limits: CacheLimits = DEFAULT_LIMITS) -> "HeadMap":
        """Return the head of a config that has one version."""
        entries = {key: encoded for key, encoded in made.entries.items() if encoded is not None}
        return cls(made.version, made.header, entries, list(entries), limits=limits)

    @property
    def mark(self) -> HeadMark:
        """Return the version's number and hash."""
        return HeadMark(self.version.number, self.version.hash)

    @property
    def held_bytes(self) -> int:
        """Return the memory that it takes, by estimate."""
        return super().held_bytes + self._steps_bytes

    def advance(self, made: EncodedChanges) -> None:
        """Change into the next version."""
        assert made.version.number == self.number + 1
        if _UNDO_OVERHEAD_BYTES * len(made.entries) > self._limits.undo_bytes:
            self._replace_with(made)
            return
        self._remember_step({key: self.entries.get(key) for key in made.entries})
        added, removed = [], []
        for key, encoded in made.entries.items():
            old = self.entries.pop(key, None) if encoded is None else self.entries.get(key)
            self.size_bytes += len(encoded or b"") - len(old or b"")
            if encoded is not None:
                self.entries[key] = encoded
            if old is None and encoded is not None:
                added.append(key)
            elif old is not None and encoded is None:
                removed.append(key)
        self.keys = _changed_keys(self.keys, added, removed)
        self.version, self.header = made.version, made.header

    def reaches(self, number: int) -> bool:
        """Return whether the version is the head or one that the steps lead back to."""
        return self.number - len(self._steps) <= number <= self.number

    def version_at(self, number: int) -> Version | None:
        """Return a version's header; None if it is not known here."""
        if number == self.number:
            return self.version
        return self._steps[number - self.number].version if self.reaches(number) else None

    def header_at(self, number: int) -> bytes | None:
        """Return a version's header as wire bytes; None if it is not known here."""
        if number == self.number:
            return self.header
        return self._steps[number - self.number].header if self.reaches(number) else None

    def changed_since(self, number: int) -> int | None:
        """Return how many values were set and deleted after a version; None if it is not known here."""
        if not self.reaches(number):
            return None
        return sum(len(step.undo) for step in islice(reversed(self._steps), self.number - number))

    def entry_at(self, key: str, number: int) -> bytes | None:
        """Return a key's entry at a version that is known here; None if the key was absent."""
        entry = self.entries.get(key)
        for changed_by, before in reversed(self._undo_by_key.get(key, ())):
            if changed_by <= number:
                break
            entry = before
        return entry

    def changes_between(self, base: int, number: int, *, limit_bytes: int) -> dict[str, bytes | None] | None:
        """Return the entries that turn the map of one version into that of a later one, in key order.

        None stands for a key that the later version has not. Returns None if one of the versions is not known here, or
        keys and entries have more than `limit_bytes`.
        """
        if not (self.reaches(base) and self.reaches(number)):
            return None
        first = len(self._steps) - (self.number - base)
        keys = {key for step in islice(self._steps, first, first + number - base) for key in step.undo}
        changes = {key: self.entry_at(key, number) for key in sorted(keys)}
        size_bytes = sum(len(key) + len(encoded or b"") for key, encoded in changes.items())
        return changes if size_bytes <= limit_bytes else None

    def snapshot_at(self, number: int) -> MapSnapshot:
        """Return the map of a version that is known here, as a copy."""
        undo = self._undo_to(number)
        entries = {key: encoded for key, encoded in {**self.entries, **undo}.items() if encoded is not None}
        keys = [key for key in self.keys if key in entries]
        keys += [key for key in undo if key in entries and key not in self.entries]
        keys.sort()
        version, header = self.version_at(number), self.header_at(number)
        assert version is not None
        assert header is not None
        return MapSnapshot(version, header, entries, keys)

    def view_at(self, number: int) -> MapSnapshot:
        """Return the map of a version that is known here, as a view of the head.

        It is valid until the head is advanced, and its `entries` must be read by key.
        """
        undo, entries = self._undo_to(number), self.entries
        added = [key for key, encoded in undo.items() if encoded is not None and key not in entries]
        removed = [key for key, encoded in undo.items() if encoded is None and key in entries]
        keys = _changed_keys(self.keys.copy(), added, removed) if added or removed else self.keys
        grown = sum(len(encoded or b"") - len(entries.get(key, b"")) for key, encoded in undo.items())
        version, header = self.version_at(number), self.header_at(number)
        assert version is not None
        assert header is not None
        return MapSnapshot(version, header, _UndoView(undo, entries), keys, size_bytes=self.size_bytes + grown)

    def _replace_with(self, made: EncodedChanges) -> None:
        """Change into a version that changes more than a step may hold: no step leads back from it."""
        self._steps.clear()
        self._steps_bytes = 0
        self._undo_by_key.clear()
        both = {**self.entries, **made.entries}
        self.entries = {key: encoded for key, encoded in both.items() if encoded is not None}
        self.keys = sorted(self.entries)
        self.size_bytes = sum(map(len, self.entries.values()))
        self.version, self.header = made.version, made.header

    def _undo_to(self, number: int) -> dict[str, bytes | None]:
        undo: dict[str, bytes | None] = {}
        for step in islice(reversed(self._steps), self.number - number):
            undo.update(step.undo)
        return undo

    def _remember_step(self, undo: Mapping[str, bytes | None]) -> None:
        size_bytes = _STEP_OVERHEAD_BYTES + sum(_UNDO_OVERHEAD_BYTES + len(encoded or b"") for encoded in undo.values())
        self._steps.append(_Undo(self.version, self.header, undo, size_bytes))
        self._steps_bytes += size_bytes
        for key, before in undo.items():
            self._undo_by_key.setdefault(key, []).append((self.number + 1, before))
        limits = self._limits
        while len(self._steps) > limits.undo_versions or (self._steps and self._steps_bytes > limits.undo_bytes):
            self._forget_step()

    def _forget_step(self) -> None:
        oldest = self._steps.popleft()
        self._steps_bytes -= oldest.size_bytes
        for key in oldest.undo:
            changes = self._undo_by_key[key]
            del changes[0]
            if not changes:
                del self._undo_by_key[key]


def _changed_keys(keys: list[str], added: Collection[str], removed: Collection[str]) -> list[str]:
    """Add keys to a sorted list and remove others from it, in place if they are few; return the list."""
    if len(added) + len(removed) >= _SORTED_AT_ONCE:
        gone = set(removed)
        return sorted([*(key for key in keys if key not in gone), *added])
    for key in removed:
        del keys[bisect_left(keys, key)]
    for key in added:
        insort(keys, key)
    return keys
