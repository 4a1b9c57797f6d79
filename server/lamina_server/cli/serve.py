"""`lamina-server serve`: one process, from the ready line to its exit code."""

import asyncio
import gc
import os
import signal
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import structlog

from lamina_server.app import describe_database, serving
from lamina_server.cli.options import FAILED, INTERRUPTED, database_option, refusals, settings_of, wait_option
from lamina_server.settings import Settings

DEFAULT_TARGET = "localhost:7440"
SWITCH_SECONDS = 0.0005
"""How long one thread may keep Python from the others: by default ten times as long, which every commit would feel."""
COLLECTED_AFTER_OBJECTS = 20_000
"""So many new objects before some cycles are looked for: by default 700, less than dozens of watches make at once."""
SHORTEST_END_SECONDS = 1.0
"""However short the grace is, a commit that was begun is finished if its database answers at once."""

_log = structlog.get_logger(__name__)


@click.command()
@database_option
@wait_option
@click.option("--listen", metavar="HOST:PORT", help="Or unix:PATH; port 0 takes a free one. [default: localhost:7440]")
@click.option(
    "--insecure-plaintext", is_flag=True, default=None, help="Serve other machines without TLS: all can read along."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="The server's certificates, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="The private key of the certificate, PEM.")
@click.option("--tls-client-ca", type=click.Path(path_type=Path), help="Authorities of clients' certificates, PEM.")
def serve(**options: Any) -> None:
    """Serve a database until SIGTERM or Ctrl-C."""
    settings = settings_of(options)
    with refusals():
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(COLLECTED_AFTER_OBJECTS, *gc.get_threshold()[1:])
        sys.exit(asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    """Serve until a signal asks for the end, or the store fails; return the exit code.

    A signal before the server is ready ends the process at once, and so does a second one. The grace ends it in any
    case.
    """
    stop: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def receive(number: signal.Signals) -> None:
        if stop.done():
            # What was answered is durable and what was not is open: as after any crash.
            os._exit(128 + number)
        stop.set_result(number)
        _end_within(settings.stop_grace_seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, receive, number)
    async with AsyncExitStack() as stack:
        starting = asyncio.ensure_future(stack.enter_async_context(serving(settings)))
        await asyncio.wait([stop, starting], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # A thread may be waiting for the database, and cannot be told. Nobody was answered yet, and the database
            # rolls back what it was about to do: as after any crash.
            os._exit(_exit_code(stop.result()))
        application = await starting
        target = application.target
        click.echo(f"lamina-server ready on {target}, data in {describe_database(settings)}{_hint(target, settings)}")
        await asyncio.wait([stop, application.failed], return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            return _exit_code(stop.result())
        _end_within(settings.stop_grace_seconds)
    text = "the disk did not confirm a commit; after a restart the request id tells whether it happened"
    click.echo(f"lamina-server: {text}", err=True)
    return FAILED


def _exit_code(number: signal.Signals) -> int:
    return INTERRUPTED if number is signal.SIGINT else 0


def _end_within(grace_seconds: float) -> None:
    """End the process after the grace, even if threads still wait for a database that does not answer.

    No thread can be made to leave a call of the database's driver, and Python waits for its threads. A thread does
    this, and not the event loop, because it must also happen after the event loop has ended.
    """
    timer = threading.Timer(max(grace_seconds, SHORTEST_END_SECONDS), _end_now)
    timer.daemon = True
    timer.start()


def _end_now() -> None:
    text = "the database did not answer; a request id tells what became of a commit that was not answered"
    _log.error("ended without the database", reason=text)
    # As safe as any crash: see the second signal.
    os._exit(FAILED)


def _hint(target: str, settings: Settings) -> str:
    """Return lines to paste, for a first try in a checkout with its own environment; elsewhere nothing."""
    prefix = Path(sys.prefix)
    if not prefix.is_relative_to(Path.cwd()) or settings.tls_cert:
        return ""
    programs = prefix.relative_to(Path.cwd()) / "bin"
    environment = "" if target == DEFAULT_TARGET else f"LAMINA_TARGET={target} "
    return f"""

Try it in another terminal, with {programs}/python:

    import lamina
    cfg = lamina.connect("{target}").config("demo", create=True)
    cfg["x"] = 28; print(cfg.commit("my first version"))

or from the shell:

    {environment}{programs}/lamina set demo x:=29 --create -m "another one"
"""
