"""Reads JSON strictly: extensions of Python's json module are refused, with the line and the key.

These are NaN, infinity, a duplicate name in an object, and a number that is larger than 64 bits. Names within the value
of a key are a part of it, and no error repeats them.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


_TWICE: Final = "a name stands twice in one object"


class JSONTextError(ValueError):
    """A text that is not JSON. The error has the place, and never the text."""


def parse_json(text: str, *, is_map: bool = False) -> Any:
    """Read JSON strictly. Raise JSONTextError with the line; if it is the map of a config, also with the key."""
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise JSONTextError(f"line {error.lineno}, column {error.colno}: {what}") from None
    except RecursionError:
        raise JSONTextError("nested too deeply") from None
    except JSONTextError:  # the json module does not report the place at which it called the refusing function
        _refuse_with_place(text, is_map=is_map)
        raise


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in pairs:
        if name in names:
            raise JSONTextError(_TWICE)
        names[name] = value
    return names


def _float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise JSONTextError("a number is too large for 64 bits")
    return number


def _integer(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # it has more digits than Python reads
        raise JSONTextError("an integer is too large for 64 bits") from None


def _refuse_constant(_name: str) -> NoReturn:
    raise JSONTextError("NaN and infinity are not JSON")


def _refuse_with_place(text: str, *, is_map: bool) -> None:
    """Walk through a text that is valid except for these extensions; raise the first one, with its line and key."""
    names: list[set[str] | None] = []  # of the enclosing objects; None for a list
    key, before = "", ""
    for found in _TOKEN.finditer(text):
        part, is_name = found[0], bool(names) and names[-1] is not None and before in {"{", ","}
        before = part
        if part in {"{", "["}:
            names.append(set() if part == "{" else None)
        elif part in {"}", "]"}:
            names.pop()
        elif part not in {",", ":"}:
            is_key = is_map and is_name and len(names) == 1
            key = json.loads(part) if is_key else key
            try:
                _refuse_name(part, names[-1]) if is_name else _refuse_scalar(part)
            except JSONTextError as refusal:
                line = text.count("\n", 0, found.start()) + 1
                raise JSONTextError(f"line {line}: {f'{key}: ' if key else ''}{refusal}") from None


def _refuse_name(part: str, names: "set[str] | None") -> None:
    name = json.loads(part)
    assert names is not None  # only an object has names
    if name in names:
        raise JSONTextError(_TWICE)
    names.add(name)


def _refuse_scalar(part: str) -> None:
    json.loads(part, parse_constant=_refuse_constant, parse_float=_float, parse_int=_integer)
