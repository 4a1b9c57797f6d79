r"""Env files: `NAME=value` lines that sh, bash and python-dotenv read alike; it knows no config.

These readers disagree about backslashes, `$` and quotes within a value. `dump` writes only what all of them read as the
same text. `load` takes only that, and refuses everything else, with all the bad lines at once. All values are text in
such a file. `shell` writes any value, for use by a shell alone. A secret is left out, and a comment stands for it.

    A='x y' # why      ->  {"A": "x y"}
    A="it's"           ->  {"A": "it's"}
    A="one\ntwo"       ->  refused: \n is a line end to python-dotenv, and two characters to a shell

A line end of Windows is taken for a line end.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import lamina
from lamina.cli.formats.env_lines import NAME, Problem, portable, statements
from lamina.cli.output.text import MASK, in_base64, write_json

_NAMED_LINES: Final = 20
"""An error names at most this many bad lines, and counts the others."""
_NAMED_KEYS: Final = 8


class EnvFileError(ValueError):
    """A file that cannot be read, or a map that cannot be written. Names lines and keys, never values."""


def load(text: str) -> dict[str, str]:
    """Read assignments. Raises EnvFileError with every line that readers would read differently."""
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for line, name, value in statements(text.replace("\r\n", "\n")):
        if isinstance(value, Problem):
            problems.append(f"line {line}: {f'{name}: ' if name else ''}{value.why}")
        elif name in entries:
            problems.append(f"line {line}: {name} stands twice, first in line {lines[name]}")
        else:
            entries[name], lines[name] = value, line
    if problems:
        more = [f"and {len(problems) - _NAMED_LINES:,} more lines"] if len(problems) > _NAMED_LINES else []
        raise EnvFileError("\n".join([*problems[:_NAMED_LINES], *more]))
    return entries


def dump(entries: Mapping[str, Any]) -> str:
    """Write text, with its keys as names, so that `load` returns the same map. Raises EnvFileError."""
    for key, value in entries.items():
        if isinstance(value, lamina.Secret):
            continue
        if not NAME.fullmatch(key):
            raise EnvFileError(f"env cannot hold {key}: it is no name of a variable{_ELSE}")
        if not isinstance(value, str):
            raise EnvFileError(f"env cannot hold {key}: it is not text, and would come back as text{_ELSE}")
    names = [_variable(key) if isinstance(value, lamina.Secret) else key for key, value in entries.items()]
    return _written(entries, zip(names, entries, strict=True), portable)


def dump_upper(entries: Mapping[str, Any]) -> str:
    """Write any value as text under an upper-case name, as all readers read it. Raises EnvFileError."""
    return _written(entries, named(entries, upper=True).items(), portable)


def shell(entries: Mapping[str, Any], *, upper: bool = False) -> str:
    """Write any value as text under the nearest name, for a POSIX shell: `db/host` is db_host. Raises EnvFileError."""
    names = named(entries, upper=upper).items()
    return _written(entries, names, lambda text: portable(text) or _shell_quoted(text))


def variables(entries: Mapping[str, Any], *, upper: bool = False) -> dict[str, str]:
    """Return names with texts, for a command's environment. Raises EnvFileError."""
    return {name: _text(entries[key], key) for name, key in named(entries, upper=upper).items()}


def named(keys: Iterable[str], *, upper: bool = False) -> dict[str, str]:
    """Return each key by the name of its variable. Raises EnvFileError for keys without a unique name."""
    keys = list(keys)
    if nameless := [key for key in keys if not has_name(key)]:
        raise EnvFileError(
            f"env cannot hold {_listed(nameless)}: no letter or digit of ASCII would be left of the name"
        )
    names: dict[str, str] = {}
    for key in keys:
        name = _variable(key).upper() if upper else _variable(key)
        if name in names:
            raise EnvFileError(f"{names[name]} and {key} would both be the variable {name}")
        names[name] = key
    return names


def has_name(key: str) -> bool:
    """Return whether a key keeps any character in the name of its variable."""
    return bool(re.search(r"[A-Za-z0-9]", key))


_ELSE: Final = " (YAML can; `lamina get CONFIG -o env` writes anything for a shell)"


def _variable(key: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    return f"_{name}" if name[:1].isdigit() else name


def _text(value: Any, key: str) -> str:
    if value is None:
        raise EnvFileError(f"env cannot hold {key}: it has no null")
    if isinstance(value, bytes):
        return in_base64(value)
    return value if isinstance(value, str) else write_json(value)


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _NAMED_KEYS:,} more" if len(keys) > _NAMED_KEYS else ""
    return ", ".join(keys[:_NAMED_KEYS]) + more


def _written(entries: Mapping[str, Any], names: Iterable[tuple[str, str]], write: Callable[[str], str | None]) -> str:
    """Write a line for each name, with the value of its key. `write` returns None for a text that it cannot write."""
    lines: list[str] = []
    for name, key in names:
        if isinstance(entries[key], lamina.Secret):
            lines.append(f"# {name}={MASK}\n")
            continue
        written = write(_text(entries[key], key))
        if written is None:
            raise EnvFileError(
                f"env cannot hold {key}: sh, bash and python-dotenv would not read its text alike{_ELSE}"
            )
        lines.append(f"{name}={written}\n")
    return "".join(lines)


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
