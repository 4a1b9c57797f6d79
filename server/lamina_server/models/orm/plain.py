"""Converts the Python objects that `data` takes and returns to values and back. Pure; knows no model."""

import json
from typing import Any

from lamina_server.domain.values import JSON_DEPTH_LIMIT, Kind, Value, canonical_json
from lamina_server.models.orm.readonly import freeze


class Sealed(bytes):
    """The sealed bytes of a secret. The models neither seal nor unseal: a program can only keep and copy them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<Sealed>"


def value_of_plain(plain: Any) -> Value:  # noqa: PLR0911 - one for each kind
    """Return the value of None, bool, int, float, str, bytes or Sealed, or of lists and dicts as JSON.

    An instance of a subclass becomes one of the base.

    Raises TypeError for any other type, and BadValueError (a ValueError) for an object
    that breaks a rule of values, such as NaN or an integer of more than 64 bits.
    """
    match plain:
        case None:
            return Value.of_null()
        case bool():
            return Value.of_boolean(plain)
        case int():
            return Value.of_integer(int(plain))
        case float():
            return Value.of_float(float(plain))
        case str():
            return Value.of_string(str.__str__(plain))  # str() of an enumeration gives its name
        case Sealed():
            return Value.of_secret(bytes(plain))
        case bytes():
            return Value.of_bytes(bytes(plain))
        case list() | dict():
            _check_types(plain, depth=1)
            return Value(Kind.JSON, canonical_json(plain))
    raise TypeError(
        f"a value is None, bool, int, float, str, bytes, or a list or dict of such (without bytes),"
        f" not {type(plain).__name__}"
    )


def plain_of_value(value: Value) -> Any:
    """Return the value as a Python object; lists and dicts are read-only."""
    if value.kind is Kind.JSON:
        return freeze(json.loads(str(value.data)))
    if value.kind is Kind.SECRET:
        return Sealed(value.data)  # type: ignore[arg-type]  # of this kind, it is bytes
    return value.data


def _check_types(node: Any, depth: int) -> None:
    if depth > JSON_DEPTH_LIMIT:  # perhaps a list that holds itself; canonical_json raises the error
        return
    if isinstance(node, dict):
        for name in node:
            if not isinstance(name, str):
                raise TypeError(f"a dict in a value has names of type str, not {type(name).__name__}")
    elif not isinstance(node, list):
        if not isinstance(node, bool | int | float | str | None):
            raise TypeError(f"a list or dict in a value cannot hold {type(node).__name__}")
        return
    for item in node.values() if isinstance(node, dict) else node:
        _check_types(item, depth + 1)
