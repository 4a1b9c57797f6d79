"""The settings of a command, from its options, the environment and a file. Says in words what is wrong with them.

An option wins over a variable, and a variable over the file. A name in the file that is no setting is refused, and so
is a variable that begins like ours, because the name is probably misspelt. Kubernetes makes variables that begin like
ours for a service named `lamina-server`; these are ignored.
"""

import os
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import click
from pydantic import ValidationError

from lamina_server.cli import settings_file
from lamina_server.cli.options import BAD_USAGE, is_variable_set, option_of, source_of, variable_of
from lamina_server.settings import CONTRADICTION, PREFIX, Settings, range_of

_WORDS = {
    "bool_parsing": "must be true or false",
    "literal_error": "must be open or closed",
    "not_a_path": "must be the path of a file",
    "url": "takes no URL; a database's address belongs to --database or LAMINA_SERVER_DATABASE",
}

_SERVICE = re.compile(
    r"(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)"
)
"""What Kubernetes tells every container of a service. A variable ..._PORT with a number is a person's mistake."""


def settings_of(options: dict[str, Any]) -> Settings:
    """Return the settings of a command, whose other options are given, too. Exit if one is wrong."""
    settings, faults = None, list(_unknown_variables())
    try:
        file = settings_file.read(options.pop("settings_file", None))
    except settings_file.SettingsFileError as error:
        file, faults = {}, [*faults, str(error)]
    faults += settings_file.unknown_names()
    given = {name: value for name, value in options.items() if value is not None}
    known = {name: value for name, value in file.items() if name in Settings.model_fields}
    from_file = {name: value for name, value in known.items() if name not in given and not is_variable_set(name)}
    try:
        settings = Settings(**from_file, **given)
    except ValidationError as error:
        faults += _faults(error)
    for fault in faults:
        click.echo(f"lamina-server: {fault}", err=True)
    if settings is None or faults:
        sys.exit(BAD_USAGE)
    return settings


def described(command: click.Command) -> Iterator[tuple[str, str]]:
    """Yield the option and the variable of each setting, and what it is, in a sentence with its default."""
    for name, field in Settings.model_fields.items():
        sentence = str(field.description).partition(". ")[0].rstrip(".")
        default = "" if field.default is None else f" [default: {str(field.default).lower()}]"
        names = filter(None, (option_of(name, command), variable_of(name)))
        yield ", ".join(names), f"{sentence}.{default}"


def _unknown_variables() -> Iterator[str]:
    ends = [name.upper() for name in (*Settings.model_fields, settings_file.NAME)]
    for name, value in os.environ.items():
        end = name.upper().removeprefix(PREFIX)
        if end != name.upper() and end not in ends and not _SERVICE.match(f"{end}={value}"):
            close = get_close_matches(end, ends, 1)
            told = f": is it {PREFIX}{close[0]}?" if close else "; `lamina-server serve --help` lists the names"
            yield f"the environment has {name}, which means nothing{told}"


def _faults(error: ValidationError) -> Iterator[str]:
    """Yield what is wrong with each setting that is refused. A text is not repeated: it may be a password."""
    for problem in error.errors(include_url=False):
        if problem["type"] == CONTRADICTION:
            yield from (each.text.format(*map(source_of, each.names)) for each in problem["ctx"][CONTRADICTION])
        else:
            name = str(problem["loc"][0])
            yield f"{source_of(name)} {_fault(name, problem['type'], problem['input'])}"


def _fault(name: str, kind: str, given: Any) -> str:
    allowed = range_of(name)
    if given == "" and allowed:
        return f"is empty; it must be a number from {allowed}"
    if kind in {"greater_than_equal", "less_than_equal"}:
        return f"is {given}; it must be from {allowed}"
    if allowed:
        whole = "whole " if Settings.model_fields[name].annotation is int else ""
        return f"must be a {whole}number from {allowed}, in digits"
    return _WORDS.get(kind, "is not valid")
