"""What the commands of `lamina-server` have in common: their options, and how they refuse."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from lamina_server.domain.errors import UnavailableError
from lamina_server.rpc.transport import AddressError, UnsafeError
from lamina_server.settings import Settings
from lamina_server.store.contract import BackupRefusedError, UnusableStoreError

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130

F = TypeVar("F", bound=Callable[..., Any])


def database_option(command: F) -> F:
    """Add --database to a command."""
    return click.option("--database", metavar="URL", help="SQLAlchemy URL. [default: sqlite:///lamina.db]")(command)


def settings_of(options: dict[str, Any]) -> Settings:
    """Take what was given on the command line, and the rest from the environment."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(map(str, problem["loc"])).upper()
            click.echo(f"lamina-server: LAMINA_SERVER_{name}: {problem['msg']}", err=True)
        sys.exit(BAD_USAGE)


@contextmanager
def refusals() -> Iterator[None]:
    """Say in one line why the command cannot do what it was asked, and end it with the code for that."""
    try:
        yield
    except (UnsafeError, BackupRefusedError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(BAD_USAGE)
    except (AddressError, UnusableStoreError, UnavailableError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(FAILED)
