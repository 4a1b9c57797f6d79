"""What a value is: its kinds, its canonical form, and when two values are equal.

Pure; knows neither the wire nor the database. Everything that compares, hashes or
stores a value starts from its kind and its canonical bytes.
"""

import json
import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NoReturn, Self, TypeAlias

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1
JSON_DEPTH_LIMIT = 64
"""Levels of nesting. A reader's stack must survive any value that was accepted."""

Scalar: TypeAlias = bool | int | float | str | bytes | None


class Kind(IntEnum):
    """What a value holds. The numbers are stored and hashed: they never change."""

    NULL = 0
    BOOLEAN = 1
    INTEGER = 2
    FLOAT = 3
    STRING = 4
    BYTES = 5
    JSON = 6


class BadValueError(ValueError):
    """What is wrong with a would-be value, as a sentence without the value itself."""


@dataclass(frozen=True, slots=True)
class Value:
    """One immutable value: a kind and its data in canonical form.

    Equality is equality of kind and canonical form, so `true`, `1` and `1.0` are three
    values, and `{"a": 1, "b": 2}` equals `{"b": 2, "a": 1}`. Make one with the
    constructor of its kind, which checks and canonicalises; the bare constructor is for
    data that is known to be canonical, such as a database row.

    `data` by kind: None, bool, int (signed 64-bit), finite float (never -0.0), str
    without U+0000, bytes, and for JSON the canonical text of a list or an object.
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
        """Make a text, which may not hold U+0000."""
        _check_text(data)
        return cls(Kind.STRING, data)

    @classmethod
    def of_bytes(cls, data: bytes) -> Self:
        """Make a byte string."""
        return cls(Kind.BYTES, data)

    @classmethod
    def of_json(cls, text: str) -> Self:
        """Take JSON text of a list or an object; refuse what two readers could read differently."""
        return cls(Kind.JSON, canonical_json(_parse_json(text)))

    @property
    def canonical(self) -> bytes:
        """The canonical bytes: what is digested, measured and compared.

        Integers are 8 bytes, big-endian, two's complement; floats IEEE 754 binary64,
        big-endian; strings and JSON UTF-8; null is empty.
        """
        if isinstance(self.data, str):  # as a rule
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
        """How large the value counts against limits: its canonical bytes."""
        return len(self.canonical)

    def __repr__(self) -> str:
        # Values appear in no log or error, so not by way of a repr either.
        return f"<Value {self.kind.name}>"


def canonical_json(data: Any) -> str:
    """Render a parsed list or object as canonical JSON text.

    Names sorted by code point, no white space, non-ASCII unescaped, floats as the
    shortest digits that read back as the same number, -0.0 as 0.0.

    Raises BadValueError for anything that is not JSON as Lamina takes it.
    """
    if not isinstance(data, list | dict):
        raise BadValueError("JSON must be a list or an object at the top; use the scalar kinds")
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
            raise BadValueError(f"JSON cannot hold a {type(node).__name__}")


def _check_depth(depth: int) -> None:
    if depth > JSON_DEPTH_LIMIT:
        raise _too_deep()


def _too_deep() -> BadValueError:
    return BadValueError(f"JSON is nested deeper than the limit of {JSON_DEPTH_LIMIT} levels")


def _check_integer(number: int) -> int:
    if not INTEGER_MIN <= number <= INTEGER_MAX:
        raise BadValueError(f"an integer of {number.bit_length()} bits is beyond the limit of 64 bits, signed")
    return number


def _canonical_float(number: float) -> float:
    if not math.isfinite(number):
        raise BadValueError(f"{number} is not a finite number")
    return number + 0.0  # -0.0 becomes 0.0, as SQLite's REAL would have it


def _check_text(text: str) -> str:
    if "\x00" in text:
        raise BadValueError(f"text holds U+0000 at position {text.index(chr(0))}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadValueError(f"text holds a lone surrogate at position {error.start}") from None
    return text


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise BadValueError("a JSON object holds the same name twice")
    return names


def _refuse_constant(name: str) -> NoReturn:
    raise BadValueError(f"{name} is not a finite number")
