"""The verb that opens a config in an editor: edit. It keeps the edited file until the changes are written."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from time import monotonic
from typing import Any, Final

import click

import lamina
from lamina.cli import formats
from lamina.cli.arguments.options import Verb, chosen
from lamina.cli.candidates import CONFIG
from lamina.cli.errors import USAGE, Refusal, exit_code, report, tell
from lamina.cli.output.differences import differ
from lamina.cli.output.secrets import masked
from lamina.cli.session import connected
from lamina.cli.writing.secrets import with_secrets
from lamina.cli.writing.writer import Write, edit, writer

_FORMATS: Final = ("yaml", "toml")
_FOLDER: Final = "lamina-edit-"
_FILE: Final = click.Path(exists=True, dir_okay=False)
_FOR_THE_SHELL: Final = re.compile(r"[$`;&|<>()*?~]|^\s*\w+=")
_FAILURES: Final = {126: "does not start", 127: "is not there: set EDITOR"}
"""The exit codes of the shell, as words."""
AT_ONCE_SECONDS: Final = 1.0
"""If an editor returns this early without a change, its window may still be open."""


@click.command("edit", cls=Verb)
@click.argument("config", type=CONFIG)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="The format to edit it in [yaml].")
@click.option(
    "--resume", "resumed", type=_FILE, metavar="FILE", help="Go on with a file that an earlier edit has kept."
)
@writer(creates=True)
def edit_verb(write: Write, config: str, form: str | None, resumed: str | None) -> None:
    """Open a config in $VISUAL, else $EDITOR, and write the changes as one new version.

    A key that is removed from the file is deleted. Comments are not kept. A secret is shown as ••••, which keeps it.
    Any other value in its place is a new secret. If others have changed the same keys meanwhile, nothing is written,
    and it exits with 3. A file that was edited and not written is kept, and the line that goes on with it is printed.
    """
    if resumed is not None and write.base is None:
        raise click.UsageError("--resume goes with --base, the version that FILE was made from")
    form = form or (formats.format_of(resumed) if resumed is not None else None) or "yaml"
    if form not in _FORMATS:
        raise click.UsageError(f"{form} cannot be edited: edit takes {' or '.join(_FORMATS)}")
    editor = _editor()
    with connected(write.ctx) as client:
        cfg = write.open(client, config)
        opened = cfg.at(cfg.version if write.base is None else write.base)
    file = _made(form, opened) if resumed is None else Path(resumed).absolute()
    write = replace(write, base=opened.version)
    _run(write, editor, config, file, is_new=resumed is None)
    with _kept(write, config, file):
        changes = _difference(opened, with_secrets(_load(form, file, opened), opened, str(file)))
        with connected(write.ctx) as client:
            edit(write, client, config, lambda cfg, head: _stage(cfg, head, changes, file))
        if write.dry_run and changes:
            tell(_way_on(write, config, file))
            return
    _discard(file)


def _editor() -> list[str]:
    """Return the editor's command. As in git, the shell runs it if it has characters that only a shell understands."""
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    if _FOR_THE_SHELL.search(named):
        return ["/bin/sh", "-c", f'{named} "$@"', named]
    try:
        command = shlex.split(named)
    except ValueError:
        command = []
    if not command or shutil.which(command[0]) is None:
        raise Refusal(f"there is no editor {command[0] if command else named}: set EDITOR")
    return command


def _made(form: str, opened: lamina.Snapshot) -> Path:
    """Write the map to a file that only this user can read, in its own folder, for the files of editors."""
    try:
        text = formats.dump(form, masked(opened.to_dict())) if opened else ""
    except formats.FormatError as error:
        raise Refusal(f"{error}; --format {' or '.join(other for other in _FORMATS if other != form)}") from None
    head = (
        f"# {opened.config} version {opened.version}: changes here are written, keys that you remove are deleted.\n"
        "# Comments are not kept: a config holds values alone. The reason of a change is its message (-m).\n"
    )
    file = Path(tempfile.mkdtemp(prefix=_FOLDER)) / f"{PurePath(opened.config).name}.{form}"
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as made:
        made.write((head + text).encode())
    return file


def _run(write: Write, editor: list[str], config: str, file: Path, *, is_new: bool) -> None:
    """Run the editor to its end. At a terminal Ctrl-C goes to both programs, and this one leaves it to the editor."""
    before, begun, name = file.read_bytes(), monotonic(), editor[-1] if editor[0] == "/bin/sh" else editor[0]
    handler = signal.signal(signal.SIGINT, lambda *_: None)  # not ignored: the editor would inherit that
    try:
        code = subprocess.run([*editor, str(file)], check=False).returncode  # noqa: S603 - the user's own command
    except OSError as error:  # it is executable, but no program
        if is_new:
            _discard(file)
        raise Refusal(f"nothing was written: {name} does not start: {error.strerror}") from None
    finally:
        signal.signal(signal.SIGINT, handler)
    if not file.is_file():
        raise Refusal(f"nothing was written: {name} has left no file {file}")
    is_unchanged = is_new and file.read_bytes() == before  # a kept file holds the changes of an earlier edit
    if code:
        failure = f"nothing was written: {name} {_FAILURES.get(code, f'exited with {code}')}"
        if is_unchanged:
            _discard(file)
            raise Refusal(failure)
        raise Refusal(f"{failure}\n{_way_on(write, config, file)}")
    if is_unchanged and monotonic() - begun < AT_ONCE_SECONDS:
        hint = f"nothing was written: {name} returned at once, and nothing was changed. If its window is still open"
        waiting = "let it wait for the window: EDITOR='code --wait'"
        raise Refusal(f"{hint}, save there and go on; next time {waiting}\n{_way_on(write, config, file)}")


@contextmanager
def _kept(write: Write, config: str, file: Path) -> Iterator[None]:
    """If the block fails, print that the file was kept, and how to resume."""
    try:
        yield
    except Refusal as refusal:
        raise Refusal(f"{refusal}\n{_way_on(write, config, file)}", refusal.code) from None
    except lamina.LaminaError as error:
        report(error)
        raise Refusal(_way_on(write, config, file), exit_code(error)) from None
    except BaseException:
        tell(_way_on(write, config, file))
        raise


def _way_on(write: Write, config: str, file: Path) -> str:
    options = ["--resume", str(file), "--base", str(write.base)]
    options += ["-m", write.message] if write.message else []
    options += ["--create"] if write.create else []
    return f"to go on with what was edited: {chosen(write.ctx).command_line('edit', [config], options)}"


def _load(form: str, file: Path, opened: lamina.Snapshot) -> dict[str, Any]:
    data = file.read_bytes()
    if all(not line or line.startswith(b"#") for line in map(bytes.strip, data.splitlines())):
        if opened:  # more likely an accident or a cancelled edit than a deletion of all keys
            raise Refusal(f"{file}: nothing was written: the file is empty, and {opened.config} is not", USAGE)
        return {}
    try:
        return formats.load(form, data)
    except formats.FormatError as error:
        raise Refusal(f"{file}: {error}", USAGE) from None


def _difference(opened: lamina.Snapshot, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the new values by key; MISSING for a key that was removed."""
    gone = {key: lamina.MISSING for key in opened if key not in wanted}
    return gone | {key: new for key, new in wanted.items() if differ(opened.get(key, lamina.MISSING), new)}


def _stage(cfg: lamina.Config, head: lamina.Snapshot, changes: Mapping[str, Any], file: Path) -> None:
    try:
        for key, new in changes.items():
            if new is not lamina.MISSING:
                cfg[key] = new
            elif key in head:
                del cfg[key]
    except (lamina.InvalidError, TypeError) as error:
        raise Refusal(f"{file}: {error}", USAGE) from None


def _discard(file: Path) -> None:
    """Remove a file of an edit, with everything that the editor has put beside it."""
    if file.parent.name.startswith(_FOLDER) and file.parent.parent == Path(tempfile.gettempdir()).absolute():
        shutil.rmtree(file.parent, ignore_errors=True)
