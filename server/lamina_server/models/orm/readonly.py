"""The read-only list and dict in which a version returns JSON values. Pure; knows no model.

A version never changes, so an edit in place would be lost without an error. For
`isinstance`, `==` and `json.dumps` they are a list and a dict. Operations that make a new
object make a plain one, at every level: `copy`, `copy.deepcopy`, `pickle`, `+`, `|`, and
`+=` and `|=`, so that `config.data["hosts"] += ["h4"]` assigns a new list.
"""

from collections.abc import Iterable
from typing import Any, NoReturn, SupportsIndex


def freeze(node: Any) -> Any:
    """Return a copy of parsed JSON with read-only lists and dicts at every level."""
    if isinstance(node, list):
        return ReadOnlyList(map(freeze, node))
    if isinstance(node, dict):
        return ReadOnlyDict({name: freeze(item) for name, item in node.items()})
    return node


def thaw(node: Any) -> Any:
    """Return a copy with plain lists and dicts at every level."""
    if isinstance(node, list):
        return list(map(thaw, node))
    if isinstance(node, dict):
        return {name: thaw(item) for name, item in node.items()}
    return node


def _refuse(self: object, *_args: object, **_options: object) -> NoReturn:
    base = "list" if isinstance(self, list) else "dict"
    raise TypeError(f"this {base} belongs to a version and is read-only: assign a changed copy to its key instead")


class ReadOnlyList(list[Any]):
    """A list within a version."""

    __slots__ = ()

    append = clear = extend = insert = pop = remove = reverse = _refuse
    __setitem__ = __delitem__ = _refuse
    sort: Any = _refuse

    def __add__(self, other: list[Any]) -> list[Any]:
        return self.copy() + other

    def __iadd__(self, other: Iterable[Any]) -> list[Any]:  # type: ignore[override]  # not in place, so another type
        return [*self.copy(), *other]

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return self.copy() * times

    __rmul__ = __imul__ = __mul__  # type: ignore[assignment]  # as __iadd__

    def copy(self) -> list[Any]:
        """Make a plain, deep copy."""
        return list(map(thaw, self))

    def __copy__(self) -> list[Any]:
        return self.copy()

    def __deepcopy__(self, _memo: dict[int, Any]) -> list[Any]:
        return self.copy()

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[type, tuple[list[Any]]]:
        return list, (self.copy(),)


class ReadOnlyDict(dict[str, Any]):
    """A dict within a version."""

    __slots__ = ()

    clear = pop = popitem = _refuse
    __setitem__ = __delitem__ = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse

    def __or__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]  # not of a dict of others' items
        return self.copy() | other

    def __ror__(self, other: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return other | self.copy()

    def __ior__(self, other: Any) -> dict[str, Any]:  # type: ignore[override, misc]  # as ReadOnlyList.__iadd__
        return {**self.copy(), **dict(other)}

    def copy(self) -> dict[str, Any]:
        """Make a plain, deep copy."""
        return {name: thaw(item) for name, item in self.items()}

    def __copy__(self) -> dict[str, Any]:
        return self.copy()

    def __deepcopy__(self, _memo: dict[int, Any]) -> dict[str, Any]:
        return self.copy()

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (self.copy(),)
