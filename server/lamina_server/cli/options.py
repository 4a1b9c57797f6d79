"""The common parts of the `lamina-server` commands: their options, and their errors."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from lamina_server.access.token_file import TokenFileError
from lamina_server.domain.errors import OperatorError, UnavailableError
from lamina_server.rpc.transport import AddressError, UnsafeError
from lamina_server.secrets.outer import OuterKeySettingError
from lamina_server.settings import PREFIX
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
    """Add --database to a command."""
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


def source_of(name: str) -> str:
    """Return where a setting of this command comes from: its option or its variable; if from neither, its option."""
    context = click.get_current_context()
    variable = f"{PREFIX}{name.upper()}"
    is_set = variable.lower() in map(str.lower, os.environ) and context.params.get(name) is None
    option = next((parameter.opts[0] for parameter in context.command.params if parameter.name == name), variable)
    return variable if is_set else option


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
