"""The verb that follows: watch."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

import lamina
from lamina.cli.completing import CONFIG, KEY
from lamina.cli.differences import arrow
from lamina.cli.errors import tell
from lamina.cli.options import PointType, Verb, chosen
from lamina.cli.points import PointError, parse_point
from lamina.cli.render import AUTHOR, OLD, TIME, VERSION, Screen, cell, screen
from lamina.cli.render import KEY as KEY_STYLE
from lamina.cli.session import connected
from lamina.cli.shapes import json_line, shape


class _AfterType(PointType):
    """A point in time, or else a cursor, which the SDK understands."""

    name = "V|CURSOR"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse what is a point in time."""
        del param, ctx
        try:
            return parse_point(value, now=datetime.now(UTC)) if isinstance(value, str) else value
        except PointError:
            return value


@click.command("watch", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
@click.option("--prefix", "prefixes", metavar="P", multiple=True, help="Keys that begin so; may be repeated.")
@click.option("--after", type=_AfterType(), help="First what came after a point in time or a cursor [only what comes].")
@click.pass_context
def watch_verb(
    ctx: click.Context,
    config: str,
    keys: tuple[str, ...],
    prefixes: tuple[str, ...],
    after: int | datetime | str | None,
) -> None:
    """Print a line for each change as it is committed, until Ctrl-C: version, time, author, key, old and new value.

    Without KEY and --prefix, every change. Nothing is missed while the link is down. With -o json, one object a line;
    the last one of each version has the "cursor" from which --after goes on.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = client.config(config)
        known = _Known(cfg, after)
        if sys.stderr.isatty() and output == "text":
            tell(
                f"watching {config} from version {cfg.version}, Ctrl-C ends it"
                if after is None
                else f"watching {config}"
            )
        with cfg.watch(*keys, prefix=prefixes, after=after) as watch:
            try:
                _follow(watch, known, output)
            except KeyboardInterrupt:
                if watch.cursor:
                    tell(f"to go on from here: --after {watch.cursor}")
                raise


class _Known:
    """The values before the next change, as far as they are known: all of them, or only those seen since a cursor."""

    def __init__(self, cfg: lamina.Config, after: int | datetime | str | None) -> None:
        self._whole = not isinstance(after, str)  # what a cursor stands for cannot be read
        self._values = {} if isinstance(after, str) else dict(cfg.at(cfg.version if after is None else after))

    def replace(self, change: lamina.KeyChange) -> tuple[str, Text]:
        """Give a change's mark and its sides, and remember the new one."""
        old = self._values.pop(change.key, lamina.MISSING)
        if not change.deleted:
            self._values[change.key] = change.value
        if old is lamina.MISSING and not self._whole:
            return ("-", cell("deleted", OLD)) if change.deleted else ("=", arrow(old, change.value))
        mark = "-" if change.deleted else "+" if old is lamina.MISSING else "~"
        return mark, arrow(old, change.value)


class _Printer:
    """Writes a line a change, in columns that grow as they must: nobody knows what comes."""

    def __init__(self, out: Screen, known: _Known) -> None:
        self._out, self._known = out, known
        self._widths = [0, 0, 0, 0]

    def __call__(self, version: lamina.VersionChanges) -> None:
        for change in version.changes:
            mark, sides = self._known.replace(change)
            row = [
                cell(str(change.version), VERSION),
                cell(_clock(change.time), TIME) if self._out.live else self._out.time(change.time),
                cell(change.author, AUTHOR),
                cell(f"{mark} {change.key}", KEY_STYLE),
            ]
            self._widths = [max(width, part.cell_len) for width, part in zip(self._widths, row, strict=True)]
            padded = [
                part + Text(" " * (width - part.cell_len) + "  ") for width, part in zip(self._widths, row, strict=True)
            ]
            self._out.line(*padded, sides)


def _follow(watch: lamina.Watch, known: _Known, output: str) -> None:
    with screen() as out:
        write = _print_json(watch) if output == "json" else _Printer(out, known)
        for version in watch.versions():
            write(version)
            sys.stdout.flush()  # whoever reads a pipe wants it now


def _print_json(watch: lamina.Watch) -> Callable[[lamina.VersionChanges], None]:
    def write(version: lamina.VersionChanges) -> None:
        *others, last = map(shape, version.changes)
        for change in others:
            print(json_line(change))
        print(json_line({**last, "cursor": watch.cursor}))

    return write


def _clock(time: datetime) -> str:
    """Write a time as people tell it while it happens; of another day, with its date."""
    local = time.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now(UTC).astimezone().date() else "%Y-%m-%d %H:%M")
