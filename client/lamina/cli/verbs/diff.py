"""The verb that compares: diff."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
from rich.text import Text

import lamina
from lamina.cli.arguments.options import POINT, Verb, chosen
from lamina.cli.candidates import CONFIG_AT_POINT
from lamina.cli.output.differences import differ, print_changes
from lamina.cli.output.json_records import document, shapes
from lamina.cli.output.screen import VERSION, cell, screen
from lamina.cli.session import connected, read

Point = int | datetime


class Side(NamedTuple):
    """One side of a comparison: a config at a point in time; None is its newest version."""

    config: str
    point: Point | None


@click.command("diff", cls=Verb)
@click.argument("config", metavar="CONFIG[@V]", type=CONFIG_AT_POINT)
@click.argument("a", metavar="[A]", required=False)
@click.argument("b", metavar="[B]", required=False)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is a difference.")
@click.pass_context
def diff_verb(ctx: click.Context, config: str, a: str | None, b: str | None, *, exit_code: bool) -> None:
    """Show what differs between the points in time A and B, in either direction.

    Without B, between A and the newest version; without both, between the newest version and the one before.
    `diff shop/prod@3 shop/eu@5` compares two configs; without @V, at their newest versions, but the second one needs
    its @: `shop/eu@`.
    """
    output = chosen(ctx).output(("text", "json"))
    left, right = _sides(ctx, config, a, b)
    with connected(ctx) as client:
        if left.config == right.config:
            old, new, changes = _in_one_config(client, left, right)
            title = Text.assemble(cell(f"{left.config}  "), cell(f"{_named(old)} → {_named(new)}", VERSION))
        else:
            maps = read(client, *left), read(client, *right)
            changes = compared(*maps)
            title = cell(" → ".join(f"{one.config}@{one.version}" for one in maps), VERSION)
    if output == "json":
        print(document(shapes(changes)))
    else:
        with screen(paged=True) as out:
            if out.live:
                out.line(title)
                if not changes:
                    out.line("no difference")
            print_changes(out, changes)
    if exit_code and changes:
        ctx.exit(1)


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, lamina.Change]:
    """Return what differs between two maps, by key, in key order."""
    pairs = {key: (old.get(key, lamina.MISSING), new.get(key, lamina.MISSING)) for key in sorted({*old, *new})}
    return {key: lamina.Change(*pair) for key, pair in pairs.items() if differ(*pair)}


def _sides(ctx: click.Context, config: str, a: str | None, b: str | None) -> tuple[Side, Side]:
    """Return the two sides of the comparison, as they were typed."""
    left = _side(ctx, config)
    if a is not None and "@" in a:
        right = _side(ctx, a)
    elif "@" in config:
        right = Side(left.config, _point(ctx, a))
    else:
        return Side(config, _point(ctx, a)), Side(config, _point(ctx, b))
    if b is not None:
        raise click.UsageError(f"two sides are compared, and {b!r} would be a third one")
    return left, right


def _side(ctx: click.Context, text: str) -> Side:
    config, _, point = text.partition("@")
    return Side(config, _point(ctx, point or None))


def _point(ctx: click.Context, text: str | None) -> Point | None:
    point: Point | None = None if text is None else POINT.convert(text, None, ctx)
    return point


def _in_one_config(client: lamina.Client, left: Side, right: Side) -> tuple[Point, Point, dict[str, lamina.Change]]:
    cfg = client.config(left.config)
    alone = left.point is None and right.point is None
    old = max(cfg.version - 1, 0) if alone else cfg.version if left.point is None else left.point
    new = cfg.version if right.point is None else right.point
    return old, new, cfg.diff(old, new)


def _named(point: Point) -> str:
    return point.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S%z") if isinstance(point, datetime) else str(point)
