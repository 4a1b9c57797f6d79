r"""Lines of an env file: what sh, bash and python-dotenv read alike, and why they would not.

    statements("A='x y'\nB=$C\n")  ->  (1, "A", "x y"), (2, "B", Problem("a shell would take $ for ..."))
    portable("it's")                ->  '"it's"'

python-dotenv is what pydantic-settings reads env files with. Its versions differ, too: here is what all of them do.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_BARE: Final = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
"""Text that every reader reads as it is, without quotes."""

# Each pattern begins at the beginning of a line, or after the `=`.
_NOTHING: Final = re.compile(r"[ \t]*(?:#[^\n\r]*)?(?:\n|\Z)")
_BEGIN: Final = re.compile(rf"[ \t]*(?P<export>export[ \t]+)?(?P<name>{NAME.pattern})=", re.ASCII)
_QUOTED: Final = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\"", re.DOTALL)
_WORD: Final = re.compile(r"[^ \t\n]*")
_END: Final = re.compile(r"(?:[ \t]+#[^\n\r]*|[ \t]*)(?:\n|\Z)")
_REST_OF_LINE: Final = re.compile(r"[^\n]*\n?")

_SINGLE_QUOTES: Final = "put the value in single quotes"
_NO_WAY: Final = "keep this text in a YAML file"
_NO_WORDS: Final = (
    (r"[$`|&;<>()]", f"a shell would take {{}} for more than text: {_SINGLE_QUOTES}"),
    (r"(?:^|(?<=:))~", f"a shell would take {{}} for a home directory: {_SINGLE_QUOTES}"),
    (r"\\", f"a shell would remove the backslash, and python-dotenv would keep it: {_SINGLE_QUOTES}"),
    (r"['\"]", "a shell would remove the quotes within the value, and python-dotenv would keep them: quote all of it"),
    (r"\s", f"readers disagree about a white space character that is neither a blank nor a tab: {_SINGLE_QUOTES}"),
)
"""The characters that an unquoted value must not have, and why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line is refused, and what to write instead. It holds no value."""

    why: str


def statements(text: str) -> Iterator[tuple[int, str, "str | Problem"]]:
    """Yield the line, the name and the value of each assignment, or its problem; the name is "" if there is none."""
    at, line = 0, 1
    while at < len(text):
        nothing = _NOTHING.match(text, at)
        if nothing is None:
            name, value, end = _statement(text, at)
            yield line, name, value
        else:
            end = nothing.end()
        line += text.count("\n", at, end)
        at = end


def portable(text: str) -> str | None:
    """Write a text so that all readers read it alike; None if that is impossible."""
    if _BARE.fullmatch(text):
        return text
    double = text.replace("\\", "\\\\").replace('"', '\\"')
    quoted = ((f"'{text}'", _why_not_single(text)), (f'"{double}"', _why_not_double(double)))
    return next((form for form, why_not in quoted if why_not is None and _is_whole(form)), None)


def _is_whole(form: str) -> bool:
    """Return whether a quoted text ends at its last quote, and has no carriage return."""
    found = _QUOTED.match(form)
    return found is not None and found.end() == len(form) and "\r" not in form


def _statement(text: str, at: int) -> "tuple[str, str | Problem, int]":
    """Read one assignment; return its name and value, and where the next line begins."""
    begin = _BEGIN.match(text, at)
    if begin is None:
        return "", Problem("not NAME=value"), _next_line(text, at)
    name, start = begin["name"], begin.end()
    quoted = _QUOTED.match(text, start)
    if quoted is None and text[start : start + 1] in {"'", '"'}:
        return name, Problem("a quote is not closed"), _next_line(text, start)
    if quoted is None:
        return name, *_word(text, start, exported=begin["export"] is not None)
    end = _END.match(text, quoted.end())
    if end is None:  # most likely a later line's quote has closed this one, so go on with the next line
        return name, Problem(_after_quotes(text, start, quoted.end())), _next_line(text, start)
    return name, _unquoted(quoted), end.end()


def _word(text: str, start: int, *, exported: bool) -> "tuple[str | Problem, int]":
    """Read a value without quotes; return it, and where the next line begins."""
    word = _WORD.match(text, start)
    assert word is not None  # it may be empty
    end = _END.match(text, word.end())
    why_not = _why_no_word(word[0], exported=exported)
    if end is None and why_not is None:
        why_not = "a second word follows: put the value in quotes"
    elif not word[0] and end is not None and "#" in end[0]:
        why_not = "readers disagree whether a comment begins here: write '' before it"
    return Problem(why_not) if why_not else word[0], _next_line(text, word.end())


def _why_no_word(word: str, *, exported: bool) -> str | None:
    """Return why readers would read an unquoted value differently."""
    for pattern, why in _NO_WORDS:
        if found := re.search(pattern, word):
            return why.format(found[0])
    if exported and (found := re.search(r"[*?\[{]", word)):
        return f"after export, a shell would take {found[0]} for more than text: {_SINGLE_QUOTES}"
    return None


def _unquoted(quoted: "re.Match[str]") -> "str | Problem":
    """Return the text in quotes."""
    single, double = quoted["single"], quoted["double"]
    why_not = _why_not_double(double) if single is None else _why_not_single(single)
    if "\r" in quoted[0]:
        why_not = "python-dotenv would read a carriage return as a line end: " + _NO_WAY
    if why_not:
        return Problem(why_not)
    return re.sub(r'\\(["\\])', r"\1", double) if single is None else single


def _why_not_single(raw: str) -> str | None:
    """Return why readers would read a text in single quotes differently."""
    if "${" in raw:
        return f"python-dotenv would expand ${{ in single quotes too: {_NO_WAY}"
    if "\\\\" in raw or raw.endswith("\\"):
        return (
            "a shell would keep each backslash, and python-dotenv would not: use double quotes, and write \\\\ for each"
        )
    return None


def _why_not_double(raw: str) -> str | None:
    """Return why readers would read a text in double quotes differently."""
    for pair in re.finditer(r"\\(.)|[$`]", raw, re.DOTALL):
        if pair[0] in "$`":
            return f"a shell would expand {pair[0]}: {_SINGLE_QUOTES}"
        if pair[1] in "$`\n":
            shown = "a backslash at the end of a line" if pair[1] == "\n" else f"the backslash before {pair[1]}"
            return f"a shell would remove {shown}, and python-dotenv would keep it: {_SINGLE_QUOTES}"
        if pair[1] in "'abfnrtv":
            return (
                f"{pair[0]} is one character to python-dotenv, and two to a shell: "
                f"write the character itself, or put the value in single quotes if the backslash is meant"
            )
    if raw.endswith("\\\\"):
        return f"python-dotenv before 1.2.3 does not find the quote after a backslash: {_NO_WAY}"
    return None


def _after_quotes(text: str, start: int, end: int) -> str:
    lines = text.count("\n", start, end)
    if lines:
        return f"the quote is closed {lines} line{'s' if lines > 1 else ''} below, and more text follows it"
    return "text follows the closing quote: put all of the value in one pair of quotes"


def _next_line(text: str, at: int) -> int:
    rest = _REST_OF_LINE.match(text, at)
    assert rest is not None  # it may be empty
    return rest.end()
