"""The common parts of the `lamina-server` commands: their options, and their errors."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from lamina_server.domain.errors import UnavailableError
from lamina_server.rpc.transport import AddressError, UnsafeError
from lamina_server.settings import Settings, problems
from lamina_server.store.address import DatabaseAddressError
from lamina_server.store.contract import BackupRefusedError, UnusableStoreError

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


def settings_of(options: dict[str, Any]) -> Settings:
    """Return the settings: from the given options, and the others from the environment."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for name, text in problems(error):
            given = options.get(name) is not None
            click.echo(f"lamina-server: {_option(name) if given else f'LAMINA_SERVER_{name.upper()}'} {text}", err=True)
        sys.exit(BAD_USAGE)


def _option(name: str) -> str:
    return "--" + name.removesuffix("_seconds").replace("_", "-")


@contextmanager
def refusals() -> Iterator[None]:
    """Print in one line why the command failed, and exit with the code for that."""
    try:
        yield
    except (UnsafeError, DatabaseAddressError, BackupRefusedError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(BAD_USAGE)
    except (AddressError, UnusableStoreError, UnavailableError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(FAILED)
