"""The syntax of YAML files: ruamel's events, with tabs where YAML 1.2 allows them, and with our own one-line errors."""

import re
from collections.abc import Iterator
from typing import Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import Event, ScalarEvent
from ruamel.yaml.scanner import Scanner

_HANDLE: Final = re.compile(r"(?<=tag handle) .*", re.DOTALL)
"""What ruamel quotes of a text that begins with `!`, and may have been meant as a value."""
_AT_THE_END: Final = ("unexpected end of stream", "<stream end>")


class YAMLFileError(ValueError):
    """A file that cannot be read. Names lines and keys, never values."""


def events(text: str) -> Iterator[Event]:
    """Parse a file into events. Raise YAMLFileError if it is not YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _Scanner
    last: Event | None = None
    try:
        for last in yaml.parse(text):
            yield last
    except YAMLError as error:
        raise YAMLFileError(_told(error, text, last)) from None


class _Scanner(Scanner):
    """Accepts tabs between the tokens of a line, as YAML 1.2 does, but not in the indentation."""

    def scan_to_next_token(self) -> None:
        """Skip white space and comments."""
        if self.reader.column and not self.flow_level:
            while self.reader.peek() in " \t":
                if self.reader.peek() == "\t":
                    self.allow_simple_key = False  # a nested list or map after a tab would have no clear indentation
                self.reader.forward()
        super().scan_to_next_token()


def _told(error: YAMLError, text: str, last: Event | None) -> str:
    """Return the place and the description of a mistake, using only those words of ruamel that quote no text."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return _marked(error, last)
    position = getattr(error, "position", None)
    if isinstance(position, int):
        line = text.count("\n", 0, position) + 1
        return f"line {line}: the character U+{ord(text[position]):04X} may not stand in YAML unescaped"
    return "not YAML"


def _marked(error: MarkedYAMLError, last: Event | None) -> str:
    """Return the line of an unclosed opening, rather than the line where that was noticed."""
    context, problem = error.context or "", _HANDLE.sub("", error.problem or "not YAML")
    line = error.problem_mark.line + 1
    begin = error.context_mark.line + 1 if error.context_mark is not None else line
    at_the_end = any(sign in problem for sign in _AT_THE_END)
    if "quoted scalar" in context and at_the_end:
        return f"line {begin}: a quote is not closed"
    if "flow" in context and at_the_end:
        return f"line {begin}: a bracket is not closed"
    if "flow" in context and begin < line:
        return f"line {line}: {problem}; the bracket before it is opened in line {begin}"
    if isinstance(last, ScalarEvent) and last.style in {"'", '"'} and last.start_mark.line < last.end_mark.line:
        return f"line {line}: {problem}; the quote before it is opened in line {last.start_mark.line + 1}"
    return f"line {line}: {problem}"
