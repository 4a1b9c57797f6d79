"""The commands that maintain a database: migrate, verify and restore. Each imports what only it needs."""

import gc
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamina_server.app import describe_database, open_database
from lamina_server.cli.options import (
    BAD_USAGE,
    FAILED,
    File,
    database_option,
    refusals,
    secret_key_options,
    wait_option,
)
from lamina_server.cli.reports import report, upgraded
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.domain.errors import ServerError
from lamina_server.settings import Settings

if TYPE_CHECKING:
    from lamina_server.restore.restore import Restored


@click.command()
@database_option
@wait_option
def migrate(**options: Any) -> None:
    """Make or upgrade a database's tables, and end.

    `serve` makes the tables of a new database, too. It upgrades those of a SQLite file, after a backup beside it. It
    does not upgrade those in PostgreSQL, where servers of the release before may be using them: they can go on while
    this command runs, and after it.
    """
    settings = settings_of(options)
    with refusals():
        with closing(open_database(settings, upgrades_shared=True)) as store:
            done = upgraded(store.upgrade)
        say(f"lamina-server: the tables are up to date in {describe_database(settings)}{done}")


@click.command()
@database_option
def verify(**options: Any) -> None:
    """Check every row of a database.

    This compares all rows with their digests and hashes. It names the first broken version of each config, and exits
    with 1 if there is one. A server may use the database at the same time. The command changes nothing.
    """
    from lamina_server.store.verify.inspection import inspecting  # noqa: PLC0415
    from lamina_server.store.verify.walk import Verification  # noqa: PLC0415

    settings = settings_of(options)
    with refusals(), inspecting(settings.database) as inspection:
        verification = Verification(inspection)
        broken = report(verification)
        counts = f"{verification.configs} configs, {verification.versions} versions and {verification.values} values"
    where = describe_database(settings)
    say(f"lamina-server: {where} is broken" if broken else f"lamina-server: {counts} are intact in {where}")
    sys.exit(FAILED if broken else 0)


@click.command()
@click.argument("file", type=File(exists=True, dir_okay=False, path_type=Path))
@database_option
@secret_key_options
def restore(file: Path, **options: Any) -> None:
    """Write the config in a bundle FILE into a database.

    The config keeps its versions, authors, times and hashes. `lamina export CONFIG --history FILE` makes bundles. A
    file that was changed or damaged is refused. If the config exists already with another past, the file is refused
    too. If it exists with a part of the same past, the rest is added. All new versions become visible at once. A SQLite
    database must not be in use by a server. On PostgreSQL, no server can commit during the restore. A file with secrets
    needs the outer key of the server that it was exported from.
    """
    from lamina_server.restore.replay import BrokenBundleError  # noqa: PLC0415
    from lamina_server.restore.restore import RestoreRefusedError  # noqa: PLC0415
    from lamina_server.restore.secret_keys import SecretKeysRefusedError  # noqa: PLC0415

    settings = settings_of(options)
    with refusals():
        try:
            restored = _restore(file, settings)
        except BrokenBundleError as error:
            click.echo(f"lamina-server: {str(file)!r}: {error}; nothing was written", err=True)
            sys.exit(FAILED)
        except ServerError as error:  # if a commit was not confirmed, running this again shows its outcome
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(FAILED)
        except SecretKeysRefusedError as error:
            click.echo(f"lamina-server: {str(file)!r}: {error}; nothing was written", err=True)
            sys.exit(BAD_USAGE)
        except RestoreRefusedError as error:
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(BAD_USAGE)
    head = restored.head
    what = f"{head.config} has versions 1 to {head.number}, of which {restored.added} were written"
    say(f"lamina-server: {what}, in {describe_database(settings)}, hash {head.hash.hex()}")


def _restore(file: Path, settings: Settings) -> "Restored":
    from lamina_server.restore.restore import restore as restore_bundle  # noqa: PLC0415

    gc.disable()  # as in `report`; the process ends after this
    bar = click.progressbar(
        length=file.stat().st_size, label="restoring", file=sys.stderr, hidden=not sys.stderr.isatty()
    )
    with bar, file.open("rb") as opened:
        return restore_bundle(opened, settings, bar.update)
