"""Whole maps as files. JSON and TOML are here; YAML and env are in their own modules.

It knows file contents, no config, and only the suffix of a path. A value that a format cannot hold without loss is a
FormatError with the key, so `load(format, dump(format, map)) == map`. Only YAML can hold the content of a secret: in
the other formats it would come back as a plain value. A secret without its content (MASKED) is marked, which import
understands; in env it is left out, because any text there would be a value.
"""

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from pathlib import PurePath
from typing import Any, Final

import tomli_w

import lamina
from lamina.cli.formats import env, yaml
from lamina.cli.formats.yaml_syntax import YAMLFileError
from lamina.cli.output.json_text import JSONTextError, parse_json
from lamina.cli.output.secrets import MASKED
from lamina.cli.output.text import substitute

FORMATS: Final = ("yaml", "toml", "json", "env")
_SUFFIXES: Final = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".env": "env"}


_QUOTED_NAMES: Final = re.compile(r"""\(['"].*\)(?= )|(?<=inline table key ).*(?= \(at )""", re.DOTALL)
"""How tomllib quotes names, of which those within the value of a key are a part of it."""
_ELSE: Final = " (YAML can; `lamina get CONFIG --reveal -o FORMAT` writes it for a program)"
_UNCLOSED_LIMIT: Final = 100
"""At most this many lines are tried as the one with an unclosed opening: each try reads the file again."""


class FormatError(ValueError):
    """A file that cannot be read, or a map that cannot be written. Names lines and keys, never values."""


def format_of(path: str) -> str | None:
    """Return a file's format by its suffix; `.env` is also a whole name."""
    name = PurePath(path).name.lower()
    return "env" if name == ".env" else _SUFFIXES.get(PurePath(name).suffix)


def load(form: str, data: bytes) -> dict[str, Any]:
    """Read a file: top-level names are the keys."""
    try:
        text = data.decode("utf-8-sig")  # some editors put a byte order mark at the beginning
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FormatError(f"line {line}: not UTF-8 text") from None
    return _LOADERS[form](text)


def dump(form: str, entries: Mapping[str, Any]) -> str:
    """Write a map as a file that `load` reads back as the same map."""
    if form != "yaml":
        for key, value in entries.items():
            if isinstance(value, lamina.Secret) and value is not MASKED:
                raise FormatError(
                    f"{form} cannot hold {key}: it is a secret, and would come back as a plain value{_ELSE}"
                )
    return _DUMPERS[form](entries)


def dump_upper(entries: Mapping[str, Any]) -> str:
    """Write any map as an env file with upper-case names: for use, not for reading back."""
    return _env(entries, env.dump_upper)


def shell(entries: Mapping[str, Any], *, upper: bool = False) -> str:
    """Write any map as assignments for a POSIX shell: for use, not for reading back."""
    return _env(entries, lambda found: env.shell(found, upper=upper))


def _load_json(text: str) -> dict[str, Any]:
    try:
        return _map(parse_json(text, is_map=True))
    except JSONTextError as error:
        raise FormatError(str(error)) from None


def _dump_json(entries: Mapping[str, Any]) -> str:
    for key, value in entries.items():
        if isinstance(value, bytes):
            raise FormatError(f"JSON cannot hold {key}: it is bytes, and would come back as text (YAML can)")
    return json.dumps(dict(entries), ensure_ascii=False, indent=2, allow_nan=False, default=substitute) + "\n"


def _load_toml(text: str) -> dict[str, Any]:
    try:
        entries = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormatError(_told(str(error), text)) from None
    except RecursionError:
        raise FormatError("nested too deeply") from None
    for key, value in entries.items():
        _refuse_dates(key, value, text)
    return entries


def _told(error: str, text: str) -> str:
    """Return TOML's error, beginning with the line: that of an unclosed opening, rather than the last one."""
    error = _QUOTED_NAMES.sub("a name", error)
    what, found, place = error.rpartition(" (at ")
    if found and place == "end of document)":
        return (
            f"line {_unclosed(text)}: {what[:1].lower()}{what[1:]}: is a quote or a bracket closed that is opened here?"
        )
    return f"{place.removesuffix(')')}: {what[:1].lower()}{what[1:]}" if found else error


def _unclosed(text: str) -> int:
    """Return the number of the line in which the last statement begins: all lines above it are TOML by themselves."""
    lines = text.splitlines(keepends=True)
    openers = [number for number, line in enumerate(lines) if re.search(r"""[\[{]|\"{3}|'{3}""", line)]
    for number in openers[: -_UNCLOSED_LIMIT - 1 : -1]:
        try:
            tomllib.loads("".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        return number + 1
    return len(lines)


def _refuse_dates(key: str, value: Any, text: str) -> None:
    """Refuse TOML's dates, which are no values. tomllib does not report their line, so the text is searched for it."""
    if isinstance(value, date | datetime | time):
        written = re.escape(str(value)[:10].rstrip("+-Z:"))
        lines = [number for number, line in enumerate(text.splitlines(), 1) if re.search(written, line)]
        where = f"line {lines[0]}: " if lines else ""
        raise FormatError(f"{where}{key} has a date or time, which is no value: quote it to make it text")
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _refuse_dates(key, item, text)


def _dump_toml(entries: Mapping[str, Any]) -> str:
    for key, value in entries.items():
        _refuse_untomlable(key, value)
    plain = {key: value for key, value in entries.items() if value is not MASKED}
    # The marks come first, each in one line: then a value that is typed in place of one is still a top-level name.
    marks = [tomli_w.dumps({key: 0}).removesuffix("0\n") + "{ secret = true }\n" for key in entries if key not in plain]
    return "".join(marks) + tomli_w.dumps(plain)


def _refuse_untomlable(place: str, value: Any) -> None:
    if value is None:
        raise FormatError(f"TOML cannot hold {place}: it has no null")
    if isinstance(value, bytes):
        raise FormatError(f"TOML cannot hold {place}: it is bytes (YAML can)")
    if isinstance(value, dict):
        for name, item in value.items():
            _refuse_untomlable(f"{place}.{name}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_untomlable(f"{place}[{index}]", item)


def _load_yaml(text: str) -> dict[str, Any]:
    try:
        return _map(yaml.load(text))
    except YAMLFileError as error:
        raise FormatError(str(error)) from None


def _load_env(text: str) -> dict[str, Any]:
    try:
        return dict(env.load(text))
    except env.EnvFileError as error:
        raise FormatError(str(error)) from None


def _env(entries: Mapping[str, Any], write: Callable[[Mapping[str, Any]], str]) -> str:
    try:
        return write(entries)
    except env.EnvFileError as error:
        raise FormatError(str(error)) from None


def _map(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FormatError("the file holds no map of keys to values at its top level")
    return value


_LOADERS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "yaml": _load_yaml,
    "toml": _load_toml,
    "json": _load_json,
    "env": _load_env,
}
_DUMPERS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "yaml": yaml.dump,
    "toml": _dump_toml,
    "json": _dump_json,
    "env": lambda entries: _env(entries, env.dump),
}
