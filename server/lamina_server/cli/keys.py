"""`lamina-server keys`: the keys of secrets."""

from contextlib import closing
from typing import Any

import click

from lamina_server.app import describe_database, has_database, open_database
from lamina_server.cli.options import database_option, refusals, secret_key_options, wait_option
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.secrets.outer import outer_key
from lamina_server.store.contract import UnusableStoreError


@click.group()
def keys() -> None:
    """Manage the keys that encrypt secrets."""


@keys.command()
@database_option
@wait_option
@secret_key_options
@click.option("--new-secret-key-file", metavar="FILE", help="File with the next outer key, in base64, with mode 0600.")
@click.option("--new-secret-key-command", metavar="COMMAND", help="In its place, the next command.")
def rotate(**options: Any) -> None:
    """Make a new data key, which encrypts all secrets from now on.

    With a new outer key, encrypt all data keys by it, too. Then start the servers again with the new one, and keep the
    old one with the backups and bundles that were made before. Older versions stay readable. A SQLite database must not
    be in use by a server.
    """
    from lamina_server.secrets.rotation import rotate as rotate_keys  # noqa: PLC0415 - no other command needs it

    settings = settings_of(options)
    seconds = settings.secret_key_command_seconds
    with refusals():
        outer = outer_key(settings.secret_key_file, settings.secret_key_command, seconds)
        new = outer_key(settings.new_secret_key_file, settings.new_secret_key_command, seconds, name="new_secret_key")
        if not has_database(settings):
            raise UnusableStoreError(f"there is no database {describe_database(settings)!r}")
        with closing(open_database(settings)) as store:
            rotated = rotate_keys(store, outer, new)
        say(f"lamina-server: made a data key, which encrypts new secrets, in {describe_database(settings)}")
        if new is not None:
            what = f"all {rotated.older + 1} data keys" if rotated.older else "it"
            say(f"lamina-server: the new outer key encrypts {what}: start the servers again with the new outer key")
            say("lamina-server: backups and bundles that were made before need the old outer key: keep it with them")
