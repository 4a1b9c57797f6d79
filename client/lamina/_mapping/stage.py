"""The changes staged over a version's entries, as stored values; pure, and no mapping: draft.py makes it one.

Worked example: over the entries {x: 27, y: 450} of version 1, putting x=28, then y=MISSING, then x=27 again leaves the
one staged change {y: MISSING}: a value that equals the base is no change.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from lamina._mapping.entries import Entries
from lamina._mapping.values import Stored, check_key, decode, dump
from lamina.errors import InvalidError
from lamina.records import MISSING, Missing, Version
from lamina_protos.v1 import lamina_pb2 as pb

READ_KEYS_DECLARED: Final = 10_000
"""The number of keys that a commit may declare; a transaction that read more depends on the whole map."""


class StagedChanges:
    """A draft's state: a base version, the changes staged over it, and the keys read from it.

    read_cache       values read since the draft stands on this base, by key; hot paths look there before `read`
    keys_read        keys of the base that were read
    in_transaction   all read keys are declared, changed or not, until the transaction is committed or discarded
    is_running       the transaction's function runs: its reads stay declared even if it discards its changes
    unresolved       a write with an unknown outcome, and its request id; writes.py resolves it before any other
    unresolved_keys  keys that were staged when that write began; the keys of a revert are not staged
    """

    __slots__ = (
        "_has_read_all",
        "_order",
        "_reshaped",
        "_size",
        "base",
        "in_transaction",
        "is_running",
        "keys_read",
        "read_cache",
        "staged",
        "unresolved",
        "unresolved_fork",
        "unresolved_keys",
    )

    def __init__(self, base: Entries) -> None:
        self.base = base
        self.staged: dict[str, Stored | Missing] = {}
        self.keys_read: set[str] = set()
        self.unresolved: pb.CommitRequest | pb.RevertConfigRequest | None = None
        self.unresolved_fork: pb.ForkConfigRequest | None = None
        self.unresolved_keys: frozenset[str] = frozenset()
        self.in_transaction = self.is_running = False
        self._has_read_all = False  # the set of keys was read, so a new key would have made a difference
        self.read_cache: dict[str, Any] = {}
        self._reshaped = False  # keys were staged or deleted, so the set of keys may differ from the base
        self._order: list[str] | None = None  # the keys in order, after the first iteration
        self._size = len(base)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[str]:
        if not self._reshaped:
            return iter(self.base)
        if self._order is None:
            added = [key for key, new in self.staged.items() if new is not MISSING and key not in self.base]
            self._order = sorted([*(key for key in self.base if self.staged.get(key) is not MISSING), *added])
        # A copy, because a change during the iteration may remove keys.
        return iter(self._order.copy())

    def __contains__(self, key: object) -> bool:
        # A key that is not text is in neither.
        staged = self.staged.get(key)  # type: ignore[call-overload]
        return key in self.base if staged is None else staged is not MISSING

    def value(self, key: str) -> Any:
        """Return the value as users read it; KeyError if there is none."""
        stored = self.staged.get(key)
        if stored is None:
            return self.base.value(key)
        if stored is MISSING:
            raise KeyError(key)
        if key not in self.read_cache:
            self.read_cache[key] = decode(stored)
        return self.read_cache[key]

    def read(self, key: Any) -> Any:
        """Return a value, and remember that the draft depends on it; KeyError if there is none."""
        if key in self.staged:
            return self.value(key)
        if isinstance(key, str):
            self.keys_read.add(key)
        value = self.read_cache[key] = self.base.value(key)
        return value

    def stored(self, key: str) -> Stored | Missing:
        """Return the value in canonical form; MISSING if there is none."""
        stored = self.staged.get(key)
        return self.base.stored(key) if stored is None else stored

    def old_and_new(self, key: str) -> tuple[Any, Any]:
        """Return a staged key's value before and after; MISSING if there is none."""
        old = self.base.value(key) if key in self.base else MISSING
        return old, (MISSING if self.staged[key] is MISSING else self.value(key))

    def note_read(self, key: str) -> None:
        """Remember that the draft depends on the base's value of a key, unless the key is staged."""
        if key not in self.staged:
            self.keys_read.add(key)

    def note_read_all(self) -> None:
        """Remember that the draft depends on the set of keys."""
        self._has_read_all = True

    def begin_transaction(self) -> None:
        """Begin a transaction: all keys that are read from now on are declared."""
        self.keys_read, self.read_cache, self.in_transaction, self._has_read_all = set(), {}, True, False
        self.is_running = True

    def put(self, key: str, new: Stored | Missing) -> None:
        """Stage a value, or MISSING to delete; a value that equals the base is no change."""
        was_there = key in self
        self.read_cache.pop(key, None)
        if new == self.base.stored(key):
            self.staged.pop(key, None)
        else:
            self.staged[key] = new
        if was_there != (new is not MISSING):
            self._reorder(key, added=not was_there)

    def discard(self) -> None:
        """Forget the staged changes, the unresolved write and, unless `is_running`, the reads."""
        self.unresolved = None
        if self.is_running:
            for key in list(self.staged):
                self.put(key, self.base.stored(key))
        else:
            self.rebase(self.base, {})

    def rebase(self, base: Entries, staged: Mapping[str, Stored | Missing]) -> None:
        """Move to another base with these changes; of the keys read, those that are still changed stay declared."""
        read, self.in_transaction, self._has_read_all = self.keys_read, False, False
        self.base, self.staged, self.read_cache = base, {}, {}
        self._reshaped, self._order, self._size = False, None, len(base)
        for key, new in staged.items():
            self.put(key, new)
        self.keys_read = read & self.staged.keys()

    def declared_reads(self) -> list[str]:
        """Return the keys that a commit declares: those both read and changed; in a transaction, all that were read."""
        read = self.keys_read if self.in_transaction else self.keys_read & self.staged.keys()
        return sorted(key for key in read if key in self.base or _can_be(key))

    @property
    def depends_on_all(self) -> bool:
        """Whether any change by others would have made a difference."""
        too_many = len(self.keys_read) > READ_KEYS_DECLARED
        return self.in_transaction and (self._has_read_all or too_many)

    def _reorder(self, key: str, *, added: bool) -> None:
        self._size += 1 if added else -1
        self._reshaped = True
        if self._order is None:
            return
        if added:
            insort(self._order, key)
        else:
            del self._order[bisect_left(self._order, key)]


def _can_be(key: str) -> bool:
    """Return whether a text can be a key: no other text ever has a value."""
    try:
        check_key(key)
    except InvalidError:
        return False
    return True


def applied(base: Entries, header: Version, changes: Iterable[pb.Change]) -> Entries:
    """Make the entries of the version `header`, which makes exactly these changes to its parent, `base`."""

    def entry(change: pb.Change) -> pb.Entry | None:
        if change.deleted:
            return None
        return pb.Entry(key=change.key, value=change.value, origin_version=header.number)

    return base.advanced(header, {change.key: entry(change) for change in changes})


def changes_of(staged: Mapping[str, Stored | Missing]) -> list[pb.Change]:
    """Make the wire's changes, in key order."""
    return [
        pb.Change(key=key, deleted=True) if new is MISSING else pb.Change(key=key, value=dump(new))
        for key, new in sorted(staged.items())
    ]
