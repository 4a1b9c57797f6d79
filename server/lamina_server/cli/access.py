"""The commands about who has access to a server: `access reset`."""

import sys
from typing import Any

import click

from lamina_server.access import token_file
from lamina_server.app import describe_database, map_limits, open_database
from lamina_server.cli.options import FAILED, database_option, refusals, wait_option
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.commits import admin
from lamina_server.domain.access import ACCESS_CONFIG
from lamina_server.domain.errors import ServerError


@click.group()
def access() -> None:
    """Help who has lost all access to a server."""


@access.command()
@database_option
@wait_option
@click.option(
    "--token-file",
    "bootstrap_token_file",
    metavar="FILE",
    help="The new file for the token. [default: DATABASE.admin-token, or lamina.admin-token in this folder]",
)
def reset(**options: Any) -> None:
    """Make a new admin, with a new token in a new file.

    Use this if no admin has a token any more. The new token may do everything. It replaces all tokens with the name
    "admin"; all other tokens and grants stay. Keys of the config _lamina/access that cannot be read are left out, and
    are printed. All this is one new version of that config, so nothing is lost. A SQLite database must not be in use by
    a server. On PostgreSQL, servers may go on: they follow within seconds.
    """
    settings = settings_of(options)
    with refusals():
        path = token_file.path_of(settings)
        store = open_database(settings)
        try:
            made = admin.reset(store, path, limits=map_limits(settings))
        except ServerError as error:  # if the commit was not confirmed, the file is there
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(FAILED)
        finally:
            store.close()
        for key in made.wrong:
            say(f"lamina-server: left out {key}, which could not be read")
        where = f"version {made.version} of {ACCESS_CONFIG}, in {describe_database(settings)}"
        say(f"lamina-server: the token of the new admin is in {path}; {where}")
