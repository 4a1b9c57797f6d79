"""The `lamina-server` command."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from lamina_server import logs
from lamina_server.app import describe_database, open_database, serving
from lamina_server.errors import ServerError, UnavailableError
from lamina_server.rpc.listening import AddressError, UnsafeError
from lamina_server.settings import Settings
from lamina_server.store.contract import BackupRefusedError, UnusableStoreError

if TYPE_CHECKING:
    from lamina_server.restoring import Restored
    from lamina_server.store.verifying import Verification

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
DEFAULT_TARGET = "localhost:7440"
SWITCH_SECONDS = 0.0005
"""How long one thread may keep Python from the others: by default ten times as long, which every commit would feel."""
COLLECTED_AFTER_OBJECTS = 20_000
"""So many new objects before some cycles are looked for: by default 700, less than dozens of watches make at once."""

F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lamina", prog_name="lamina-server")
def main() -> None:
    """Serve versioned configuration over gRPC.

    Every option is also an environment variable, LAMINA_SERVER_ and its name; these and all further settings are
    described in server/README.md.
    """
    logs.configure()


def _database_option(command: F) -> F:
    return click.option("--database", metavar="URL", help="SQLAlchemy URL. [default: sqlite:///lamina.db]")(command)


@main.command()
@_database_option
@click.option("--listen", metavar="HOST:PORT", help="Or unix:PATH; port 0 takes a free one. [default: localhost:7440]")
@click.option(
    "--insecure-plaintext", is_flag=True, default=None, help="Serve other machines without TLS: all can read along."
)
@click.option("--tls-cert", type=click.Path(path_type=Path), help="The server's certificates, PEM.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="The private key of the certificate, PEM.")
@click.option("--tls-client-ca", type=click.Path(path_type=Path), help="Authorities of clients' certificates, PEM.")
def serve(**options: Any) -> None:
    """Serve a database until SIGTERM or Ctrl-C."""
    settings = _settings(options)
    with _refusals():
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(COLLECTED_AFTER_OBJECTS, *gc.get_threshold()[1:])
        sys.exit(asyncio.run(_serve(settings)))


@main.command()
@_database_option
def migrate(**options: Any) -> None:
    """Make or upgrade a database's tables, and end.

    `serve` does the same when it starts; this is for whoever wants to see it done before, or by another account.
    """
    settings = _settings(options)
    with _refusals():
        open_database(settings).close()
        click.echo(f"lamina-server: the tables are up to date in {describe_database(settings)}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@_database_option
def backup(file: Path, **options: Any) -> None:
    """Copy a SQLite database into a new FILE, also while a server is using it.

    FILE then is a database of its own, with all that was committed when the command began.
    """
    # Here, as in verify: what a command needs for itself must not make every server's start longer.
    from lamina_server.store.backups import back_up  # noqa: PLC0415

    settings = _settings(options)
    with _refusals():
        with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def show(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            made = back_up(settings.database, file, show)
        click.echo(f"lamina-server: {made.path}, {made.size_bytes} bytes, configs: {made.configs}")


@main.command()
@_database_option
def verify(**options: Any) -> None:
    """Check every row of a database against its digests and hashes, and end.

    Names the first broken version of each config, and ends with 1 if there is one. A server may be using the database
    meanwhile; nothing in it is changed.
    """
    from lamina_server.store.inspecting import inspecting  # noqa: PLC0415
    from lamina_server.store.verifying import Verification  # noqa: PLC0415

    settings = _settings(options)
    with _refusals(), inspecting(settings.database) as inspection:
        verification = Verification(inspection)
        broken = _report(verification)
        counts = f"{verification.configs} configs, {verification.versions} versions and {verification.values} values"
    where = describe_database(settings)
    click.echo(f"lamina-server: {where} is broken" if broken else f"lamina-server: {counts} are intact in {where}")
    sys.exit(FAILED if broken else 0)


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_database_option
def restore(file: Path, **options: Any) -> None:
    """Write the config in a bundle FILE into a database, with its versions, authors, times and hashes.

    `lamina export CONFIG --history FILE` makes bundles. A file that is not as it was exported is refused, and so is one
    whose config is there already with another past; what is there of the same past is kept, and the rest added. All of
    it becomes visible at once. A SQLite database must not be in use by a server; on PostgreSQL no server can commit
    meanwhile.
    """
    from lamina_server.restoring import RestoreRefusedError  # noqa: PLC0415
    from lamina_server.unbundling import BrokenBundleError  # noqa: PLC0415

    settings = _settings(options)
    with _refusals():
        try:
            restored = _restore(file, settings)
        except BrokenBundleError as error:
            click.echo(f"lamina-server: {str(file)!r}: {error}; nothing was written", err=True)
            sys.exit(FAILED)
        except ServerError as error:  # of a commit that was not confirmed, running this again tells
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(FAILED)
        except RestoreRefusedError as error:
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(BAD_USAGE)
    head = restored.head
    what = f"{head.config} has versions 1 to {head.number}, of which {restored.added} were written"
    click.echo(f"lamina-server: {what}, in {describe_database(settings)}, hash {head.hash.hex()}")


def _restore(file: Path, settings: Settings) -> "Restored":
    from lamina_server.restoring import restore as restore_bundle  # noqa: PLC0415

    gc.disable()  # as in _report; this process ends after it
    bar = click.progressbar(
        length=file.stat().st_size, label="restoring", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
    with bar, file.open("rb") as opened:
        return restore_bundle(opened, settings, bar.update)


def _report(verification: "Verification") -> bool:
    """Print what is found when it is found, beside a progress bar for people; tell whether anything is broken."""
    broken = False
    gc.disable()  # millions of rows and no cycle among them: looking for some would take a third of the time
    is_for_people = sys.stderr.isatty()
    with click.progressbar(
        length=verification.total(), label="verifying", file=sys.stderr, hidden=not is_for_people
    ) as bar:
        for finding in verification.findings(bar.update):
            broken = broken or finding.breaks
            if is_for_people:
                click.echo(err=True)  # below the bar
            click.echo(f"{'broken' if finding.breaks else 'warning'}: {finding}")
    gc.enable()
    return broken


def _settings(options: dict[str, Any]) -> Settings:
    """Take what was given on the command line, and the rest from the environment."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = "_".join(map(str, problem["loc"])).upper()
            click.echo(f"lamina-server: LAMINA_SERVER_{name}: {problem['msg']}", err=True)
        sys.exit(BAD_USAGE)


async def _serve(settings: Settings) -> int:
    """Serve until a signal asks for the end, or the store fails; return the exit code.

    A second signal ends the process at once.
    """
    stop: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def receive(number: signal.Signals) -> None:
        if stop.done():
            # What was answered is durable and what was not is open: as after any crash.
            os._exit(128 + number)
        stop.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, receive, number)
    async with serving(settings) as application:
        target = application.target
        click.echo(f"lamina-server ready on {target}, data in {describe_database(settings)}{_hint(target, settings)}")
        await asyncio.wait([stop, application.failed], return_when=asyncio.FIRST_COMPLETED)
        if stop.done():
            return INTERRUPTED if stop.result() is signal.SIGINT else 0
    text = "the disk did not confirm a commit; after a restart the request id tells whether it happened"
    click.echo(f"lamina-server: {text}", err=True)
    return FAILED


def _hint(target: str, settings: Settings) -> str:
    """Say what to try, in a checkout with an environment of its own, as lines that can be pasted there."""
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


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in one line why the command cannot do what it was asked, and end it with the code for that."""
    try:
        yield
    except (UnsafeError, BackupRefusedError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(BAD_USAGE)
    except (AddressError, UnusableStoreError, UnavailableError) as error:
        click.echo(f"lamina-server: {error}", err=True)
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
