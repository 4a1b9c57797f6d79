"""`lamina-server serve`: one process, from the ready line to its exit code. workers.py has several."""

import asyncio
import errno
import gc
import json
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click
import structlog

from lamina_server.app import Application, admin_token_file, describe_database, serving
from lamina_server.audit.audit import Audit
from lamina_server.cli import workers
from lamina_server.cli.options import FAILED, INTERRUPTED, is_in_a_folder, refusals, server_options
from lamina_server.cli.reports import upgraded
from lamina_server.cli.settings import described, settings_of
from lamina_server.cli.terminal import Terminal
from lamina_server.logs import uncaught
from lamina_server.metrics.shared import Shared
from lamina_server.settings import Settings

DEFAULT_TARGET = "localhost:7440"
SWITCH_SECONDS = 0.0005
"""How long a thread may keep Python's lock while others wait. The default is ten times longer, and delays commits."""
COLLECTED_AFTER_OBJECTS = 20_000
"""How many new objects start a garbage collection. A few dozen watches make more than the default of 700 at once."""
SHORTEST_END_SECONDS = 1.0
"""The shortest grace: enough to finish a commit that has begun, if its database answers at once."""

_log = structlog.get_logger(__name__)


class _Serve(click.Command):
    """A command whose help lists all variables of the server."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, and the variables."""
        super().format_options(ctx, formatter)
        with formatter.section("Settings, by option, environment variable or settings file (in small letters)"):
            formatter.write_dl(list(described(self)))


@click.command(cls=_Serve)
@server_options
def serve(**options: Any) -> None:
    """Serve a database until SIGTERM or Ctrl-C.

    SIGHUP ends it too; with --audit-file, only if its terminal has gone: else it opens the file anew.
    """
    settings = settings_of(options)
    with refusals():
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(COLLECTED_AFTER_OBJECTS, *gc.get_threshold()[1:])
        if settings.workers == 1:
            sys.exit(asyncio.run(_serve(settings, _print)))
        sys.exit(workers.serve(settings, _work, _print))


def _work(settings: Settings, tell: Callable[[str], None], shared: Shared | None) -> int:
    with refusals():
        return asyncio.run(_serve(settings, tell, shared))


async def _serve(settings: Settings, tell: Callable[[str], None], shared: Shared | None = None) -> int:
    """Serve until a signal asks for the end, or the store fails; return the exit code. Tell when it is ready.

    A signal before the server is ready ends the process at once, and so does a second signal. The process always ends
    within the grace. A terminal that goes away sends SIGHUP more than once, so a second SIGHUP is not a second signal.
    Nor is any signal to a worker: systemd and Ctrl-C signal it too, besides the process that started it, which alone
    decides about a second one.
    """
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(uncaught.of_event_loop)
    stop: asyncio.Future[Any] = loop.create_future()
    audits: list[Audit] = []

    def receive(number: signal.Signals) -> None:
        if stop.done():
            if number is signal.SIGHUP or settings.workers > 1:
                return
            # As after any crash: an answered commit is durable, and the outcome of any other is open.
            os._exit(128 + number)
        stop.set_result(number)
        _end_within(settings.stop_grace_seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, receive, number)
    if settings.audit_file:
        loop.add_signal_handler(signal.SIGHUP, _hang_up(receive, audits))
    elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        loop.add_signal_handler(signal.SIGHUP, receive, signal.SIGHUP)
    async with AsyncExitStack() as stack:
        starting = asyncio.ensure_future(stack.enter_async_context(serving(settings, shared)))
        await asyncio.wait([stop, starting], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            # A thread may be waiting for the database, and nothing can interrupt it. No call was answered yet, and the
            # database rolls back the open transaction, as after any crash.
            os._exit(_exit_code(stop.result()))
        application = await starting
        audits.append(application.audit)
        target = application.target
        data = describe_database(settings) + (" (empty: nobody has made a config yet)" if application.is_empty else "")
        data += upgraded(application.upgrade)
        data += f", {settings.workers} workers" if settings.workers > 1 else ""
        tell(f"lamina-server ready on {target}, {_mode(application)}, data in {data}{_hint(application, settings)}")
        await asyncio.wait([stop, application.failed], return_when=asyncio.FIRST_COMPLETED)
        if not stop.done():
            _end_within(settings.stop_grace_seconds)
    if application.failed.done():
        click.echo(f"lamina-server: {application.failed.result()}", err=True)
        return FAILED
    return _exit_code(stop.result())


def _print(ready_line: str) -> None:
    """Print to stdout; log it if that is impossible. The server serves nevertheless."""
    reason = "" if sys.stdout else os.strerror(errno.EBADF)
    try:
        click.echo(ready_line)
    except OSError as error:
        reason = error.strerror or ""
    if reason:
        _log.warning("ready line not printed", reason=reason)


def _mode(application: Application) -> str:
    if not application.access.is_open:
        return "closed"
    return "open" if application.is_local else "OPEN TO OTHER MACHINES by --insecure-open"


def _hang_up(receive: Callable[[signal.Signals], None], audits: list[Audit]) -> Callable[[], None]:
    """Return what SIGHUP does with an audit: it ends the server if its terminal has gone, else it opens files anew."""
    terminal = Terminal()

    def act() -> None:
        if terminal.has_gone:
            receive(signal.SIGHUP)
        else:
            for audit in audits:
                audit.reopen()

    return act


def _exit_code(number: signal.Signals) -> int:
    return INTERRUPTED if number is signal.SIGINT else 0


def _end_within(grace_seconds: float) -> None:
    """End the process after the grace, even if threads still wait for a database that does not answer.

    Nothing can interrupt a thread in a call of the database's driver, and Python waits for its threads. A timer thread
    does this instead of the event loop, because it must also work after the event loop has ended.
    """
    timer = threading.Timer(max(grace_seconds, SHORTEST_END_SECONDS), _end_now)
    timer.daemon = True
    timer.start()


def _end_now() -> None:
    text = "the database did not answer; if a commit got no answer, send it again with its request id"
    _log.error("ended without the database", reason=text)
    # As safe as any crash: see the second signal.
    os._exit(FAILED)


def _hint(application: Application, settings: Settings) -> str:
    """Return lines that help with a first try: where the first admin's token is, or what to paste in a checkout."""
    if not application.access.is_open:
        path = admin_token_file(settings, application)
        return f"\nthe token of an admin is in {path}: keep it safe, and remove the file" if path else ""
    prefix = Path(sys.prefix)
    if not is_in_a_folder() or not prefix.is_relative_to(Path.cwd()) or settings.tls_cert:
        return ""
    target, programs = application.target, prefix.relative_to(Path.cwd()) / "bin"
    environment = "" if target == DEFAULT_TARGET else f"LAMINA_TARGET={shlex.quote(target)} "
    return f"""

Try it in another terminal, with {programs}/python:

    import lamina
    cfg = lamina.connect({json.dumps(target)}).config("demo", create=True)
    cfg["x"] = 28; print(cfg.commit("my first version"))

or from the shell:

    {environment}{programs}/lamina set demo x:=29 --create -m "another one"
"""
