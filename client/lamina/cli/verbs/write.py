"""The verbs that write what the command line says: set, unset, revert, fork."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice

import click

import lamina
from lamina.cli.arguments.assignments import NotationError, parse_all
from lamina.cli.arguments.inputs import ask_secret, is_stdin, read_input
from lamina.cli.arguments.options import POINT, Verb
from lamina.cli.candidates import ASSIGNMENT, CONFIG, KEY
from lamina.cli.errors import NOT_FOUND, Refusal
from lamina.cli.session import connected
from lamina.cli.writing.retyping import refuse_retyping
from lamina.cli.writing.writer import (
    Write,
    edit,
    named,
    outcome_told,
    print_plan,
    print_unchanged,
    print_written,
    until_written,
    writer,
)


@click.command("set", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("assignments", metavar="[KEY=TEXT|KEY:=JSON]...", type=ASSIGNMENT, nargs=-1)
@click.option(
    "--secret",
    "secrets",
    metavar="KEY[=TEXT]",
    multiple=True,
    help="The same, kept encrypted; asks for a missing TEXT.",
)
@click.option("--retype", is_flag=True, help="Replace what is not text, or a secret.")
@writer(creates=True)
def set_verb(
    write: Write, config: str, assignments: tuple[str, ...], secrets: tuple[str, ...], *, retype: bool
) -> None:
    r"""Set keys, all of them as one new version.

    \b
    motd=hello          the text hello
    timeout:=30         JSON: a number, true, null, "text", a list, an object
    motd=@FILE          the text of a file; - is standard input
    hosts:=@FILE        the JSON in a file
    a\=b=c  a\:b:=1     a backslash before a = or : that is part of the key

    KEY=TEXT is refused for what is not text: timeout=30 is not timeout:=30.
    """
    if not assignments and not secrets:
        raise click.UsageError("nothing is set: KEY=TEXT, KEY:=JSON or --secret KEY is missing")
    read = _file_reader()
    try:
        wanted = parse_all(assignments, secrets, read, lambda key: ask_secret(key, read))
    except NotationError as error:
        raise click.UsageError(str(error)) from None

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        if not retype:
            refuse_retyping(wanted, head)
        for assignment in wanted:
            cfg[assignment.key] = assignment.value

    with connected(write.ctx) as client:
        edit(write, client, config, stage)


def _file_reader() -> Callable[[str], bytes]:
    """Return a function that reads files, and standard input once: a second time it would be silently empty."""
    is_taken = False

    def read(path: str) -> bytes:
        nonlocal is_taken
        if is_stdin(path):
            if is_taken:
                raise NotationError("standard input can be read only once")
            is_taken = True
        try:
            return read_input(path)
        except (OSError, ValueError) as error:
            raise NotationError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None

    return read


@click.command("unset", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("keys", metavar="KEY...", type=KEY, nargs=-1, required=True)
@writer()
def unset_verb(write: Write, config: str, keys: tuple[str, ...]) -> None:
    """Delete keys, all of them as one new version. If one of them is missing, nothing is written."""

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        missing = [key for key in keys if key not in head]
        if missing:
            raise Refusal(f"nothing was written: {config} has no key {named(missing)}", NOT_FOUND)
        for key in dict.fromkeys(keys):
            del cfg[key]

    with connected(write.ctx) as client:
        edit(write, client, config, stage)


@click.command("revert", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
@click.option("--to", "point", type=POINT, required=True, help="The time or version to go back to.")
@writer()
def revert_verb(write: Write, config: str, keys: tuple[str, ...], point: int | datetime) -> None:
    """Write a new version in which the keys are as they were at V; without KEY, the whole map.

    Nothing is lost: the replaced values stay in the history, and the printed line brings them back.
    """
    keys = tuple(dict.fromkeys(keys))

    def attempt() -> None:
        cfg = write.open(client, config)
        then = cfg.at(point)
        missing = [key for key in keys if key not in then and key not in cfg]
        if missing:
            raise Refusal(f"{config} has no key {named(missing)}, neither now nor then", NOT_FOUND)
        changes = cfg.diff(cfg.version, then.version)
        if keys:
            changes = {key: change for key, change in changes.items() if key in keys}
        write.demand_base(cfg, changes)
        message = write.message or f"revert to version {then.version}"
        if write.dry_run:
            print_plan(write, changes)
        elif changes:
            with outcome_told(write.ctx, config):
                version = cfg.revert(*keys, to=then.version, message=message)
            print_written(write, version, changes)
        else:
            print_unchanged(write, cfg)

    with connected(write.ctx) as client:
        until_written(write.ctx, attempt)


@click.command("fork", cls=Verb)
@click.argument("source", type=CONFIG)
@click.argument("fork", metavar="TARGET", type=CONFIG)
@click.option("--at", "point", type=POINT, help="SOURCE as it was then [now].")
@writer(based=False)
def fork_verb(write: Write, source: str, fork: str, point: int | datetime | None) -> None:
    """Make the config TARGET, whose version 1 is SOURCE's map. If TARGET exists already, nothing is written."""
    with connected(write.ctx) as client:
        cfg = client.config(source)
        at = cfg.version if point is None else point
        changes = cfg.diff(0, at)
        if not write.dry_run:
            with outcome_told(write.ctx, fork):
                made = cfg.fork(fork, at=at, message=write.message)
            print_written(write, next(version for version in made.log() if version.number == made.version), changes)
        elif any(info.name == fork for info in islice(client.configs(fork), 1)):
            raise Refusal(f"there is a config {fork} already")
        else:
            print_plan(write, changes)
