"""Plain data in canonical form, checked against the limits of the wire; it knows neither values' kinds nor messages."""

import json
import math
from typing import Any, Final, TypeAlias

from lamina._mapping.frozen import FrozenDict, FrozenList, is_dict, is_list
from lamina.errors import InvalidError

JSON_DEPTH_LIMIT: Final = 64
"""The wire contract's: levels of lists and dicts in one value."""
INTEGER_BITS: Final = 64

# A place inside a value, for error texts: the place around it and the index or name. It becomes text only when needed.
Place: TypeAlias = "tuple[Place, int | str] | str"

INSIDE: Final = "the content of a Secret"
"""A place whose inner places are not named."""


def json_text(value: object, place: Place) -> str:
    """Check a list or dict, and write it as canonical JSON."""
    plain = _plain_json(value, place, 1)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def read_json(text: str) -> Any:
    """Read JSON, as read-only lists and dicts."""
    return _freeze(json.loads(text))


def plain_scalar(value: object, place: Place) -> bool | int | float | str | None:
    """Reduce a subclass, such as a StrEnum's member, to its base; check it against the wire's limits."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return plain_text(value, place)
    if isinstance(value, int):
        return _plain_integer(value, place)
    if isinstance(value, float):
        return _plain_float(value, place)
    kind = type(value).__name__
    raise TypeError(f"{_name(place)} cannot be {_article(kind)} {kind}{_hint(value)}")


def plain_text(text: str, place: Place, reason: str = "BAD_VALUE") -> str:
    """Return text as a plain str; InvalidError if the wire cannot hold it."""
    if "\x00" in text:
        raise InvalidError(f"{_name(place)} holds U+0000", reason=reason)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"{_name(place)} holds a lone surrogate, which UTF-8 does not have", reason=reason) from None
    return str.__str__(text)  # str(text) would be "Colour.RED" for a member of `class Colour(str, Enum)`


def _plain_json(value: Any, place: Place, depth: int) -> Any:
    """Copy lists and dicts, and their content, as their base types."""
    if is_list(value):
        _check_depth(depth, place)
        return [_plain_json(item, (place, index), depth + 1) for index, item in enumerate(value)]
    if is_dict(value):
        _check_depth(depth, place)
        return {_plain_name(name, place): _plain_json(item, (place, name), depth + 1) for name, item in value.items()}
    return plain_scalar(value, place)


def _check_depth(depth: int, place: Place) -> None:
    if depth > JSON_DEPTH_LIMIT:
        raise InvalidError(f"{_name(place)} is nested deeper than {JSON_DEPTH_LIMIT} levels", reason="BAD_VALUE")


def _plain_name(name: object, place: Place) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{_name(place)} is a dict with a key of type {type(name).__name__}: only text can be one")
    return plain_text(name, place)


def _plain_integer(number: int, place: Place) -> int:
    number = int.__index__(number)
    if not -(2 ** (INTEGER_BITS - 1)) <= number < 2 ** (INTEGER_BITS - 1):
        bits = number.bit_length() + 1
        text = f"{_name(place)} needs an integer of {bits} bits with its sign, the limit is {INTEGER_BITS}"
        raise InvalidError(text, reason="BAD_VALUE")
    return number


def _plain_float(number: float, place: Place) -> float:
    if not math.isfinite(number):
        raise InvalidError(f"{_name(place)} is not a finite number", reason="BAD_VALUE")
    return float.__float__(number) + 0.0  # -0.0 becomes 0.0, as it will when it is stored


def _name(place: Place) -> str:
    if isinstance(place, str):
        return place
    around, step = place
    name = _name(around)
    return name if name == INSIDE else f"{name}[{step!r}]"  # the names in a secret are a part of it


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeio" else "a"  # not for "u": a UUID, a uint8


def _hint(value: object) -> str:
    if isinstance(value, bytes):
        return " inside a list or dict, which are JSON: only a key's whole value can be bytes"
    for kind in type(value).__mro__:
        if hint := _HINTS.get((kind.__module__.partition(".")[0], kind.__name__)):
            return f": use {hint}"
    return ": values are None, bool, int, float, str, bytes, and lists and dicts of these"


def _freeze(value: Any) -> Any:
    if is_list(value):
        return FrozenList(map(_freeze, value))
    if is_dict(value):
        return FrozenDict((name, _freeze(item)) for name, item in value.items())
    return value


# By name, so that none of these modules has to be imported.
_HINTS: Final = {
    ("builtins", "tuple"): "a list",
    ("builtins", "set"): "a list, such as sorted(value)",
    ("builtins", "frozenset"): "a list, such as sorted(value)",
    ("builtins", "bytearray"): "bytes",
    ("builtins", "memoryview"): "bytes",
    ("array", "array"): "value.tolist()",
    ("collections", "deque"): "a list",
    ("datetime", "date"): "text, such as value.isoformat()",
    ("datetime", "time"): "text, such as value.isoformat()",
    ("datetime", "timedelta"): "a number, such as value.total_seconds()",
    ("decimal", "Decimal"): "str(value) to keep each digit, or float(value)",
    ("fractions", "Fraction"): "str(value), or float(value)",
    ("enum", "Enum"): "value.value",
    ("pathlib", "PurePath"): "str(value)",
    ("uuid", "UUID"): "str(value)",
    ("numpy", "ndarray"): "value.tolist()",
    ("numpy", "generic"): "value.item()",
    ("pydantic", "BaseModel"): "value.model_dump(mode='json')",
    ("pydantic", "SecretStr"): "lamina.Secret(value.get_secret_value())",
    ("pydantic", "SecretBytes"): "lamina.Secret(value.get_secret_value())",
    ("lamina", "Secret"): "one Secret for the whole list or dict",
}
