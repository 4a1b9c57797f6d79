"""The verbs that move maps between configs and files: export and import."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

import lamina
from lamina.bundle import export, files
from lamina.cli import formats
from lamina.cli.arguments.assignments import Assignment, escape_key
from lamina.cli.arguments.inputs import read_input
from lamina.cli.arguments.options import POINT, NamedFile, Verb, chosen
from lamina.cli.candidates import CONFIG, KEY
from lamina.cli.errors import REFUSED, Refusal, tell
from lamina.cli.output.progress import reading, working
from lamina.cli.output.screen import counted, emit
from lamina.cli.output.secrets import check_revealed, contents
from lamina.cli.selection import prefix_option, reveal_option, selected, upper_option, without_contents
from lamina.cli.session import connected, read
from lamina.cli.writing.batches import size_of, write_in_batches
from lamina.cli.writing.retyping import refuse_retyping
from lamina.cli.writing.secrets import with_secrets
from lamina.cli.writing.writer import Write, edit, writer

_PATH = NamedFile()
_FORMAT = click.Choice(formats.FORMATS)
_FORMAT_NAMES = ", ".join(formats.FORMATS)
_REMEDY = "--reveal writes contents, in YAML or in env with --upper"
_EXPORT_OUTPUTS = ("text", *formats.FORMATS)


@click.command("export", cls=Verb, outputs=_EXPORT_OUTPUTS)
@click.argument("config", type=CONFIG)
@click.argument("file", type=_PATH, default="-")
@click.argument("keys", metavar="[KEY]...", type=KEY, nargs=-1)
@prefix_option
@click.option("--at", "point", type=POINT, help="The map as it was then [now].")
@click.option("--format", "form", type=_FORMAT, metavar="FORMAT", help=f"{_FORMAT_NAMES} [by suffix, else yaml].")
@upper_option
@reveal_option
@click.option("--history", is_flag=True, help="All versions, as a bundle.")
@click.pass_context
def export_verb(
    ctx: click.Context,
    config: str,
    file: str,
    *,
    keys: tuple[str, ...],
    prefixes: tuple[str, ...],
    point: int | datetime | None,
    form: str | None,
    upper: bool,
    reveal: bool,
    history: bool,
) -> None:
    """Write a config, or some of its keys, to FILE or standard output, so that import reads the same map back.

    A value that the format cannot hold is an error: null in TOML, bytes in anything but YAML, anything but text in env
    without --upper. A secret is only marked, and import keeps what is there. --reveal needs YAML, or env with --upper.

    FILE is replaced as a whole, and keeps its owner and mode; a pipe is a stream. A bundle is for lamina.open, and for
    restore of the server.
    """
    if history:
        if keys or prefixes or upper:
            raise click.UsageError("--history is for all keys of a config: KEY, --prefix and --upper are not for it")
        if reveal:
            raise click.UsageError("--history keeps secrets encrypted: --reveal is not for it")
        _export_history(ctx, config, file, point, form)
        return
    form = form or _typed_format(ctx) or formats.format_of(file) or "yaml"
    if upper and form != "env":
        raise click.UsageError(f"--upper is for the names of variables: it goes with --format env, not {form}")
    with connected(ctx) as client:
        entries = read(client, config, point)
    found = selected(entries, keys, prefixes)
    if reveal:
        check_revealed(found)
    else:
        found = without_contents(found, form, _REMEDY)
    try:
        data = formats.dump_upper(contents(found) if reveal else found) if upper else formats.dump(form, found)
    except formats.FormatError as error:
        raise Refusal(str(error)) from None
    if file == "-":
        emit(data)
        return
    with files.written(file, private=reveal) as into:
        into.write(data.encode())
    tell(f"{counted(len(found), 'key')} of {config} version {entries.version} written to {file}")


def _export_history(ctx: click.Context, config: str, file: str, point: int | datetime | None, form: str | None) -> None:
    if file == "-":
        raise click.UsageError("--history needs a FILE: it has its name only once it is whole")
    if form or _typed_format(ctx):
        raise click.UsageError("--history has a format of its own, which holds every value")
    with connected(ctx) as client:
        cfg = client.config(config)
        last = cfg.version if point is None else cfg.at(point).version
        with working(f"exporting {config}", last, "versions") as advance:
            version = export(cfg, file, at=last, advance=advance)
    tell(f"{counted(version.number, 'version')} of {config} written to {file}, the last one's hash is {version.hash}")


def _typed_format(ctx: click.Context) -> str | None:
    output = chosen(ctx).typed_output()
    return None if output == "text" else output


@click.command("import", cls=Verb)
@click.argument("config", type=CONFIG)
@click.argument("file", type=_PATH)
@click.option("--replace", is_flag=True, help="Delete the keys that the file does not have.")
@click.option("--format", "form", type=_FORMAT, metavar="FORMAT", help=f"{_FORMAT_NAMES} [by FILE's suffix].")
@click.option("--allow-empty", is_flag=True, help="Take a file that holds no key, too.")
@click.option("--retype", is_flag=True, help="Let an env file's text replace other values.")
@click.option("--batch", is_flag=True, help="Write several versions if one cannot hold it all.")
@writer(creates=True)
def import_verb(
    write: Write,
    config: str,
    file: str,
    form: str | None,
    *,
    replace: bool,
    allow_empty: bool,
    retype: bool,
    batch: bool,
) -> None:
    """Set what FILE says, as one new version; - is standard input.

    Top-level names are keys, and nested values stay JSON. In YAML, dates need quotes, and !secret marks a secret. ••••
    or {"secret": true} keeps the secret that is there; another value for it is a new secret. --replace with an env file
    deletes no secret. A version takes 10,000 changes and 4 MiB by default.
    """
    form = form or formats.format_of(file)
    if form is None:
        raise click.UsageError(f"the format of {file} is not clear from its suffix: say --format")
    wanted = _load(file, form, allow_empty=allow_empty)
    if not write.message:
        write = write.with_message(f"import {'standard input' if file == '-' else Path(file).name}")

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        settled = with_secrets(wanted, head, file)
        if form == "env" and not retype:
            refuse_retyping((_as_assignment(key, text) for key, text in settled.items()), head)
        _stage(cfg, settled, file)
        for key in head if replace else ():
            if key not in settled and not (form == "env" and isinstance(head[key], lamina.Secret)):  # it holds none
                del cfg[key]

    with connected(write.ctx) as client:
        if batch:
            write_in_batches(write, client, config, stage)
            return
        try:
            edit(write, client, config, stage)
        except lamina.LimitError as error:
            made = f"{file} has {counted(len(wanted), 'key')}, about {size_of(wanted) / 2**20:.1f} MiB"
            largest = max((size_of({key: value}) for key, value in wanted.items()), default=0)
            if error.limit is None or largest <= error.limit:  # otherwise a single value is too large
                made += ": --batch writes several versions"
            raise Refusal(f"nothing was written: {error}\n{made}") from None


def _load(file: str, form: str, *, allow_empty: bool) -> dict[str, Any]:
    with reading(file):
        try:
            data = read_input(file)
            entries = formats.load(form, data) if data.strip() else {}
        except OSError as error:
            raise click.UsageError(f"cannot read {file}: {error.strerror or error}") from None
        except formats.FormatError as error:
            raise Refusal(f"{file}: {error}", REFUSED) from None
    if not entries and not allow_empty:  # most likely the program that should have written it has failed
        raise Refusal(f"nothing was written: {file} holds no key; --allow-empty if that is meant", REFUSED)
    return entries


def _as_assignment(key: str, text: object) -> Assignment:
    return Assignment(key, text, typed=False, advice=f"it into a file with types, or set {escape_key(key)}:=JSON")


def _stage(cfg: lamina.Config, wanted: Mapping[str, Any], file: str) -> None:
    try:
        cfg.update(wanted)
    except (lamina.InvalidError, TypeError) as error:
        raise Refusal(f"{file}: {error}", REFUSED) from None
