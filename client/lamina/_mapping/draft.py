"""The two mappings: Snapshot, one version as it was, and Draft, uncommitted changes over one; pure, no I/O."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self

from lamina._mapping.entries import Entries
from lamina._mapping.snapshot import ConfigMapping, counted
from lamina._mapping.stage import StagedChanges
from lamina._mapping.values import Stored, Value, check_key, encode
from lamina._runtime.copies import Uncopyable
from lamina.records import MISSING, Change, Missing


class Draft(Uncopyable, ConfigMapping, MutableMapping[str, Any]):
    """A config with this client's changes: a mutable mapping in key order, over one version.

    Nothing here talks to a server. Assignments check and copy; `changes` lists what a commit would send.
    """

    __slots__ = ("_stage",)

    _instead = "to_dict() makes a plain dict, at(version) a Snapshot, and both do"

    def __init__(self, base: Entries) -> None:
        self._stage = StagedChanges(base)

    @property
    def name(self) -> str:
        """The config's name."""
        return self._stage.base.header.config

    @property
    def version(self) -> int:
        """The number of the version that the draft is based on; 0 for a config that does not exist yet."""
        return self._stage.base.header.number

    @property
    def changes(self) -> dict[str, Change]:
        """The staged changes, by key in order: the values before and after, MISSING where there is none."""
        return {key: Change(*self._stage.old_and_new(key)) for key in sorted(self._stage.staged)}

    def discard(self) -> None:
        """Drop the staged changes; the draft equals its base version again."""
        self._stage.discard()

    def origin(self, key: str) -> int:
        """Return the number of the version that set the key's committed value; KeyError if there is none."""
        self._note_read(key)
        return self._stage.base.origin(key)

    def clear(self) -> None:
        """Stage the deletion of every key."""
        for key in list(self):
            self._stage.put(key, MISSING)

    def setdefault(self, key: str, default: Value = None) -> Any:
        """Return a key's value; if there is none, set this one first."""
        if key not in self:
            self[key] = default
        return self[key]

    def popitem(self) -> tuple[str, Any]:
        """Remove the last key in order and return it with its value; KeyError if there is none."""
        for key in reversed(self):
            return key, self.pop(key)
        raise KeyError(f"{self.name} has no keys")

    def __getitem__(self, key: str) -> Any:
        cache = self._stage.read_cache  # all in one frame: a call costs more than the two lookups
        if key in cache:
            return cache[key]
        try:
            return self._stage.read(key)
        except KeyError:
            raise KeyError(key) from None  # so that the traceback ends here

    def __contains__(self, key: object) -> bool:
        if key in self._stage.read_cache:
            return True
        self._note_read(key)
        return key in self._stage

    def __setitem__(self, key: str, value: Value) -> None:
        key = check_key(key)
        self._stage.put(key, encode(value, key=key, config=self.name))

    def __delitem__(self, key: str) -> None:
        if self._stage.in_transaction:  # the last key is another one if somebody else has deleted it
            self._note_read(key)
        if key not in self._stage:
            raise KeyError(key)
        self._stage.put(key, MISSING)

    def __iter__(self) -> Iterator[str]:
        self._stage.note_read_all()
        return iter(self._stage)

    def __len__(self) -> int:
        self._stage.note_read_all()
        return len(self._stage)

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:  # type: ignore[override]
        self.update(other)
        return self

    def __repr__(self) -> str:
        counts = f"{counted(len(self._stage), 'key')}, {counted(len(self._stage.staged), 'change')}"
        return f"<{type(self).__name__} {self.name!r} version {self.version}, {counts}>"

    def _note_read(self, key: object) -> None:
        if isinstance(key, str):
            self._stage.note_read(key)

    def _stored(self, key: str) -> Stored | Missing:
        return self._stage.stored(key)
