r"""Env files: `NAME=value` lines that a POSIX shell, Docker and systemd take; it knows no config.

Reading takes what a shell would take without running anything: quotes, backslashes, comments, `export`. What a shell
would expand, or run, is refused with its line. Everything that is read is text, so `dump` writes text alone; `shell`
writes any value, for use by a shell.

    A='x y'"z" # why   ->  {"A": "x yz"}
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NoReturn

from lamina.cli.output.text import substitute, write_json

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BARE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]*", re.ASCII)
"""Needs no quotes in any shell."""
_OPERATORS: Final = "|&;<>()"


class EnvFileError(ValueError):
    """What cannot be read or written. Names lines and keys, never values."""


def load(text: str) -> dict[str, str]:
    """Read assignments. Raises EnvFileError with the line."""
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    for line, name, value in _Reader(text).assignments():
        if name in entries:
            raise EnvFileError(f"line {line}: {name} stands twice, first in line {lines[name]}")
        entries[name], lines[name] = value, line
    return entries


def dump(entries: Mapping[str, Any]) -> str:
    """Write text under names that are their keys, so that `load` gives the same map. Raises EnvFileError."""
    for key, value in entries.items():
        if not _NAME.fullmatch(key):
            raise EnvFileError(f"env cannot hold {key}: it is no name of a variable{_ELSE}")
        if not isinstance(value, str):
            raise EnvFileError(f"env cannot hold {key}: it is not text, and would come back as text{_ELSE}")
    return "".join(f"{key}={_quoted(value)}\n" for key, value in entries.items())


def shell(entries: Mapping[str, Any]) -> str:
    """Write any value as text under the nearest name: `db/host` is db_host. Raises EnvFileError."""
    return "".join(f"{name}={_quoted(text)}\n" for name, text in variables(entries).items())


def variables(entries: Mapping[str, Any]) -> dict[str, str]:
    """Give the same as names with texts, for a command's environment. Raises EnvFileError."""
    return {name: _text(entries[key], key) for name, key in named(entries).items()}


def named(keys: Iterable[str]) -> dict[str, str]:
    """Give each key by the name of its variable. Raises EnvFileError where two keys would share one."""
    names: dict[str, str] = {}
    for key in keys:
        name = _variable(key)
        if name in names:
            raise EnvFileError(f"{names[name]} and {key} would both be the variable {name}")
        names[name] = key
    return names


_ELSE: Final = " (YAML can; `lamina get CONFIG -o env` writes anything for a shell)"


def _variable(key: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", key)
    return f"_{name}" if name[:1].isdigit() else name


def _text(value: Any, key: str) -> str:
    if value is None:
        raise EnvFileError(f"env cannot hold {key}: it has no null")
    if isinstance(value, bytes):
        return substitute(value)
    return value if isinstance(value, str) else write_json(value)


def _quoted(text: str) -> str:
    return text if text and _BARE.fullmatch(text) else "'" + text.replace("'", "'\\''") + "'"


class _Reader:
    """Walks over the text once, character by character, as a shell does."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0

    def assignments(self) -> Iterator[tuple[int, str, str]]:
        while self._skip_to_assignment():
            line = self._count_lines()
            name = self._name()
            value = self._value(name)
            yield line, name, value

    def _skip_to_assignment(self) -> bool:
        while self._at < len(self._text):
            if self._peek() in " \t\r\n":
                self._at += 1
            elif self._peek() == "#":
                self._skip_comment()
            else:
                return True
        return False

    def _name(self) -> str:
        if export := re.compile(r"export[ \t]+").match(self._text, self._at):
            self._at = export.end()
        found = _NAME.match(self._text, self._at)
        if not found or self._text[found.end() : found.end() + 1] != "=":
            self._refuse("not NAME=value")
        self._at = found.end() + 1
        return found[0]

    def _value(self, name: str) -> str:
        parts: list[str] = []
        if self._peek() == "~":
            self._refuse(f"{name}: a shell would take ~ for a home directory: put the value in single quotes")
        while (character := self._peek()) not in {"", "\n", " ", "\t"} and not self._at_line_end():
            parts.append(self._part(name, character))
        self._end_line(name)
        return "".join(parts)

    def _part(self, name: str, character: str) -> str:
        self._at += 1
        if character == "'":
            return self._single_quoted(name)
        if character == '"':
            return self._double_quoted(name)
        if character == "\\":
            return self._escaped()
        if character in _OPERATORS or character in "$`":
            self._refuse(f"{name}: a shell would take {character} for more than text: put the value in single quotes")
        return character

    def _single_quoted(self, name: str) -> str:
        end = self._text.find("'", self._at)
        if end < 0:
            self._refuse(f"{name}: a quote is not closed")
        part = self._text[self._at : end]
        self._at = end + 1
        return part

    def _double_quoted(self, name: str) -> str:
        part = ""
        while (character := self._peek()) != '"':
            self._at += 1
            if not character:
                self._refuse(f"{name}: a quote is not closed")
            if character in "$`":
                self._refuse(
                    f"{name}: a shell would expand {character}: put a backslash before it, or use single quotes"
                )
            part += self._escaped(only='$`"\\') if character == "\\" else character
        self._at += 1
        return part

    def _escaped(self, *, only: str = "") -> str:
        """Read what follows a backslash: a line end joins lines; within quotes it escapes no more than `only`."""
        character = self._peek()
        self._at += 1
        if character == "\n":
            return ""
        return character if character and (not only or character in only) else "\\" + character

    def _end_line(self, name: str) -> None:
        """See that nothing but a comment follows: a shell would run a second word."""
        while self._peek() in {" ", "\t"}:
            self._at += 1
        if self._peek() == "#":
            self._skip_comment()
        if not self._at_line_end():
            self._refuse(f"{name}: a second word follows: put the value in quotes")

    def _skip_comment(self) -> None:
        end = self._text.find("\n", self._at)
        self._at = len(self._text) if end < 0 else end

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _at_line_end(self) -> bool:
        """Tell whether the line ends here, as files end it that were edited on Windows too."""
        return self._text[self._at : self._at + 2].removeprefix("\r")[:1] in {"", "\n"}

    def _count_lines(self) -> int:
        """Go on counting from the last place: counting each time from the top takes minutes on a large file."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _refuse(self, why: str) -> NoReturn:
        raise EnvFileError(f"line {self._count_lines()}: {why}")
