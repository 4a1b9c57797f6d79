"""The group of the `lamina-server` commands."""

import click

from lamina_server import logs
from lamina_server.cli import maintain, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lamina", prog_name="lamina-server")
def main() -> None:
    """Serve versioned configuration over gRPC.

    Every option also has an environment variable, such as LAMINA_SERVER_LISTEN. server/README.md describes these and
    all other settings.
    """
    logs.configure()


for _command in (serve.serve, maintain.migrate, maintain.backup, maintain.verify, maintain.restore):
    main.add_command(_command)
