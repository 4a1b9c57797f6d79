r"""The arguments of `lamina set`, in the notation of HTTPie; it knows neither configs nor click.

timeout=30         the text "30"             timeout:=30          the number
motd=@welcome.txt  the text of a file        hosts:=@hosts.json   JSON out of a file, `-` being standard input
a\=b=c  a\:\=b=c   keys with a separator in them: the first `=` or `:=` that no backslash precedes ends the key

`--secret` takes the same, and a key alone, whose content is asked for.

parse("hosts:=[1]", read)  ->  Assignment(key="hosts", value=[1], typed=True, advice="hosts:=JSON")
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

import lamina
from lamina.cli.output.json_text import JSONTextError, parse_json
from lamina.cli.output.secrets import is_mask
from lamina.cli.output.text import MASK

_ESCAPABLE: Final = "=:\\"
_ADVISABLE: Final = (bool, int, float)
"""An advice repeats only values of these types: people mistype them, and no secret is one."""


class NotationError(ValueError):
    """An argument that is not in the notation. Names the key, never the value."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One key and its new value.

    typed    whether it was written with `:=`
    advice   the same assignment with a type, for an error that says that the colon is missing
    """

    key: str
    value: Any = field(repr=False)
    typed: bool
    advice: str = field(repr=False)


Read: TypeAlias = Callable[[str], bytes]
"""Returns a file's bytes."""


def parse_all(arguments: Iterable[str], secrets: Iterable[str], read: Read, ask: Read) -> list[Assignment]:
    """Parse each argument, and each of a secret; `ask` returns a content that is not written. Raise NotationError.

    A key may not stand twice.
    """
    assignments = [parse(argument, read) for argument in arguments]
    assignments += [parse_secret(argument, read, ask) for argument in secrets]
    seen: set[str] = set()
    for key in (assignment.key for assignment in assignments):
        if key in seen:
            raise NotationError(f"{key} is set twice")
        seen.add(key)
    return assignments


def parse_secret(argument: str, read: Read, ask: Read) -> Assignment:
    """Parse one argument of a secret: text that is not UTF-8 is bytes. Raise NotationError."""
    key, separator, text = _split(argument)
    origin, data = "", text.encode(errors="surrogateescape")
    if not separator:
        data = ask(key)
    elif text.startswith("@"):
        origin, data = f" in {text[1:]}", read(text[1:])
    if not data and (text or not separator):  # most likely the program that should have written it has failed
        raise NotationError(f"{key}: nothing was given as its content; --secret {escape_key(key)}= sets an empty one")
    try:
        content = _json(key, _file_text(key, data), origin) if separator == ":=" else _text_or_bytes(data)
        return Assignment(key, lamina.Secret(_checked(key, content)), typed=True, advice="")
    except (TypeError, lamina.InvalidError) as error:
        raise NotationError(f"{key}: {error}") from None


def parse(argument: str, read: Read) -> Assignment:
    """Parse one argument. Raise NotationError."""
    key, separator, text = _split(argument)
    if not separator:
        # The whole argument may be a secret, so the error does not repeat it.
        raise NotationError("each argument is KEY=TEXT or KEY:=JSON; one has neither = nor :=")
    typed = separator == ":="
    written = escape_key(key)
    if text.startswith("@"):
        text, origin, advice = _file_text(key, read(text[1:])), f" in {text[1:]}", f"{written}:={text}"
    else:
        origin, advice = "", f"{written}:={_advisable(text)}"
    return Assignment(key, _checked(key, _json(key, text, origin) if typed else text), typed, advice)


def escape_key(key: str) -> str:
    """Write a key so that `parse` reads it back, with as few backslashes as possible."""
    # The separator that follows counts too: in `a:=`, the colon would not be a part of the key.
    return "".join(
        f"\\{character}" if character == "=" or _special(character, after) else character
        for character, after in pairwise(key + "=")
    )


def _special(character: str, after: str) -> bool:
    return (character == ":" and after == "=") or (character == "\\" and after in _ESCAPABLE)


def _split(argument: str) -> tuple[str, str, str]:
    """Return the key, the separator, and the text after it; both are empty if there is no separator."""
    key = ""
    position = 0
    while position < len(argument):
        rest = argument[position:]
        if rest[0] == "\\" and rest[1:2] and rest[1] in _ESCAPABLE:
            key += rest[1]
            position += 2
        elif rest.startswith((":=", "=")):
            separator = ":=" if rest[0] == ":" else "="
            return _checked_key(key), separator, rest[len(separator) :]
        else:
            key += rest[0]
            position += 1
    return _checked_key(key), "", ""


def _checked_key(key: str) -> str:
    if not key:
        raise NotationError("an argument has no key before its separator")
    return key


def _checked(key: str, value: Any) -> Any:
    if is_mask(value):
        raise NotationError(f"{key}: {MASK} only stands for a secret that is not shown: it is no value")
    return value


def _json(key: str, text: str, origin: str) -> Any:
    try:
        return parse_json(text)
    except JSONTextError as error:
        raise NotationError(f"what follows {key}:= is not JSON{origin}: {error} (text is set with {key}=)") from None


def _file_text(key: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        advice = "bytes are set by importing YAML with !!binary"
        raise NotationError(f"the file for {key} is not UTF-8 text: {advice}") from None


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _advisable(text: str) -> str:
    try:
        value = parse_json(text)
    except JSONTextError:
        return "JSON"
    return json.dumps(value) if isinstance(value, _ADVISABLE) else "JSON"
