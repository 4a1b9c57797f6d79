"""The common parts of the `lamina-server` commands: their options, and their errors."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from lamina_server.access.token_file import TokenFileError
from lamina_server.cli import settings_file
from lamina_server.domain.errors import OperatorError, UnavailableError
from lamina_server.rpc.transport import AddressError, UnsafeError
from lamina_server.secrets.outer import OuterKeySettingError
from lamina_server.settings import PREFIX, Settings
from lamina_server.store.address import DatabaseAddressError
from lamina_server.store.contract import BackupRefusedError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130

F = TypeVar("F", bound=Callable[..., Any])


class File(click.Path):
    """A file's path. An address that stands in its place is not repeated: it may have a password."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check what was typed."""
        if "://" in str(value):
            self.fail("it is a URL, not a file", param, ctx)
        if not Path(value).is_absolute() and not is_in_a_folder():
            self.fail("the working directory does not exist any more: write an absolute path", param, ctx)
        return super().convert(value, param, ctx)


def is_in_a_folder() -> bool:
    """Return whether the working directory still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def database_option(command: F) -> F:
    """Add --database and --settings-file to a command."""
    text = "TOML file with settings. An option or a variable wins over it."
    command = click.option("--settings-file", metavar="FILE", help=text)(command)
    text = "sqlite:///FILE or postgresql://USER@HOST/DATABASE [default: sqlite:///lamina.db]"
    return click.option("--database", metavar="URL", help=text)(command)


def wait_option(command: F) -> F:
    """Add --wait-for-database to a command."""
    text = "How long to wait for a database that is not ready. [default: 0]"
    name = "wait_for_database_seconds"
    return click.option("--wait-for-database", name, metavar="SECONDS", help=text)(command)


def secret_key_options(command: F) -> F:
    """Add --secret-key-file and --secret-key-command to a command."""
    text = "File with the outer key of secrets, in base64, with mode 0600."
    command = click.option("--secret-key-file", metavar="FILE", help=text)(command)
    text = "In its place, a command that has the outer key: it is run with 'wrap' or 'unwrap', and with bytes on stdin."
    return click.option("--secret-key-command", metavar="COMMAND", help=text)(command)


def server_options(command: F) -> F:
    """Add an option for each setting of `serve`. Help shows those that most servers need, and lists all in the end."""
    decorators = (
        database_option,
        wait_option,
        click.option(
            "--listen", metavar="HOST:PORT", help="Or unix:PATH. Port 0: any free port. [default: localhost:7440]"
        ),
        click.option("--workers", metavar="N", help="Processes that serve the address, on PostgreSQL. [default: 1]"),
        _flag(
            "--insecure-plaintext", "Serve other machines without TLS: everybody on the network can read every value."
        ),
        click.option(
            "--access",
            metavar="open|closed",
            help="Whether callers need a credential. [default: open for this machine alone, closed for others]",
        ),
        _flag("--insecure-open", "Be open to other machines: everybody on the network may read and change everything."),
        _file("--bootstrap-token-file", "Where the first start of a closed server writes an admin's token."),
        _file("--tls-cert", "PEM file with the server's certificate."),
        _file("--tls-key", "PEM file with the certificate's private key."),
        _file("--tls-client-ca", "PEM file with clients' authorities."),
        click.option("--metrics-listen", metavar="HOST:PORT", help="Where Prometheus reads metrics. Or unix:PATH."),
        _flag("--insecure-metrics", "Serve metrics to other machines: everybody on the network can read them."),
        _file("--audit-file", "Write a line for each write and each refusal; -: to stdout."),
        _flag("--audit-best-effort", "Write also when the audit cannot be written."),
        secret_key_options,
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return _other_settings(command)


def _file(option: str, text: str) -> Callable[[F], F]:
    return click.option(option, metavar="FILE", help=text)


def _flag(option: str, text: str) -> Callable[[F], F]:
    return click.option(option, is_flag=True, default=None, help=text)


def _other_settings(command: F) -> F:
    """Add a hidden option for each setting that has none, but for those of another command."""
    known = {parameter.name for parameter in getattr(command, "__click_params__", ())}
    for name, field in Settings.model_fields.items():
        if name not in known and not name.startswith("new_"):
            option = f"--{name.replace('_', '-')}"
            command = click.option(option, name, is_flag=field.annotation is bool, default=None, hidden=True)(command)
    return command


def option_of(name: str, command: click.Command) -> str:
    """Return the option of a command for a setting; empty if it has none."""
    return next((parameter.opts[0] for parameter in command.params if parameter.name == name), "")


def variable_of(name: str) -> str:
    """Return the name of a setting's variable."""
    return f"{PREFIX}{name.upper()}"


def is_variable_set(name: str) -> bool:
    """Return whether the environment has a setting's variable, in any case of its letters."""
    return variable_of(name).lower() in map(str.lower, os.environ)


def origin_of(name: str) -> str:
    """Return where a setting of this command comes from: its option, its variable or the file. Empty: from none."""
    context = click.get_current_context()
    if context.params.get(name) is not None:
        return option_of(name, context.command)
    return variable_of(name) if is_variable_set(name) else settings_file.place_of(name)


def source_of(name: str) -> str:
    """Return where a setting of this command comes from, or would come from: first of all its option."""
    return origin_of(name) or option_of(name, click.get_current_context().command) or variable_of(name)


@contextmanager
def refusals() -> Iterator[None]:
    """Print in one line why the command failed, and exit with the code for that."""
    try:
        yield
    except (UnsafeError, DatabaseAddressError, BackupRefusedError, TokenFileError, OuterKeySettingError) as error:
        _print(error)
        sys.exit(BAD_USAGE)
    except (AddressError, OperatorError, UnavailableError) as error:
        _print(error)
        sys.exit(FAILED)


def _print(error: Exception) -> None:
    setting = getattr(error, "setting", None)  # of the errors that concern the value of one
    source = f"{source_of(setting)}: " if setting else ""
    click.echo(f"lamina-server: {source}{error}", err=True)
