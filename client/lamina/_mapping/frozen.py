"""The read-only list and dict that are read from a config. They know nothing of configs.

They are a list and a dict for `isinstance`, `==` and `json.dumps`. A method that would change one in place raises
TypeError and says what to do instead, because the config would not notice the change. Operations that make a new object
make plain ones at every level: `+`, `|`, `copy.copy`, `copy.deepcopy`, `pickle`; and `+=`, `*=` and `|=`, so that
`config["hosts"] += ["h4"]` assigns a new, plain list.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn, SupportsIndex, TypeGuard, cast

_ADVICE = "was read from a config and is read-only: assign a new one, such as config[key] = {example}"


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Return whether it is a list; type checkers then know a list of anything."""
    return isinstance(value, list)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Return whether it is a dict; type checkers then know a dict of anything."""
    return isinstance(value, dict)


def thaw(value: Any) -> Any:
    """Copy a value with plain lists and dicts at every level."""
    if is_list(value):
        return [thaw(item) for item in value]
    if is_dict(value):
        return {name: thaw(item) for name, item in value.items()}
    return value


class FrozenList(list[Any]):
    """A list that was read from a config."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("this list " + _ADVICE.format(example="[*config[key], item], or copy.deepcopy it first"))

    append = clear = extend = insert = pop = remove = reverse = _refuse
    sort: Any = _refuse
    __setitem__ = __delitem__ = _refuse

    def __add__(self, other: list[Any]) -> list[Any]:
        return cast("list[Any]", thaw(self)) + other

    def __radd__(self, other: list[Any]) -> list[Any]:
        return other + cast("list[Any]", thaw(self))

    def __mul__(self, times: SupportsIndex) -> list[Any]:
        return cast("list[Any]", thaw(self)) * times

    __rmul__ = __mul__

    def __iadd__(self, other: Iterable[Any]) -> list[Any]:  # type: ignore[override]
        return [*thaw(self), *other]

    def __imul__(self, times: SupportsIndex) -> list[Any]:  # type: ignore[override]
        return self * times

    def copy(self) -> list[Any]:
        """Return a plain, deep copy."""
        return cast("list[Any]", thaw(self))

    __copy__ = copy

    def __deepcopy__(self, _memo: dict[int, Any]) -> list[Any]:
        return self.copy()

    def __reduce__(self) -> tuple[type, tuple[list[Any]]]:
        return list, (self.copy(),)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[type, tuple[list[Any]]]:
        return self.__reduce__()


class FrozenDict(dict[str, Any]):
    """A dict that was read from a config."""

    __slots__ = ()

    def _refuse(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("this dict " + _ADVICE.format(example="{**config[key], name: item}, or copy.deepcopy it first"))

    clear = pop = popitem = _refuse
    setdefault: Any = _refuse
    update: Any = _refuse
    __setitem__ = __delitem__ = _refuse

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**thaw(self), **other}

    def __ror__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        return {**other, **thaw(self)}

    def __ior__(self, other: Any) -> dict[str, Any]:  # type: ignore[override,misc]
        return {**thaw(self), **dict(other)}

    def copy(self) -> dict[str, Any]:
        """Return a plain, deep copy."""
        return cast("dict[str, Any]", thaw(self))

    __copy__ = copy

    def __deepcopy__(self, _memo: dict[int, Any]) -> dict[str, Any]:
        return self.copy()

    def __reduce__(self) -> tuple[type, tuple[dict[str, Any]]]:
        return dict, (self.copy(),)

    def __reduce_ex__(self, _protocol: SupportsIndex) -> tuple[type, tuple[dict[str, Any]]]:
        return self.__reduce__()


READ_ONLY: Final = frozenset[type[Any]]({FrozenList, FrozenDict})
"""Both types."""
