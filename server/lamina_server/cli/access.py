"""The commands about who has access to a server: `access reset`."""

import sys
from typing import Any

import click

from lamina_server.access import token_file
from lamina_server.app import describe_database, has_database, map_limits, open_database
from lamina_server.cli.options import BAD_USAGE, FAILED, database_option, refusals, wait_option
from lamina_server.cli.settings import settings_of
from lamina_server.cli.streams import say
from lamina_server.commits.admin import reset as make_admin
from lamina_server.domain.access import ACCESS_CONFIG, PRINCIPAL
from lamina_server.domain.errors import InvalidError, ServerError
from lamina_server.domain.names import holds_token


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
@click.option(
    "--admin", metavar="PRINCIPAL", help="Make no token, but this principal an admin: cert:NAME, or oidc:NAME."
)
def reset(admin: str | None, **options: Any) -> None:
    """Make a new admin, with a new token in a new file.

    Use this if no admin has access any more, or before the first start of a server that knows its callers by
    certificates (--admin). The new admin may do everything. A new token replaces all tokens with the name "admin"; all
    other tokens and grants stay. Keys of the config _lamina/access that cannot be read are left out, and are printed.
    All this is one new version of that config, so nothing is lost. A SQLite database must not be in use by a server. On
    PostgreSQL, servers may go on: they follow within seconds.
    """
    if admin is not None and options["bootstrap_token_file"]:
        raise click.UsageError("--admin makes no token, so it needs no --token-file")
    if admin is not None and (not PRINCIPAL.fullmatch(admin) or holds_token(admin)):
        # What was typed is not repeated: it may be a token, or a database's address with its password.
        text = "--admin takes a principal: cert:NAME, such as cert:spiffe://corp.example/ops, or oidc:NAME"
        click.echo(f"lamina-server: {text}; nothing was written", err=True)
        sys.exit(BAD_USAGE)
    settings = settings_of(options)
    with refusals():
        path = None if admin is not None else token_file.path_of(settings)
        is_new = not has_database(settings)
        store = open_database(settings)
        try:
            made = make_admin(store, path=path, principal=admin or "", limits=map_limits(settings))
        except InvalidError as error:
            click.echo(f"lamina-server: {error}; nothing was written", err=True)
            sys.exit(BAD_USAGE)
        except ServerError as error:  # if the commit was not confirmed, the file is there
            click.echo(f"lamina-server: {error}", err=True)
            sys.exit(FAILED)
        finally:
            store.close()
        for key in made.wrong:
            say(f"lamina-server: left out {key}, which could not be read")
        what = f"the token of the new admin is in {path}" if path else f"{admin} is an admin"
        say(f"lamina-server: {what}; version {made.version} of {ACCESS_CONFIG}, in {describe_database(settings)}")
        if is_new:
            say("lamina-server: there was no such database, so this made a new one")
