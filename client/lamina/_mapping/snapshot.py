"""A whole map of one version, read-only."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from lamina._mapping.entries import Entries
from lamina._mapping.frozen import READ_ONLY, thaw
from lamina._mapping.values import Stored, encode
from lamina._runtime.public import public
from lamina.errors import InvalidError
from lamina.records import Missing, Version


class ConfigMapping(Mapping[str, Any]):
    """What Snapshot and Draft have beyond a Mapping, like a dict: `|`, `reversed`, and equality by kind and value."""

    __slots__ = ()

    @abstractmethod
    def _stored(self, key: str) -> Stored | Missing: ...

    def to_dict(self) -> dict[str, Any]:
        """Return a deep, plain, mutable copy, for YAML, pickle or editing. Secrets stay `lamina.Secret`."""
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
        if isinstance(other, ConfigMapping):
            return self._stored(key) == other._stored(key)  # noqa: SLF001 - of the same class
        try:
            return self._stored(key) == encode(other[key], key=key)
        except (TypeError, InvalidError):
            return False  # an object that cannot be a value equals none


@public("lamina")
class Snapshot(ConfigMapping):
    """One version of a config: a read-only mapping in key order. Lists and dicts in it are read-only too.

    Made by `config.at`. May be pickled, copied, and shared by threads. A pickle has secrets without their contents.
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
        """Return the number of the version that set the key's value; KeyError if there is none."""
        return self._entries.origin(key)

    def __getitem__(self, key: str) -> Any:
        cache = self._entries.read_cache  # all in one frame: a call costs more than the two lookups
        if key in cache:
            return cache[key]
        try:
            return self._entries.value(key)
        except KeyError:
            raise KeyError(key) from None  # so that the traceback ends here

    def __contains__(self, key: object) -> bool:
        return key in self._entries.read_cache or key in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Snapshot {self.config!r} version {self.version}, {counted(len(self), 'key')}>"

    def __copy__(self) -> "Snapshot":
        return Snapshot(self._entries)  # nothing can change it, and a pickle would lose the contents of secrets

    def __deepcopy__(self, _memo: dict[int, Any]) -> "Snapshot":
        return self.__copy__()

    def __getstate__(self) -> tuple[Version, bytes]:
        return self._entries.header, self._entries.to_bytes()

    def __setstate__(self, state: tuple[Version, bytes]) -> None:
        self._entries = Entries.from_bytes(*state)

    def _stored(self, key: str) -> Stored | Missing:
        return self._entries.stored(key)


def _is_mapping(other: object) -> TypeGuard[Mapping[Any, Any]]:
    return isinstance(other, Mapping)


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
