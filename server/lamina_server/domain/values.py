"""Values: their kinds, their canonical form, and when two of them are equal. Pure.

Comparing, hashing and storing a value all begin with its kind and its canonical bytes.
"""

import json
import math
import struct
from enum import IntEnum
from typing import Any, NoReturn, Self, TypeAlias

from lamina_server.domain.record import record

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
JSON_DEPTH_LIMIT = 64
"""Levels of nesting. No accepted value may overflow the stack of a reader."""

Scalar: TypeAlias = bool | int | float | str | bytes | None


class Kind(IntEnum):
    """The kind of a value. The names are hashed and the numbers are stored, so they never change."""

    NULL = 0
    BOOLEAN = 1
    INTEGER = 2
    FLOAT = 3
    STRING = 4
    BYTES = 5
    JSON = 6
    SECRET = 7


class BadValueError(ValueError):
    """A value breaks a rule. The message says which, without the value."""


@record
class Value:
    """One immutable value: a kind and its data in canonical form.

    Equality is equality of kind and canonical form, so `true`, `1` and `1.0` are three
    values, and `{"a": 1, "b": 2}` equals `{"b": 2, "a": 1}`. Make one by the class method
    of its kind, which checks the data and brings it into canonical form. `Value(…)` itself
    is for data that is canonical already, such as a database row.

    `data` by kind: None, bool, int (signed 64-bit), finite float (never -0.0), str
    without U+0000, bytes, for JSON the canonical text of a list or an object, and for a
    secret its sealed bytes.
    """

    kind: Kind
    data: Scalar

    @classmethod
    def of_null(cls) -> Self:
        """Make null."""
        return cls(Kind.NULL, None)

    @classmethod
    def of_boolean(cls, data: bool) -> Self:  # noqa: FBT001 - it is the value, not an option
        """Make a boolean."""
        return cls(Kind.BOOLEAN, data)

    @classmethod
    def of_integer(cls, data: int) -> Self:
        """Make a signed 64-bit integer."""
        _check_integer(data)
        return cls(Kind.INTEGER, data)

    @classmethod
    def of_float(cls, data: float) -> Self:
        """Make a finite binary64; -0.0 becomes 0.0."""
        return cls(Kind.FLOAT, _canonical_float(data))

    @classmethod
    def of_string(cls, data: str) -> Self:
        """Make a text, which must not have U+0000 in it."""
        _check_text(data)
        return cls(Kind.STRING, data)

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Make a byte string."""
        return cls(Kind.BYTES, data)

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Make a list or an object from JSON text. Refuse text that two readers could read differently."""
        return cls(Kind.JSON, canonical_json(_parse_json(text)))

    @classmethod
    def of_secret(cls, sealed: bytes) -> Self:
        """Make a secret from its sealed bytes: see domain/secrets.py."""
        return cls(Kind.SECRET, sealed)

    @property
    def canonical(self) -> bytes:
        """The canonical bytes, which are hashed, measured and compared.

        Integers are 8 bytes, big-endian, two's complement; floats IEEE 754 binary64,
        big-endian; strings and JSON UTF-8; null is empty. Those of a secret are its sealed bytes.
        """
        if isinstance(self.data, str):  # the usual case
            return self.data.encode()
        match self.data:
            case None:
                return b""
            case bool():
                return b"\x01" if self.data else b"\x00"
            case int():
                return self.data.to_bytes(8, "big", signed=True)
            case float():
                return struct.pack(">d", self.data)
            case bytes():
                return self.data

    @property
    def size_bytes(self) -> int:
        """The size that limits count: the number of canonical bytes."""
        data = self.data
        return len(data) if isinstance(data, str) and data.isascii() else len(self.canonical)

    def __repr__(self) -> str:
        # Values appear in no log and in no error, so a repr does not show them.
        return f"<Value {self.kind.name}>"


def canonical_json(data: Any) -> str:
    """Return a parsed list or object as canonical JSON text.

    Names are sorted by code point. There is no white space, and only what JSON must escape
    is escaped. Floats have the fewest digits that read back as the same number; -0.0 is 0.0.

    Raises BadValueError for data that Lamina does not accept as JSON.
    """
    if not isinstance(data, list | dict):
        raise BadValueError("JSON must be a list or an object; use another kind for a single scalar")
    node = _canonical_node(data, depth=1)
    return json.dumps(node, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique_names, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    except BadValueError:
        raise
    except ValueError as error:  # JSONDecodeError, or an integer of thousands of digits
        where = f" at position {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadValueError(f"not JSON{where}") from None


def _canonical_node(node: Any, depth: int) -> Any:
    match node:
        case dict():
            _check_depth(depth)
            return {_check_text(name): _canonical_node(item, depth + 1) for name, item in node.items()}
        case list():
            _check_depth(depth)
            return [_canonical_node(item, depth + 1) for item in node]
        case None | bool():
            return node
        case int():
            return _check_integer(node)
        case float():
            return _canonical_float(node)
        case str():
            return _check_text(node)
        case _:
            raise BadValueError(f"JSON has no place for the type {type(node).__name__}")


def _check_depth(depth: int) -> None:
    if depth > JSON_DEPTH_LIMIT:
        raise _too_deep()


def _too_deep() -> BadValueError:
    return BadValueError(f"JSON is nested deeper than the limit of {JSON_DEPTH_LIMIT} levels")


def _check_integer(number: int) -> int:
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise BadValueError(f"an integer of {number.bit_length()} bits exceeds the limit of 64 bits, signed")
    return number


def _canonical_float(number: float) -> float:
    if not math.isfinite(number):
        raise BadValueError(f"{number} is not a finite number")
    return number + 0.0  # -0.0 becomes 0.0, because SQLite's REAL does not keep it


def _check_text(text: str) -> str:
    if text.isascii() and text.isprintable():  # the usual case, and quickly seen
        return text
    if "\x00" in text:
        raise BadValueError(f"the text has U+0000 at position {text.index(chr(0))}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValueError(f"the text has a lone surrogate at position {error.start}") from None
    return text


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise BadValueError("a JSON object has the same name twice")
    return names


def _refuse_constant(name: str) -> NoReturn:
    raise BadValueError(f"{name} is not a finite number")
