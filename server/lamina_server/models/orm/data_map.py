"""A version's map as a dict, with the edits that are not flushed yet. Knows no table, session or SQL.

Worked example. A version holds `{"x": 27, "y": 450}`:

    data["x"] = 28      edits {x: 28}
    data["x"] = 27      edits {}                  the old value again: there is nothing to commit
    del data["y"]       edits {y: None}
    data["z"] = 1       edits {y: None, z: 1}     read as {"x": 27, "z": 1}

A flush of the edits calls `rebase`, which makes them part of the version's entries.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Self

from lamina_server.domain.errors import LimitError, Reason
from lamina_server.domain.names import check_key
from lamina_server.domain.planning import MapLimits
from lamina_server.domain.records import Change, Entry
from lamina_server.domain.values import Value
from lamina_server.models.orm.plain import plain_of_value, value_of_plain

MAP_LIMITS = MapLimits(keys=100_000, size_bytes=64 * 1024 * 1024)
"""The largest map that a version may have: the default of the public contract."""
VALUE_LIMIT_BYTES = 1024 * 1024
"""The largest value: the default of the public contract."""

_ABSENT = object()


class DataMap(MutableMapping[str, Any]):
    """A dict of plain Python values, always in the order of its keys.

    Apart from the order it behaves like a dict, and it returns lists and dicts as
    read-only ones (see readonly.py). `|`, `copy()` and `dict()` return plain dicts.

    read     returns the version's entries; called once, when they are first needed
    on_edit  called before each edit, so that a session learns of it
    """

    def __init__(self, *, read: Callable[[], dict[str, Entry]], on_edit: Callable[[], None]) -> None:
        self._read = read
        self._on_edit = on_edit
        self._loaded: dict[str, Entry] | None = None
        self._edits: dict[str, Value | None] = {}

    # As a dict

    def __getitem__(self, key: str) -> Any:
        value = self._value(key)
        if value is None:
            raise KeyError(key)
        return plain_of_value(value)

    def __setitem__(self, key: str, plain: Any) -> None:
        key = _check_key(key)
        value = value_of_plain(plain)
        if value.size_bytes > VALUE_LIMIT_BYTES:
            what = f"the value of {key!r}"
            raise LimitError(Reason.TOO_LARGE, what, limit=VALUE_LIMIT_BYTES, actual=value.size_bytes, unit="bytes")
        self._edit(key, value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._edit(key, None)

    def __contains__(self, key: object) -> bool:
        return self._value(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys())

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._keys())

    def __len__(self) -> int:
        entries = self.entries
        return len(entries) + sum((value is not None) - (key in entries) for key, value in self._edits.items())

    def __eq__(self, other: object) -> bool:
        return dict(self) == (dict(other) if isinstance(other, DataMap) else other)

    __hash__ = None  # type: ignore[assignment]  # it is mutable, as a dict is

    def __repr__(self) -> str:
        return repr(dict(self))

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self) | dict(other) if _is_mapping(other) else NotImplemented

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:
        return dict(other) | dict(self) if _is_mapping(other) else NotImplemented

    def __ior__(self, other: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Self:
        self.update(other)
        return self

    def popitem(self) -> tuple[str, Any]:
        """Remove the last item and return it."""
        if not self:
            raise KeyError("popitem(): the map is empty")
        key = self._keys()[-1]
        return key, self.pop(key)

    def clear(self) -> None:
        """Remove all items."""
        for key in self._keys():
            del self[key]

    def copy(self) -> dict[str, Any]:
        """Make a plain dict with the same items."""
        return dict(self)

    # For its version

    @property
    def entries(self) -> dict[str, Entry]:
        """The version's entries, without the edits."""
        if self._loaded is None:
            self._loaded = self._read()
        return self._loaded

    @property
    def changes(self) -> tuple[Change, ...]:
        """The edits; each differs from the version's entry."""
        return tuple(Change(key, value) for key, value in self._edits.items())

    @property
    def edited_values(self) -> dict[str, Value]:
        """The version's values of the edited keys."""
        return {key: self.entries[key].value for key in self._edits if key in self.entries}

    def is_edited(self, key: str) -> bool:
        """Return whether a key differs from the version's entry."""
        return key in self._edits

    def replace(self, data: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Make the map equal to another."""
        wanted = dict(data)
        for key in self._keys():
            if key not in wanted:
                del self[key]
        self.update(wanted)

    def rebase(self, version: int) -> None:
        """Make the edits part of the entries, because a flush has made them this version."""
        entries = dict(self.entries)
        for key, value in self._edits.items():
            if value is None:
                del entries[key]
            else:
                entries[key] = Entry(key, value, version)
        self.reset(entries)

    def reset(self, entries: dict[str, Entry], edits: Iterable[Change] = ()) -> None:
        """Replace the entries, and the edits."""
        self._loaded = entries
        self._edits = {change.key: change.value for change in edits}

    def discard(self) -> None:
        """Forget the edits."""
        self._edits.clear()

    def _value(self, key: Any) -> Value | None:
        edited = self._edits.get(key, _ABSENT)
        if edited is _ABSENT:
            entry = self.entries.get(key)
            return entry.value if entry else None
        return edited  # type: ignore[return-value]  # _ABSENT is dealt with

    def _edit(self, key: str, value: Value | None) -> None:
        self._on_edit()
        entry = self.entries.get(key)
        if value == (entry.value if entry else None):
            self._edits.pop(key, None)
        else:
            self._edits[key] = value

    def _keys(self) -> list[str]:
        kept = [key for key in self.entries if key not in self._edits]
        return sorted(kept + [key for key, value in self._edits.items() if value is not None])


def _is_mapping(other: object) -> bool:
    return isinstance(other, Mapping)


def _check_key(key: object) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key is a str, not {type(key).__name__}")
    return check_key(str.__str__(key))
