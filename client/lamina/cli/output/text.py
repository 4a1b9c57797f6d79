"""Values as JSON and as plain text, without loss and without control characters; it knows no config."""

import base64
import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

import lamina

MASK: Final = "••••"
"""Stands for a secret, as its `str` does."""

_SHORT_ESCAPES: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
_LAYOUT: Final = frozenset("\n\t")
# A terminal obeys Cc; Cf can reorder or hide text (except for the joiners of emoji and some scripts); Zl and Zp break
# lines; Cs cannot be encoded.
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS: Final = frozenset("\u200c\u200d")
_SUSPECT: Final = re.compile("[^ -~]")
"""A character that may need an escape."""


def write_json(value: Any) -> str:
    """Write one value canonically in one line; bytes, which JSON does not have, in base64."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, default=substitute
    )


def substitute(value: object) -> Any:
    """Return the JSON form of a value that JSON does not have: base64 for bytes, and {"secret": true} for a secret."""
    if isinstance(value, bytes):
        return in_base64(value)
    if isinstance(value, lamina.Secret):
        return {"secret": True}
    raise TypeError(f"no value is a {type(value).__name__}")


def in_base64(data: bytes) -> str:
    """Write bytes as text."""
    return base64.b64encode(data).decode()


def bare(value: Any) -> str:
    """Write one value for a variable: text as it is, bytes in base64, everything else as JSON."""
    if isinstance(value, str | bytes):
        return value if isinstance(value, str) else in_base64(value)
    return write_json(value)


def show(value: Any) -> str:
    """Write one value for people: JSON with a space after a comma, bytes as in YAML, control characters escaped.

    A secret is a mask.
    """
    if isinstance(value, lamina.Secret):
        return MASK
    if isinstance(value, bytes):
        return f"!!binary {in_base64(value)}"
    return escape_json(json.dumps(value, ensure_ascii=False, sort_keys=True))


def escape(text: str, *, keep_layout: bool = False) -> str:
    """Replace characters that a terminal would obey or hide by visible escapes.

    `keep_layout` keeps line ends and tabs, for a text that is printed by itself.
    """
    if not _suspect(text):
        return text
    return _SUSPECT.sub(lambda found: _escaped(found[0], keep_layout=keep_layout), text)


def escape_json(text: str) -> str:
    """Escape a JSON text without changing its meaning: such characters occur only in its strings."""
    if not _suspect(text):
        return text
    return _SUSPECT.sub(_escaped_json, text)


def utc(time: datetime) -> str:
    """Write a time for programs: RFC 3339, UTC, microseconds."""
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _suspect(text: str) -> bool:
    """Return whether a text may need escapes. Few do, and this check is fast."""
    return not (text.isascii() and text.isprintable())


def _unsafe(character: str) -> bool:
    return unicodedata.category(character) in _UNSAFE_CATEGORIES and character not in _JOINERS


def _escaped_json(found: "re.Match[str]") -> str:
    character = found[0]
    return json.dumps(character)[1:-1] if character != "\n" and _unsafe(character) else character


def _escaped(character: str, *, keep_layout: bool) -> str:
    if not _unsafe(character) or (keep_layout and character in _LAYOUT):
        return character
    return _SHORT_ESCAPES.get(character) or character.encode("unicode_escape", "backslashreplace").decode()
