"""The verb that compares: diff."""

from datetime import datetime

import click

import lamina
from lamina.cli.arguments.options import POINT, Verb, chosen
from lamina.cli.candidates import CONFIG
from lamina.cli.output.differences import print_changes
from lamina.cli.output.json_records import document, shapes
from lamina.cli.output.screen import VERSION, cell, screen
from lamina.cli.session import connected


@click.command("diff", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("a", metavar="[A]", type=POINT, required=False)
@click.argument("b", metavar="[B]", type=POINT, required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is a difference.")
@click.pass_context
def diff_verb(
    ctx: click.Context, config: str, a: int | datetime | None, b: int | datetime | None, *, exit_code: bool
) -> None:
    """Show what differs between the points in time A and B, in either direction.

    Without B, between A and the newest version; without both, between the newest version and the one before.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = client.config(config)
        old: int | datetime = max(cfg.version - 1, 0) if a is None else a
        new: int | datetime = cfg.version if b is None else b
        changes = cfg.diff(old, new)
        if output == "json":
            print(document(shapes(changes)))
        else:
            _print(cfg, old, new, changes)
    if exit_code and changes:
        ctx.exit(1)


def _print(cfg: lamina.Config, old: int | datetime, new: int | datetime, changes: dict[str, lamina.Change]) -> None:
    """Write the comparison below a line that says what was compared."""
    with screen(paged=True) as out:
        if out.live:
            out.line(cfg.name, "  ", cell(_named(old), VERSION), " → ", cell(_named(new), VERSION))
            if not changes:
                out.line("no difference")
        print_changes(out, changes)


def _named(point: int | datetime) -> str:
    return point.strftime("%Y-%m-%d %H:%M:%S%z") if isinstance(point, datetime) else str(point)
