"""The two mappings: Snapshot, one version as it was, and Draft, uncommitted changes over one; pure, no I/O."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, NoReturn, Self, SupportsIndex, TypeGuard

from lamina.entries import Entries
from lamina.errors import InvalidError
from lamina.frozen import READ_ONLY, thaw
from lamina.records import MISSING, Change, Missing
from lamina.stage import Stage
from lamina.values import Stored, Value, check_key, encode


class _ConfigMapping(Mapping[str, Any]):
    """What both have of a dict beyond a Mapping: `|`, `reversed`, and equality by kind as well as value."""

    __slots__ = ()

    @abstractmethod
    def _stored(self, key: str) -> Stored | Missing: ...

    def to_dict(self) -> dict[str, Any]:
        """Make a deep, plain, mutable copy: for YAML, for pickle, for editing."""
        return {key: thaw(value) if type(value) in READ_ONLY else value for key, value in self.items()}

    def __reversed__(self) -> Iterator[str]:
        return reversed(list(self))

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not _is_mapping(other):
            return NotImplemented
        return {**self.to_dict(), **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        if not _is_mapping(other):
            return NotImplemented
        return {**other, **self.to_dict()}

    def __eq__(self, other: object) -> bool:
        """Compare content: the same keys with equal values, where True, 1 and 1.0 differ."""
        if not _is_mapping(other):
            return NotImplemented
        return len(self) == len(other) and all(key in other and self._holds(key, other) for key in self)

    __hash__ = None  # type: ignore[assignment]

    def _holds(self, key: str, other: Mapping[Any, Any]) -> bool:
        if isinstance(other, _ConfigMapping):
            return self._stored(key) == other._stored(key)  # noqa: SLF001 - of the same class
        try:
            return self._stored(key) == encode(other[key], key=key)
        except (TypeError, InvalidError):
            return False  # what cannot be a value equals none


class Snapshot(_ConfigMapping):
    """One version of a config: a read-only mapping in key order. Lists and dicts in it are read-only too.

    Made by `config.at`. May be pickled, copied, and shared by threads.
    """

    __slots__ = ("_entries",)

    def __init__(self, entries: Entries) -> None:
        self._entries = entries

    @property
    def config(self) -> str:
        """The config's name."""
        return self._entries.header.config

    @property
    def version(self) -> int:
        """The version's number; 0 is the empty map before the first commit."""
        return self._entries.header.number

    def origin(self, key: str) -> int:
        """Tell which version set the key's value; KeyError where there is none."""
        return self._entries.origin(key)

    def __getitem__(self, key: str) -> Any:
        seen = self._entries.seen  # all in one frame: a call costs more than the two looks
        return seen[key] if key in seen else self._entries.value(key)

    def __contains__(self, key: object) -> bool:
        return key in self._entries.seen or key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Snapshot {self.config!r} version {self.version}, {_count(len(self), 'key')}>"

    def _stored(self, key: str) -> Stored | Missing:
        return self._entries.stored(key)


class Draft(_ConfigMapping, MutableMapping[str, Any]):
    """A config as this client would have it: a mutable mapping in key order, over one version.

    Nothing here talks to a server. Assignments check and copy; `changes` lists what a commit would send.
    """

    __slots__ = ("_stage",)

    def __init__(self, base: Entries) -> None:
        self._stage = Stage(base)

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
        """What is staged, by key in order: values before and after, MISSING where there is none."""
        return {key: Change(*self._stage.old_and_new(key)) for key in sorted(self._stage.staged)}

    def discard(self) -> None:
        """Drop what is staged; the draft is again as the version it is based on."""
        self._stage.discard()

    def origin(self, key: str) -> int:
        """Tell which version set the key's committed value; KeyError where there is none."""
        self._note_read(key)
        return self._stage.base.origin(key)

    def clear(self) -> None:
        """Stage the deletion of every key."""
        for key in list(self):
            self._stage.put(key, MISSING)

    def setdefault(self, key: str, default: Value = None) -> Any:
        """Give a key's value; where there is none, set this one first."""
        return super().setdefault(key, default)

    def popitem(self) -> tuple[str, Any]:
        """Remove the last key in order and return it with its value; KeyError if there is none."""
        for key in reversed(self):
            return key, self.pop(key)
        raise KeyError(f"{self.name} has no keys")

    def __getitem__(self, key: str) -> Any:
        seen = self._stage.seen  # all in one frame: a call costs more than the two looks
        return seen[key] if key in seen else self._stage.looked_up(key)

    def __contains__(self, key: object) -> bool:
        if key in self._stage.seen:
            return True
        self._note_read(key)
        return key in self._stage

    def __setitem__(self, key: str, value: Value) -> None:
        key = check_key(key)
        self._stage.put(key, encode(value, key=key))

    def __delitem__(self, key: str) -> None:
        if self._stage.in_transaction:  # which is another one where somebody else has deleted it
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
        counts = f"{_count(len(self._stage), 'key')}, {_count(len(self._stage.staged), 'change')}"
        return f"<{type(self).__name__} {self.name!r} version {self.version}, {counts}>"

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} belongs to its client and does not pickle or copy: "
            "to_dict() makes a plain dict, at(version) a Snapshot, which does both"
        )

    def _note_read(self, key: object) -> None:
        if isinstance(key, str):
            self._stage.note_read(key)

    def _stored(self, key: str) -> Stored | Missing:
        return self._stage.stored(key)


def _is_mapping(other: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(other, Mapping)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
