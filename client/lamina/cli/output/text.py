"""JSON and plain text, in and out, with nothing lost and nothing that a terminal would obey; it knows no config.

What Python's json module takes beyond JSON (NaN, a name twice) is refused on the way in.
"""

import base64
import json
import math
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_LAYOUT: Final = frozenset("\n\t")
# Cc would be obeyed by a terminal, Cf can reorder or hide what is read (but for the joiners of emoji and some scripts),
# Zl and Zp break lines, Cs cannot be encoded.
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")


class JSONTextError(ValueError):
    """A text that is not JSON. Says where, never what stands there."""


def parse_json(text: str) -> Any:
    """Read JSON strictly. Raises JSONTextError with the line."""
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        what = error.msg[:1].lower() + error.msg[1:]
        raise JSONTextError(f"line {error.lineno}, column {error.colno}: {what}") from None
    except RecursionError:
        raise JSONTextError("nested too deeply") from None


def write_json(value: Any) -> str:
    """Write one value canonically on one line; bytes, which JSON has not, in base64."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=substitute
    )


def substitute(value: object) -> str:
    """Give what stands in JSON for what it has not: base64 for bytes."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no value is a {type(value).__name__}")


def bare(value: Any) -> str:
    """Write one value for a variable: text as it is, bytes in base64, everything else as JSON."""
    if isinstance(value, str | bytes):
        return value if isinstance(value, str) else substitute(value)
    return write_json(value)


def show(value: Any) -> str:
    """Write one value for people: JSON with a space after a comma, bytes as YAML has them, nothing that acts."""
    if isinstance(value, bytes):
        return f"!!binary {base64.b64encode(value).decode()}"
    return escape_json(json.dumps(value, ensure_ascii=False, sort_keys=True))


def escape(text: str, *, keep_layout: bool = False) -> str:
    """Replace what a terminal would obey, or hide, by escapes that say what was there.

    `keep_layout` keeps line ends and tabs, for a text that is printed by itself.
    """
    return "".join(_escaped(character, keep_layout=keep_layout) for character in text) if _suspect(text) else text


def escape_json(text: str) -> str:
    """Do the same to a JSON text, which stays the same JSON: such characters stand in its strings alone."""
    if not _suspect(text):
        return text
    return "".join(
        json.dumps(character)[1:-1] if _unsafe(character) and character != "\n" else character for character in text
    )


def utc(time: datetime) -> str:
    """Write a time as machines like it: RFC 3339, UTC, microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _suspect(text: str) -> bool:
    """Tell quickly that there is nothing to escape, as in nearly every text."""
    return not (text.isascii() and text.isprintable())


def _unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _JOINERS


def _escaped(character: str, *, keep_layout: bool) -> str:
    if not _unsafe(character) or (keep_layout and character in _LAYOUT):
        return character
    return _SHORT_ESCAPES.get(character) or character.encode("unicode_escape", "backslashreplace").decode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for name, value in pairs:
        if name in names:
            raise JSONTextError(f"the name {name!r} stands twice in one object")
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
    except ValueError:  # more digits than Python is willing to read
        raise JSONTextError("an integer is too large for 64 bits") from None


def _refuse_constant(_name: str) -> NoReturn:
    raise JSONTextError("NaN and infinity are not JSON")
