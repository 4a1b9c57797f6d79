"""The verbs that read: get, log, history, blame, configs. They write to stdout and change nothing."""

import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click
from rich.text import Text

import lamina
from lamina.cli import formats
from lamina.cli.arguments.options import OUTPUTS, POINT, Count, Verb, chosen
from lamina.cli.arguments.spelling import did_you_mean
from lamina.cli.candidates import CONFIG, KEY
from lamina.cli.errors import NOT_FOUND, REFUSED, Refusal
from lamina.cli.output.json_records import document, documents, json_line, shape
from lamina.cli.output.screen import (
    AUTHOR,
    NEW,
    OLD,
    QUIET,
    VERSION,
    Row,
    Screen,
    cell,
    clipped,
    counted,
    emit,
    first_line,
    screen,
)
from lamina.cli.output.screen import KEY as KEY_STYLE
from lamina.cli.output.secrets import check_revealed, contents
from lamina.cli.output.text import show, write_json
from lamina.cli.selection import no_such_key, prefix_option, reveal_option, selected, upper_option, without_contents
from lamina.cli.session import connected, read

_CLIPPED_COLUMNS = 48
"""On a terminal, a value beside other columns is cut at this width; `get`, `diff` and pipes have it whole."""
_NAMED_KEYS = 3
_REMEDY = "--reveal writes contents"


@click.command("get", cls=Verb, outputs=OUTPUTS)
@click.argument("config", type=CONFIG)
@click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
@prefix_option
@click.option("--at", "point", type=POINT, help="As it was at V [now].")
@upper_option
@click.option("--raw", is_flag=True, help="One KEY's value as it is, without a line break.")
@reveal_option
@click.pass_context
def get_verb(
    ctx: click.Context,
    config: str,
    keys: tuple[str, ...],
    prefixes: tuple[str, ...],
    point: int | datetime | None,
    *,
    upper: bool,
    raw: bool,
    reveal: bool,
) -> None:
    """Print a config, or some of its keys; with one KEY, its bare value.

    Text is printed as it is, everything else as JSON. Bytes are printed as they are, but not to a terminal: -o json
    prints them in base64.

    A secret is printed as ••••, in JSON and TOML as {"secret": true}, and is left out of env: a program would take a
    mask for its value. One KEY that is a secret is refused. --reveal prints secrets.
    """
    is_single = len(keys) == 1 and not prefixes
    if raw and not is_single:
        raise click.UsageError("--raw takes one KEY")
    output = chosen(ctx).output(("text", "json") if is_single else OUTPUTS)
    if upper and output != "env":
        raise click.UsageError("--upper is for the names of variables: it goes with -o env")
    with connected(ctx) as client:
        entries = selected(read(client, config, point), keys, prefixes)
    if not is_single:
        print_map(entries, output, upper=upper, reveal=reveal)
        return
    value = (contents(entries) if reveal else entries)[keys[0]]
    if output == "json":
        print(document(value))
    elif isinstance(value, lamina.Secret):
        check_revealed(entries)  # if --reveal could not print it either, this says why
        raise Refusal(f"{keys[0]} holds a secret: --reveal prints it")
    else:
        _print_bare(keys[0], value, end="" if raw else "\n")


def print_map(entries: Mapping[str, Any], output: str, *, upper: bool = False, reveal: bool = False) -> None:
    """Write a map in one of the outputs."""
    if reveal:
        check_revealed(entries)
        entries = entries if output == "yaml" else contents(entries)
    if output == "text":
        with screen() as out:
            out.columns(([cell(key, KEY_STYLE), cell(show(value))] for key, value in entries.items()), ("KEY", "VALUE"))
        return
    try:
        text = (
            document(entries) + "\n"
            if output == "json"
            else _mapped(entries if reveal else without_contents(entries, output, _REMEDY), output, upper=upper)
        )
    except formats.FormatError as error:
        raise Refusal(str(error), REFUSED) from None
    emit(text)


def _mapped(entries: Mapping[str, Any], output: str, *, upper: bool) -> str:
    return formats.shell(entries, upper=upper) if output == "env" else formats.dump(output, entries)


def _print_bare(key: str, value: Any, *, end: str) -> None:
    if isinstance(value, bytes):
        if sys.stdout.isatty():
            raise Refusal(f"{key} holds bytes, which a terminal cannot show: send them to a file, or use -o json")
        click.echo(value, nl=False)
        return
    text = value if isinstance(value, str) else write_json(value)
    emit(text + end)


@click.command("log", cls=Verb)
@click.argument("config", type=CONFIG)
@click.option("-n", "--limit", type=Count(), metavar="N", help="At most so many versions [all].")
@click.pass_context
def log_verb(ctx: click.Context, config: str, limit: int | None) -> None:
    """List a config's versions, newest first: when, by whom, which keys, and why.

    The values of a version that is "(compacted)" are no longer kept. With -o json, one object a line.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        versions = client.config(config).log(limit=limit)
        if output == "json":
            for version in versions:
                print(json_line(shape(version)))
            return
        with screen(paged=True) as out:
            rows = (_version_row(out, version) for version in versions)
            out.columns(rows, ("VERSION", "WHEN", "AUTHOR", "KEYS", "MESSAGE"), clip=True)


def _version_row(out: Screen, version: lamina.Version) -> Row:
    keys = cell(_keys_of(version) + (" (compacted)" if version.compacted else ""), QUIET)
    return [*_who_and_when(out, version.number, version), keys, _why(version)]


def _why(version: lamina.Version) -> Text:
    if version.source_config and not version.message:
        return cell(f"fork of {version.source_config} version {version.source_version}", QUIET)
    return first_line(version.message)


def _who_and_when(out: Screen, number: int, made: lamina.Version | lamina.KeyChange) -> Row:
    return [cell(str(number), VERSION), out.time(made.time), cell(made.author, AUTHOR)]


def _keys_of(version: lamina.Version) -> str:
    """Return the names of a version's keys if they are few, else their number."""
    if version.change_count > _NAMED_KEYS:
        return counted(version.change_count, "key")
    return ", ".join(version.changed_keys)


@click.command("history", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("key", type=KEY)
@click.option("-n", "--limit", type=Count(), metavar="N", help="At most so many changes [all].")
@click.option("--newest-first", is_flag=True, help="Begin with the present.")
@click.pass_context
def history_verb(ctx: click.Context, config: str, key: str, limit: int | None, *, newest_first: bool) -> None:
    """List every change of one key, in version order: the present value comes last.

    Of a compacted config, old changes have no value any more. With -o json, one object a line; a deletion, and a change
    that is "compacted", has no "value".
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        changes = client.config(config).history(key, newest_first=newest_first, limit=limit)
        first = next(changes, None)
        if first is None:
            if limit == 0:
                return
            raise Refusal(f"{config} never had a key {key}{did_you_mean(key, client.config(config))}", NOT_FOUND)
        if output == "json":
            print(json_line(shape(first)))
            for change in changes:
                print(json_line(shape(change)))
            return
        with screen() as out:
            rows = (_change_row(out, change) for change in (first, *changes))
            out.columns(rows, ("VERSION", "WHEN", "AUTHOR", "VALUE", "MESSAGE"), clip=True)


def _change_row(out: Screen, change: lamina.KeyChange) -> Row:
    if change.compacted:
        value = cell("compacted", QUIET)
    else:
        value = cell("deleted", OLD) if change.deleted else _beside(out, change.value, NEW)
    return [*_who_and_when(out, change.version, change), value, first_line(change.message)]


def _beside(out: Screen, value: Any, style: str = "") -> Text:
    """Write a value beside other columns."""
    return clipped(show(value), _CLIPPED_COLUMNS, style) if out.live else cell(show(value), style)


@click.command("blame", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
@click.pass_context
def blame_verb(ctx: click.Context, config: str, keys: tuple[str, ...]) -> None:
    """Show which version set each key's value: when, by whom and why."""
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = client.config(config)
        try:
            versions = cfg.blame(*keys)
        except KeyError as error:
            raise no_such_key(config, error.args[0], cfg) from None
    if output == "json":
        for piece in documents(versions):
            print(piece, end="")
        print()
        return
    with screen(paged=True) as out:
        origins = {version.number: version for version in versions.values()}  # few, even of very many keys
        made = {number: _who_and_when(out, number, version) for number, version in origins.items()}
        whys = {number: _why(version) for number, version in origins.items()}
        rows = (
            [*made[version.number], cell(key, KEY_STYLE), _beside(out, cfg[key]), whys[version.number]]
            for key, version in versions.items()
        )
        out.columns(rows, ("VERSION", "WHEN", "AUTHOR", "KEY", "VALUE", "MESSAGE"), clip=True)


@click.command("configs", cls=Verb)
@click.argument("prefix", type=CONFIG, default="")
@click.pass_context
def configs_verb(ctx: click.Context, prefix: str) -> None:
    """List the configs whose names begin with PREFIX, by name, with their newest version and its time."""
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        found = client.configs(prefix)
        if output == "json":
            print(document([shape(info) for info in found]))
            return
        with screen() as out:
            rows = ([cell(info.name, KEY_STYLE), cell(str(info.head), VERSION), out.time(info.time)] for info in found)
            out.columns(rows, ("CONFIG", "VERSION", "WHEN"))
