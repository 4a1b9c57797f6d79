"""The verb that shows one version: show."""

from datetime import datetime
from typing import Any

import click

import lamina
from lamina.cli.arguments.options import POINT, Verb, chosen
from lamina.cli.candidates import CONFIG
from lamina.cli.errors import NOT_FOUND, Refusal
from lamina.cli.output.differences import print_changes
from lamina.cli.output.json_records import document, shape, shapes
from lamina.cli.output.screen import AUTHOR, QUIET, VERSION, Screen, cell, screen
from lamina.cli.session import connected


@click.command("show", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("point", metavar="[V]", type=POINT, required=False)
@click.pass_context
def show_verb(ctx: click.Context, config: str, point: int | datetime | None) -> None:
    """Show one version: who committed it, when, why, and what it changed. Without V, the newest.

    With -o json, the version as `log` has it, with its "changes" by key.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = client.config(config)
        number = cfg.version if point is None else cfg.at(point).version
        if number == 0:
            raise Refusal(f"{config} has no version 0: it is the empty map before the first version", NOT_FOUND)
        version = next(cfg.log(limit=1, before=number + 1))
        changes = cfg.diff(number - 1, number)
        if output == "json":
            print(document({**shape(version), "changes": shapes(changes)}))
            return
        with screen(paged=True) as out:
            _print(out, version, changes)


def _print(out: Screen, version: lamina.Version, changes: dict[str, Any]) -> None:
    out.line(cell(f"{version.config} version {version.number}", VERSION))
    verified = "" if version.author_verified else "  (not verified)"
    out.line("author   ", cell(version.author, AUTHOR), cell(verified, QUIET))
    out.line("time     ", out.time(version.time), cell(f"  {version.time.isoformat()}" if out.live else "", QUIET))
    out.line("hash     ", cell(version.hash))
    if version.source_config:
        out.line("fork of  ", cell(f"{version.source_config} version {version.source_version}"))
    for line in version.message.splitlines():
        out.line("    ", line)
    print_changes(out, changes)
