"""`lamina-server health`: the probe of a container."""

import sys
from pathlib import Path
from typing import Any

import click

from lamina_server.cli.options import FAILED, File, refusals, server_options
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say


@click.command()
@server_options
@click.option("--liveness", is_flag=True, help="Ask only whether the process answers, not whether it takes commits.")
@click.option("--timeout", type=click.FloatRange(0.1, 60), default=3, metavar="SECONDS", help="[default: 3]")
@click.option("--ca", type=File(path_type=Path), metavar="FILE", help="Whom to trust. [default: the server's own file]")
@click.option(
    "--cert", type=File(path_type=Path), metavar="FILE", help="This probe's certificate, if clients need one."
)
@click.option("--key", type=File(path_type=Path), metavar="FILE", help="Its private key.")
def health(
    *, liveness: bool, timeout: float, ca: Path | None, cert: Path | None, key: Path | None, **options: Any
) -> None:
    """Ask the server that runs on this machine with these settings whether it is healthy.

    This takes the options of `serve`, and reads the same variables and file. It exits with 0 if the server is ready,
    and with 1 if it is not. On a server that demands certificates the probe shows the server's own, if it has no other.
    """
    from lamina_server.rpc.probe import Identity, ask  # noqa: PLC0415 - no other command needs gRPC's client
    from lamina_server.rpc.readiness import NAME  # noqa: PLC0415

    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together")
    settings = settings_of(options)
    with refusals():
        reason = ask(settings, "" if liveness else NAME, Identity(ca, cert, key), timeout)
    if reason:
        click.echo(f"lamina-server: {reason}", err=True)
        sys.exit(FAILED)
    say("healthy" if liveness else "ready")
