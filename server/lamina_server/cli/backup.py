"""`lamina-server backup`: a copy of a SQLite database, once or again and again."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from lamina_server.cli.options import File, database_option, refusals
from lamina_server.cli.reports import report
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.store.address import url_of_file
from lamina_server.store.contract import UnusableStoreError


@click.command()
@click.argument("file", type=File(path_type=Path), required=False)
@database_option
@click.option(
    "--folder",
    type=File(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="In the place of FILE: a new file in this folder, named by the time.",
)
@click.option("--keep", type=click.IntRange(1), metavar="N", help="With --folder: remove all backups but the newest N.")
@click.option("--no-verify", is_flag=True, help="Do not check every row of the copy, as `verify` does.")
def backup(*, file: Path | None, folder: Path | None, keep: int | None, no_verify: bool, **options: Any) -> None:
    """Copy a SQLite database into a new FILE.

    A server may use the database at the same time. FILE is then a complete database, with all versions that were
    committed before the command began. It has its name only if every row of the copy is intact. Older backups are
    removed after that.
    """
    # Imported here, as in verify: the modules of one command must not slow down every server's start.
    from lamina_server.store.sqlite.backup import back_up  # noqa: PLC0415
    from lamina_server.store.sqlite.backup_folder import BackupFolder  # noqa: PLC0415

    if (file is None) == (folder is None):
        raise click.UsageError("name either a FILE or a --folder")
    if keep is not None and folder is None:
        raise click.UsageError("--keep goes with --folder")
    settings = settings_of(options)
    with refusals():
        backups = BackupFolder(folder, settings.database) if folder else None
        target = backups.next(datetime.now(UTC)) if backups else file
        assert target is not None
        with click.progressbar(length=1, label="copying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

            def show(done: int, total: int) -> None:
                bar.length = total
                bar.update(done - bar.pos)

            made = back_up(settings.database, target, show, check=_skip if no_verify else _verify)
        say(f"lamina-server: {made.path}, {made.size_bytes} bytes, configs: {made.configs}")
        for path in backups.thin_out(keep, made.path) if backups and keep else ():
            say(f"lamina-server: removed {path}")


def _skip(_: Path) -> None:
    pass


def _verify(copy: Path) -> None:
    from lamina_server.store.verify.inspection import inspecting  # noqa: PLC0415
    from lamina_server.store.verify.walk import Verification  # noqa: PLC0415

    with inspecting(url_of_file(str(copy.absolute()))) as inspection:
        if report(Verification(inspection)):
            text = (
                "the database is broken, and was not copied: `lamina-server verify` says where; --no-verify copies it"
            )
            raise UnusableStoreError(text)
