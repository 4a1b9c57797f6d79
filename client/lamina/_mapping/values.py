"""Values: their types, when two are equal, and their wire format; it knows neither configs nor gRPC.

The server has code of its own for the same rules (`domain/values.py`), on purpose: a client that used the server's
would prove nothing when it verifies a hash. Tests of both read the same examples, protos/vectors.json.

A value is kept as `Stored`: a kind of the wire and the data in canonical form. Two values are equal if and only if both
are, so `True`, `1` and `1.0` are three values, and two equal dicts are equal however they were written. JSON, the kind
of lists and dicts, is canonical as text: names sorted by code point, no white space, no escapes that are not needed.

    encode({"b": 1, "a": [2.0]})  ->  Stored("json", '{"a":[2.0],"b":1}')
    decode(...)                   ->  FrozenDict({"a": FrozenList([2.0]), "b": 1})
"""

import json
import math
import unicodedata
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, cast

from google.protobuf.struct_pb2 import NullValue

from lamina._mapping.frozen import FrozenDict, FrozenList, is_dict, is_list
from lamina.errors import InvalidError, LaminaError
from lamina_protos.v1 import lamina_pb2 as pb

Value: TypeAlias = bool | int | float | str | bytes | list[Any] | dict[str, Any] | None
"""The types that a key can be set to. Lists and dicts hold these too, except bytes. The names in a dict are text, and
are read back in sorted order."""

Kind: TypeAlias = Literal["null", "bool", "int64", "double", "string", "bytes", "json"]

KEY_BYTES_LIMIT: Final = 512
"""The wire contract's; checked here so that a bad key fails where it is written."""
JSON_DEPTH_LIMIT: Final = 64
"""The wire contract's: levels of lists and dicts in one value."""
INTEGER_BITS: Final = 64

_UNKNOWN_KIND: Final = "the server sent a kind of value that this client does not know: upgrade it"

# A place inside a value, for error texts: the place around it and the index or name. It becomes text only when needed.
_Place: TypeAlias = "tuple[_Place, int | str] | str"


@dataclass(frozen=True, slots=True)
class Stored:
    """One value in canonical form."""

    kind: Kind
    data: bool | int | float | str | bytes | None

    def __repr__(self) -> str:
        return f"<Stored {self.kind}>"  # the data may be a secret, and reprs end in logs


def encode(value: object, *, key: str) -> Stored:
    """Check, copy and canonicalise a value for `key`.

    TypeError for an unsupported type, InvalidError for a number, text or depth that the wire cannot hold.
    """
    if isinstance(value, list | dict):
        plain = _plain_json(value, f"the value of {key!r}", 1)
        return Stored("json", json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
    if isinstance(value, bytes):
        return Stored("bytes", bytes(value))
    scalar = _plain_scalar(value, f"the value of {key!r}")
    return Stored(_SCALAR_KINDS[type(scalar)], scalar)


def decode(stored: Stored) -> Any:
    """Return the value as users read it: lists and dicts read-only."""
    return _freeze(json.loads(cast("str", stored.data))) if stored.kind == "json" else stored.data


def load(message: pb.Value) -> Stored:
    """Return a value of the wire in canonical form. The server keeps and sends only canonical forms."""
    kind = message.WhichOneof("kind")
    if kind is None or kind == "secret":
        raise LaminaError(_UNKNOWN_KIND)
    return Stored(kind, None if kind == "null" else getattr(message, kind))


def read(message: pb.Value) -> Any:
    """Return a value of the wire as users read it: `decode(load(message))` without the object in between."""
    text = message.string
    if text:
        return text  # most values are text, and this calls protobuf once
    kind = message.WhichOneof("kind")
    if kind == "json":
        return _freeze(json.loads(message.json))
    if kind is None or kind == "secret":
        raise LaminaError(_UNKNOWN_KIND)
    return None if kind == "null" else getattr(message, kind)


def dump(stored: Stored) -> pb.Value:
    """Make the value's message for the wire."""
    if stored.kind == "null":
        return pb.Value(null=NullValue.NULL_VALUE)
    return pb.Value(**{stored.kind: stored.data})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def check_key(key: object) -> str:
    """Return the key as plain text; TypeError if it is no text, InvalidError with the limit if it is bad."""
    if not isinstance(key, str):
        raise TypeError(f"keys are text, not {type(key).__name__}")
    key = str.__str__(key)
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise InvalidError(f"the key {key!r} holds a lone surrogate", reason="BAD_KEY") from None
    if not 0 < size <= KEY_BYTES_LIMIT:
        shown = f"{key[:40]!r}..." if size else "''"
        raise InvalidError(f"a key has 1 to {KEY_BYTES_LIMIT} bytes, {shown} has {size}", reason="BAD_KEY")
    if not key.isprintable() and any(unicodedata.category(character) == "Cc" for character in key):
        raise InvalidError(f"the key {key!r} holds a control character", reason="BAD_KEY")
    if not unicodedata.is_normalized("NFC", key):
        raise InvalidError(f"the key {key!r} is not in Unicode normal form C: normalise it", reason="BAD_KEY")
    return key


def check_text(text: object, what: str) -> str:
    """Return a name or message as plain text. TypeError if it is no text, InvalidError if UTF-8 cannot hold it."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is text, not {type(text).__name__}")
    return _plain_text(text, what, reason="BAD_REQUEST")


_SCALAR_KINDS: Final[dict[type, Kind]] = {
    type(None): "null",
    bool: "bool",
    int: "int64",
    float: "double",
    str: "string",
}


def _plain_json(value: Any, place: _Place, depth: int) -> Any:
    """Copy lists and dicts, and their content, as their base types."""
    if is_list(value):
        _check_depth(depth, place)
        return [_plain_json(item, (place, index), depth + 1) for index, item in enumerate(value)]
    if is_dict(value):
        _check_depth(depth, place)
        return {_plain_name(name, place): _plain_json(item, (place, name), depth + 1) for name, item in value.items()}
    return _plain_scalar(value, place)


def _check_depth(depth: int, place: _Place) -> None:
    if depth > JSON_DEPTH_LIMIT:
        raise InvalidError(f"{_name(place)} is nested deeper than {JSON_DEPTH_LIMIT} levels", reason="BAD_VALUE")


def _plain_name(name: object, place: _Place) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{_name(place)} is a dict with a key of type {type(name).__name__}: only text can be one")
    return _plain_text(name, place)


def _plain_scalar(value: object, place: _Place) -> bool | int | float | str | None:
    """Reduce a subclass, such as a StrEnum's member, to its base; check it against the wire's limits."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _plain_text(value, place)
    if isinstance(value, int):
        return _plain_integer(value, place)
    if isinstance(value, float):
        return _plain_float(value, place)
    kind = type(value).__name__
    raise TypeError(f"{_name(place)} cannot be {_article(kind)} {kind}{_hint(value)}")


def _plain_text(text: str, place: _Place, reason: str = "BAD_VALUE") -> str:
    if "\x00" in text:
        raise InvalidError(f"{_name(place)} holds U+0000", reason=reason)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidError(f"{_name(place)} holds a lone surrogate, which UTF-8 does not have", reason=reason) from None
    return str.__str__(text)  # str(text) would be "Colour.RED" for a member of `class Colour(str, Enum)`


def _plain_integer(number: int, place: _Place) -> int:
    number = int.__index__(number)
    if not -(2 ** (INTEGER_BITS - 1)) <= number < 2 ** (INTEGER_BITS - 1):
        bits = number.bit_length() + 1
        text = f"{_name(place)} needs an integer of {bits} bits with its sign, the limit is {INTEGER_BITS}"
        raise InvalidError(text, reason="BAD_VALUE")
    return number


def _plain_float(number: float, place: _Place) -> float:
    if not math.isfinite(number):
        raise InvalidError(f"{_name(place)} is not a finite number", reason="BAD_VALUE")
    return float.__float__(number) + 0.0  # -0.0 becomes 0.0, as it will when it is stored


def _freeze(value: Any) -> Any:
    if is_list(value):
        return FrozenList(map(_freeze, value))
    if is_dict(value):
        return FrozenDict((name, _freeze(item)) for name, item in value.items())
    return value


def _name(place: _Place) -> str:
    if isinstance(place, str):
        return place
    around, step = place
    return f"{_name(around)}[{step!r}]"


def _article(noun: str) -> str:
    return "an" if noun[:1].lower() in "aeio" else "a"  # not for "u": a UUID, a uint8


def _hint(value: object) -> str:
    if isinstance(value, bytes):
        return " inside a list or dict, which are JSON: only a key's whole value can be bytes"
    for kind in type(value).__mro__:
        if hint := _HINTS.get((kind.__module__.partition(".")[0], kind.__name__)):
            return f": use {hint}"
    return ": values are None, bool, int, float, str, bytes, and lists and dicts of these"


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
}
