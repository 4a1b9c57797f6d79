"""The commands that look after a database: migrate, backup, verify and restore. Each loads what it alone needs."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina_server.app import describe_database, open_database
from lamina_server.cli.options import BAD_USAGE, FAILED, database_option, refusals, settings_of, wait_option
from lamina_server.domain.errors import ServerError
from lamina_server.settings import Settings

if TYPE_CHECKING:
    from lamina_server.restore.restore import Restored
    from lamina_server.store.verify.walk import Verification


@click.command()
@database_option
@wait_option
def migrate(**options: Any) -> None:
    """Make or upgrade a database's tables, and end.

    `serve` does the same when it starts. Use this to do it beforehand, or as another account.
    """
    settings = settings_of(options)
    with refusals():
        open_database(settings).close()
        click.echo(f"lamina-server: the tables are up to date in {describe_database(settings)}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@database_option
def backup(file: Path, **options: Any) -> None:
    """Copy a SQLite database into a new FILE, also while a server is using it.

    FILE then is a database of its own, with all that was committed when the command began.
    """
    # Here, as in verify: what a command needs for itself must not make every server's start longer.
    from lamina_server.store.sqlite.backup import back_up  # noqa: PLC0415

    settings = settings_of(options)
    with refusals():
        with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def show(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            made = back_up(settings.database, file, show)
        click.echo(f"lamina-server: {made.path}, {made.size_bytes} bytes, configs: {made.configs}")


@click.command()
@database_option
def verify(**options: Any) -> None:
    """Check every row of a database against its digests and hashes, and end.

    Names the first broken version of each config, and ends with 1 if there is one. A server may be using the database
    meanwhile; nothing in it is changed.
    """
    from lamina_server.store.verify.inspection import inspecting  # noqa: PLC0415
    from lamina_server.store.verify.walk import Verification  # noqa: PLC0415

    settings = settings_of(options)
    with refusals(), inspecting(settings.database) as inspection:
        verification = Verification(inspection)
        broken = _report(verification)
        counts = f"{verification.configs} configs, {verification.versions} versions and {verification.values} values"
    where = describe_database(settings)
    click.echo(f"lamina-server: {where} is broken" if broken else f"lamina-server: {counts} are intact in {where}")
    sys.exit(FAILED if broken else 0)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@database_option
def restore(file: Path, **options: Any) -> None:
    """Write the config in a bundle FILE into a database, with its versions, authors, times and hashes.

    `lamina export CONFIG --history FILE` makes bundles. A file that is not as it was exported is refused, and so is one
    whose config is in the database already with a different history. Of the same history only what is missing is added,
    and all of it becomes visible at once. A SQLite database must not be in use by a server; on PostgreSQL no server can
    commit meanwhile.
    """
    from lamina_server.restore.replay import BrokenBundleError  # noqa: PLC0415
    from lamina_server.restore.restore import RestoreRefusedError  # noqa: PLC0415

    settings = settings_of(options)
    with refusals():
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
    from lamina_server.restore.restore import restore as restore_bundle  # noqa: PLC0415

    gc.disable()  # as in _report; this process ends after it
    bar = click.progressbar(
        length=file.stat().st_size, label="restoring", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
    with bar, file.open("rb") as opened:
        return restore_bundle(opened, settings, bar.update)


def _report(verification: "Verification") -> bool:
    """Print each finding at once, beside a progress bar for people. Return whether anything is broken."""
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
