"""The verbs that sign in at an identity provider, and out: login and logout."""

from datetime import UTC, datetime

import click

from lamina.cli.arguments.options import Verb, chosen
from lamina.cli.errors import NOT_FOUND, Refusal, tell
from lamina.login import addresses, begin, forget, keep


@click.command("login", cls=Verb, outputs=("text",))
@click.argument("issuer")
@click.option("--client-id", metavar="ID", default="lamina", help="The provider's name for this command [lamina].")
@click.option("--audience", metavar="TEXT", help="The audience of the token, for providers that take one.")
@click.option("--scope", metavar="TEXT", help="What to ask for [openid, and offline_access if there is that].")
@click.pass_context
def login_verb(ctx: click.Context, issuer: str, client_id: str, audience: str | None, scope: str | None) -> None:
    """Sign in at an identity provider, in a browser on any machine, for the servers of --target.

    ISSUER is the provider's URL, such as https://sso.example.com/realms/corp. The login is kept in a file that only you
    can read, and is renewed by itself. It is used for these servers alone, if there is no other token.
    """
    login = begin(issuer, client_id=client_id, audience=audience, scope=scope)
    tell(f"open {login.complete_url or login.url} in a browser, and confirm the code {login.code}")
    done = login.wait()
    kept = keep(done, chosen(ctx).values.get("target"))
    ends = datetime.fromtimestamp(done.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    renewed = "and is renewed by itself" if done.refresh_token else "and the provider gives nothing to renew it with"
    tell(f"logged in for {', '.join(kept.targets)}: the token ends {ends}, {renewed}")


@click.command("logout", cls=Verb, outputs=("text",))
@click.pass_context
def logout_verb(ctx: click.Context) -> None:
    """Forget the login for the servers of --target. The provider is not told: its token is valid until it ends."""
    target = chosen(ctx).values.get("target")
    ended = forget(target)
    if not ended:
        raise Refusal(f"no login is kept for {','.join(addresses(target))}", NOT_FOUND)
    for login in ended:
        tell(f"forgot the login at {login.issuer} for {', '.join(login.targets)}")
