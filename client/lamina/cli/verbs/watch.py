"""The verb that follows: watch. It prints each change, or runs a command for each version."""

import os
import select
import stat
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.text import Text

import lamina
from lamina.cli.arguments.options import PointType, Seconds, Verb, chosen
from lamina.cli.arguments.points import PointError, parse_point
from lamina.cli.candidates import CONFIG, KEY
from lamina.cli.errors import tell
from lamina.cli.output.differences import arrow
from lamina.cli.output.json_records import change_shape, json_line
from lamina.cli.output.screen import AUTHOR, TIME, VERSION, Screen, cell, screen
from lamina.cli.output.screen import KEY as KEY_STYLE
from lamina.cli.processes.child import Stopped
from lamina.cli.processes.per_version import Commands
from lamina.cli.selection import prefix_option
from lamina.cli.session import connected
from lamina.cli.watch_steps import Start, Step, Steps


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
@prefix_option
@click.option("--after", type=_AfterType(), help="Begin after a version, a time or a cursor [now].")
@click.option("--exec", "command", metavar="CMD", help="Run a shell command for each version instead.")
@click.option("--stop-on-error", is_flag=True, help="With --exec: exit with 1 when CMD fails [go on].")
@click.option("--grace", type=Seconds(), metavar="SECONDS", help="With --exec: kill it so long after Ctrl-C [5].")
@click.pass_context
def watch_verb(
    ctx: click.Context,
    config: str,
    keys: tuple[str, ...],
    prefixes: tuple[str, ...],
    after: Start,
    *,
    command: str | None,
    stop_on_error: bool,
    grace: float | None,
) -> None:
    """Print each change as it is committed, until Ctrl-C. Nothing is missed while the link is down.

    With -o json, the last object of each version has the "cursor" from which --after goes on. With --after 0 the config
    need not exist yet.

    With --exec, CMD runs once for each version, in order, never two at once. It has the version as one line of JSON on
    stdin, and in LAMINA_CHANGE_VERSION, _KEYS, _AUTHOR, _MESSAGE, _TIME, _CONFIG and _CURSOR, and for a single KEY in
    _VALUE and _OLD.
    """
    output = chosen(ctx).output(("text", "json") if command is None else ("text",))
    for option, is_given in (("--stop-on-error", stop_on_error), ("--grace", grace is not None)):
        if is_given and command is None:
            raise click.UsageError(f"{option} is for --exec")
    with connected(ctx) as client:
        steps = _begun(client, config, keys, prefixes, after, announce=output == "text")
        if command is not None:
            single = len(set(keys)) == 1 and not any(prefixes)
            run = Commands(command, config, single=single, stop_on_error=stop_on_error, grace_seconds=grace)
            with run:
                _follow(steps, run)
            return
        _close_with_reader(steps)
        with screen() as out:
            _follow(steps, _print_json if output == "json" else _Printer(out))


def _begun(
    client: lamina.Client,
    config: str,
    keys: tuple[str, ...],
    prefixes: tuple[str, ...],
    after: Start,
    *,
    announce: bool,
) -> Steps:
    """Begin the watch. The head that is read for it may be large, and is freed when this returns."""
    cfg = client.config(config, create=after == 0)  # every config has version 0, the empty map
    steps = Steps(cfg, keys, prefixes, after)
    if not cfg.version:
        tell(f"{config} does not exist yet: waiting for its first version")
    elif announce and sys.stderr.isatty():
        tell(f"watching {config}" + (f" from version {cfg.version}, Ctrl-C ends it" if after is None else ""))
    return steps


def _follow(steps: Steps, deal_with: Callable[[Step], None]) -> None:
    """Handle each step; at the end, print the cursor from which the next watch continues."""
    try:
        for step in steps:
            deal_with(step)
    except KeyboardInterrupt as end:
        decided = end.cursor if isinstance(end, Stopped) else ""
        tell(f"to go on from here: --after {decided or steps.cursor}")
        raise


class _Printer:
    """Writes one line for each change, in columns that grow when a wider cell arrives."""

    def __init__(self, out: Screen) -> None:
        self._out = out
        self._widths = [0, 0, 0, 0]

    def __call__(self, step: Step) -> None:
        for change, old in step.changes:
            mark = "-" if change.deleted else "+" if old is lamina.MISSING else "~"
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
            self._out.line(*padded, arrow(old, change.value))
        sys.stdout.flush()  # the reader of a pipe needs it now


def _print_json(step: Step) -> None:
    *others, last = (change_shape(change, old) for change, old in step.changes)
    for change in others:
        print(json_line(change))
    print(json_line({**last, "cursor": step.cursor}), flush=True)


def _close_with_reader(steps: Steps) -> None:
    """End the watch as soon as its reader has gone: otherwise `| head -n 1` would last until the next change."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a real file: within another program
        return
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        threading.Thread(target=_await_reader, args=(descriptor, steps), name="lamina-reader", daemon=True).start()


def _await_reader(descriptor: int, steps: Steps) -> None:
    poller = select.poll()
    poller.register(descriptor, 0)  # waits only for its end
    poller.poll()
    steps.close()


def _clock(time: datetime) -> str:
    """Return a time of today; with the date if it is of another day."""
    local = time.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now(UTC).astimezone().date() else "%Y-%m-%d %H:%M")
