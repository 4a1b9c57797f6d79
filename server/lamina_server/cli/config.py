"""`lamina-server config`: the settings that hold, and where each comes from."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from lamina_server.cli.options import origin_of, refusals, server_options
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.settings import Settings
from lamina_server.store import address

DEFAULT = "default"


class _Line(NamedTuple):
    setting: str
    value: Any
    source: str
    default: Any


@click.command()
@server_options
@click.option("--changed", is_flag=True, help="Leave out the settings that have their default.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", help="[default: table]")
def config(*, output: str, changed: bool, **options: Any) -> None:
    """Print each setting, where it comes from, and its default.

    This takes the options of `serve`, reads the same variables and file, and refuses what `serve` refuses of its
    settings alone. It opens no database and no address. A database's password is not printed, nor is the command of a
    secret key.
    """
    settings = settings_of(options)
    with refusals():
        lines = [line for line in _lines(settings) if not changed or line.source != DEFAULT]
    if output == "json":
        say(json.dumps({line.setting: line._asdict() for line in lines}, indent=2))
        return
    rows = [("setting", "value", "source", "default")]
    rows += [(line.setting, _text(line.value), line.source, _text(line.default)) for line in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for setting, value, source, default in rows:
        say(f"{setting:{widths[0]}}  {value:{widths[1]}}  {source:{widths[2]}}  {default}".rstrip())


def _lines(settings: Settings) -> Iterator[_Line]:
    for name, field in Settings.model_fields.items():
        yield _Line(name, _shown(name, getattr(settings, name)), origin_of(name) or DEFAULT, field.default)


def _shown(name: str, value: Any) -> Any:
    """Return what may be printed of a value."""
    if name == "database":
        place = address.parse(value)
        return value if isinstance(place, address.SqliteAddress) else str(place)
    if name.endswith("_command") and value is not None:
        return f"{value.split()[0]} …" if value.split() else value
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _text(value: Any) -> str:
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
