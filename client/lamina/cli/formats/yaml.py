"""YAML 1.2: ruamel reads and writes the syntax, and this module decides what a scalar means; it knows no config.

By the core schema of YAML 1.2: `no`, `0b1` and `1_000` are text, `0755` is 755, `0o755` is 493, `1e3` is 1000.0. These
are refused with their line: dates, a program's own tags, merge keys, a key that is not text, and a duplicate key. Text
that an older reader could misread is written in quotes. Two tags are our own: `!secret` before a text, list or map
makes it a secret, and so does `!secret-bytes` before base64.
"""

import base64
import binascii
import io
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

import lamina
from lamina.cli.formats.yaml_syntax import YAMLFileError, events
from lamina.cli.output.text import in_base64

_TAG: Final = "tag:yaml.org,2002:"
_KNOWN_TAGS: Final = frozenset(
    _TAG + name for name in ("null", "bool", "int", "float", "str", "binary", "seq", "map", "timestamp", "set", "omap")
)
"""What an error may name: any other word after `!` may have been meant as a value."""
_SECRET: Final = "!secret"  # noqa: S105 - the tag of secrets
_SECRET_BYTES: Final = "!secret-bytes"  # noqa: S105 - the tag of secrets that are bytes, in base64
_DEPTH_LIMIT: Final = 100
"""Levels: more than the 64 that a value may have, and fewer than Python's stack allows."""
_VALUES_LIMIT: Final = 2_000_000
"""Values, with all aliases expanded: a few lines of aliases of aliases can mean billions of values."""
_INTEGER_DIGITS: Final = 4000
"""Python reads no longer integer, and a value of 64 bits has at most 20 digits."""

_NULL: Final = re.compile(r"null|Null|NULL|~|")
_BOOLEAN: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER: Final = re.compile(r"(?P<ten>[-+]?[0-9]+)|0o(?P<eight>[0-7]+)|0x(?P<sixteen>[0-9a-fA-F]+)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DATE: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}(\.[0-9]*)?"
    r"([ \t]*(Z|[-+][0-9]{1,2}(:?[0-9]{2})?))?"
)
_PLAIN: Final = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+ -]*(?<! )|[A-Za-z0-9]+([.][A-Za-z0-9]+){3,}", re.ASCII)
"""Text that is written without quotes: no reader misreads it, unless it is one of these words."""
_WIDTH: Final = 2**20
_SHORT_KEY: Final = 100
"""Columns of a key: a longer one may need a line of its own."""
_UNESCAPED: Final = re.compile(r"[ !#-\[\]-~]*")
"""Text that has nothing to escape within double quotes."""
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def load(text: str) -> Any:
    """Read a file of one document. Raises YAMLFileError."""
    return _Loader(events(text)).document()


def dump(entries: Mapping[str, Any]) -> str:
    """Write a map in block style, in order of its keys.

    Most entries are one short line, which is written here: ruamel would take a hundred times as long.
    """
    parts: list[str] = []
    for is_line, group in groupby(map(_entry, sorted(entries.items())), key=lambda entry: entry[0] is not None):
        if is_line:
            parts += [line for line, _ in group if line is not None]
        else:
            parts.append(_dump(dict(item for _, item in group)))
    return "".join(parts) or _dump({})


def _entry(item: tuple[str, Any]) -> tuple[str | None, tuple[str, Any]]:
    """Return an entry's line, which is None where ruamel must write the entry, and the entry."""
    key, value = _short(item[0]), _short(item[1])
    if key is None or value is None or len(key) > _SHORT_KEY:
        return None, item
    return f"{key}: {value}\n", item


def _short(value: Any) -> str | None:
    """Return a text, whole number or boolean as it is written within a line; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return None
    if len(value) > _WIDTH // 2:
        return None
    style = _style(value)
    if style is None:
        return value
    return f'"{value}"' if style == '"' and _UNESCAPED.fullmatch(value) else None


def _dump(entries: dict[str, Any]) -> str:
    """Let ruamel write entries."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = _WIDTH  # long lines stay whole, so that a change of a word is a change of a line
    out = io.StringIO()
    yaml.dump(entries, out)
    return out.getvalue()


class _Loader:
    """Makes values from the events of one document, and counts them. `_key` is the current top-level key."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        self._key = ""

    def document(self) -> Any:
        next(self._events)  # the start of the stream
        start = next(self._events)
        if isinstance(start, StreamEndEvent):
            return None
        if isinstance(start, DocumentStartEvent) and start.version not in {None, (1, 2)}:
            self._refuse(start, "the document says that it is not YAML 1.2, and is not read as such")
        value = self._value(next(self._events), 0)
        next(self._events)  # the end of the document
        if not isinstance(more := next(self._events), StreamEndEvent):
            self._refuse(more, "a second document begins; a config is one")
        return value

    def _value(self, event: Event, depth: int) -> Any:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        before = self._count
        self._counted(event, 1)
        if depth > _DEPTH_LIMIT:
            self._refuse(event, f"nested deeper than {_DEPTH_LIMIT} levels")
        value = self._made(event, depth)
        if anchor := getattr(event, "anchor", None):
            self._anchors[anchor] = (value, self._count - before)
        return value

    def _made(self, event: Event, depth: int) -> Any:
        if isinstance(event, ScalarEvent):
            return self._scalar(event, depth)
        if isinstance(event, MappingStartEvent):
            is_secret = self._is_secret(event, depth, "map")
            return self._secret(event, self._mapping(depth)) if is_secret else self._mapping(depth)
        if isinstance(event, SequenceStartEvent):
            is_secret = self._is_secret(event, depth, "seq")
            return self._secret(event, self._sequence(depth)) if is_secret else self._sequence(depth)
        return self._refuse(event, f"{type(event).__name__} where a value should be")

    def _sequence(self, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        entries: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            name = self._name(event, depth)
            if name in entries:
                shown = name if depth == 0 else "a name"
                self._refuse(event, f"{shown} stands twice, first in line {lines[name]}")
            lines[name] = event.start_mark.line + 1
            if depth == 0:
                self._key = name
            entries[name] = self._value(next(self._events), depth + 1)
            if depth == 0:
                self._key = ""
        return entries

    def _name(self, event: Event, depth: int) -> str:
        if isinstance(event, ScalarEvent) and _plain(event) and event.value == "<<":
            self._refuse(event, "merge keys (<<) are not of YAML 1.2: write the entries out, or quote the key")
        name = self._value(event, depth + 1)
        if isinstance(name, str):
            return name
        shown = f" {event.value}" if isinstance(event, ScalarEvent) and depth == 0 else ""
        return self._refuse(event, f"the key{shown} is not text: quote it")

    def _alias(self, event: AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(event, "an alias has no anchor before it: quote a text that begins with *")
        value, count = self._anchors[event.anchor]
        self._counted(event, count)
        return value

    def _counted(self, event: Event, count: int) -> None:
        self._count += count
        if self._count > _VALUES_LIMIT:
            self._refuse(event, f"more than {_VALUES_LIMIT} values, aliases followed")

    def _is_secret(self, event: MappingStartEvent | SequenceStartEvent, depth: int, name: str) -> bool:
        """Return whether a list or map is a secret; refuse any tag but that and its own."""
        if event.ctag == _SECRET and depth == 1:
            return True
        if event.ctag not in {None, "!", _TAG + name}:
            self._refuse_tag(event, str(event.ctag))
        return False

    def _secret(self, event: Event, content: Any) -> lamina.Secret:
        try:
            return lamina.Secret(content)
        except (TypeError, lamina.InvalidError) as error:
            self._refuse(event, str(error))

    def _scalar(self, event: ScalarEvent, depth: int) -> Any:
        tag = None if event.ctag is None else str(event.ctag)
        if tag is None and _plain(event):
            return self._resolved(event)
        if tag in {None, "!", _TAG + "str"}:
            return event.value
        if tag == _TAG + "binary":
            return self._binary(event, depth)
        if tag in {_SECRET, _SECRET_BYTES} and depth == 1:
            return self._secret(event, event.value if tag == _SECRET else self._binary(event, depth))
        if tag in _TYPES:
            pattern, make = _TYPES[tag]
            if found := pattern.fullmatch(event.value):
                return self._number(event, make, found)
            self._refuse(event, f"this is no {tag.removeprefix(_TAG)}")
        return self._refuse_tag(event, str(tag))

    def _resolved(self, event: ScalarEvent) -> Any:
        """Return what a plain scalar means, by the core schema."""
        if _DATE.fullmatch(event.value):
            self._refuse(event, "a date is no value: quote it to make it text")
        if _NOT_FINITE.fullmatch(event.value):
            self._refuse(event, "only finite numbers are values")
        for pattern, make in _TYPES.values():
            if found := pattern.fullmatch(event.value):
                return self._number(event, make, found)
        return event.value

    def _number(self, event: ScalarEvent, make: "Callable[[re.Match[str]], Any]", found: "re.Match[str]") -> Any:
        if len(event.value) > _INTEGER_DIGITS:
            self._refuse(event, "a number is too large for 64 bits")
        value = make(found)
        if value in {float("inf"), float("-inf")}:
            self._refuse(event, "a number is too large for 64 bits")
        return value

    def _binary(self, event: ScalarEvent, depth: int) -> bytes:
        if depth > 1:
            self._refuse(event, "bytes stand inside a list or map: only a key's whole value can be bytes")
        try:
            return base64.b64decode("".join(event.value.split()), validate=True)
        except (binascii.Error, ValueError):
            return self._refuse(event, "this is no base64")

    def _refuse_tag(self, event: Event, tag: str) -> NoReturn:
        shown = f"the tag {tag.replace(_TAG, '!!')}" if tag in {*_KNOWN_TAGS, _SECRET} else "a tag"
        self._refuse(event, f"{shown} has no meaning here: quote a text that begins with !")

    def _refuse(self, event: Event, why: str) -> NoReturn:
        place = f"{self._key}: " if self._key else ""
        raise YAMLFileError(f"line {event.start_mark.line + 1}: {place}{why}")


class _Representer(SafeRepresenter):
    """Writes text so that no reader misreads it."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def represent_text(self, text: str) -> ScalarNode:
        return self.represent_scalar(_TAG + "str", text, style=_style(text))

    def represent_secret(self, secret: lamina.Secret) -> Any:
        content = secret.reveal()
        if isinstance(content, bytes):
            return self.represent_scalar(_SECRET_BYTES, in_base64(content))
        if isinstance(content, str):
            return self.represent_scalar(_SECRET, content, style=_style(content) or '"')
        if isinstance(content, list):
            return self.represent_sequence(_SECRET, content.copy())
        return self.represent_mapping(_SECRET, content.copy())


_Representer.add_representer(str, _Representer.represent_text)
_Representer.add_representer(lamina.Secret, _Representer.represent_secret)


def _style(text: str) -> str | None:
    """Choose no quotes if no reader could misread the text, a block if it has lines, else quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return None
    return "|" if _fits_block(text) else '"'


def _fits_block(text: str) -> bool:
    """Return whether a text of several lines loses nothing as a block, whose lines are indented."""
    first, *others = lines = text.split("\n")
    return bool(others and first[:1].strip()) and all(line.isprintable() and line == line.rstrip() for line in lines)


def _plain(event: ScalarEvent) -> bool:
    return event.style is None or event.style == ""


def _integer(found: "re.Match[str]") -> int:
    return int(found["ten"] or found["eight"] or found["sixteen"], 10 if found["ten"] else 8 if found["eight"] else 16)


_TYPES: Final[Mapping[str, tuple["re.Pattern[str]", "Callable[[re.Match[str]], Any]"]]] = {
    _TAG + "null": (_NULL, lambda _found: None),
    _TAG + "bool": (_BOOLEAN, lambda found: found[0].lower() == "true"),
    _TAG + "int": (_INTEGER, _integer),
    _TAG + "float": (_FLOAT, lambda found: float(found[0])),
}
