"""The group of the `lamina-server` commands."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from lamina_server import logs
from lamina_server.cli import access, backup, compact, config, health, keys, maintain, serve, stats, streams
from lamina_server.cli.options import INTERRUPTED

_SECRET = re.compile(r"://|:.*@|password", re.DOTALL | re.IGNORECASE)
"""What an error of click's may not repeat: it looks like a database's address, or a part of one."""


class _Commands(click.Group):
    """The commands. Their usage errors repeat no address, and Ctrl-C ends them without a word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments before the command."""
        with _ends():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the command's arguments, and run it."""
        with _ends():
            return super().invoke(ctx)


@contextmanager
def _ends() -> Iterator[None]:
    """Exit at Ctrl-C, and replace a usage error that quotes an address."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except click.UsageError as error:
        if _SECRET.search(error.message):
            text = "an argument stands where none can be; a database's address belongs to --database"
            raise click.UsageError(text, error.ctx) from None
        raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lamina", prog_name="lamina-server")
def main() -> None:
    """Serve versioned configuration over gRPC.

    Every setting has an environment variable, such as LAMINA_SERVER_LISTEN. `lamina-server serve --help` lists them.
    """
    logs.configure()
    click.get_current_context().call_on_close(streams.flush)


_COMMANDS = (
    serve.serve,
    config.config,
    health.health,
    maintain.migrate,
    backup.backup,
    maintain.verify,
    stats.stats,
    maintain.restore,
    compact.compact,
    access.access,
    keys.keys,
)
for _command in _COMMANDS:
    main.add_command(_command)
