"""The verb that says who the caller is: whoami."""

import shlex

import click

import lamina
from lamina.cli.arguments.options import Verb, chosen
from lamina.cli.output.json_records import document, shape
from lamina.cli.output.screen import KEY, NEW, QUIET, Row, cell, screen
from lamina.cli.session import connected, credentials_of


@click.command("whoami", cls=Verb)
@click.pass_context
def whoami_verb(ctx: click.Context) -> None:
    """Show who you are for the server: your principal, your groups, and what you may do."""
    output = chosen(ctx).output(("text", "json"))
    credentials = credentials_of(ctx, chosen(ctx).values.get("target"))
    with connected(ctx) as client:
        me = client.whoami()
    if output == "json":
        print(document({**shape(me), "grants": [shape(grant) for grant in me.grants]}))
        return
    with screen() as out:
        if me.open:
            out.line("this server is open: everybody may do everything, under any name")
            for credential in credentials:
                out.line("your ", credential, " was not checked, so it may be a wrong one")
            return
        out.line(cell(me.principal, KEY), cell(f"  in {', '.join(me.groups)}" if me.groups else "", QUIET))
        if "certificate" in credentials and not me.principal.startswith("cert:"):
            out.line("your certificate was not asked for: this server does not know its callers by certificates")
        if not me.grants:
            grant = shlex.join(["lamina", "access", "grant", me.principal])
            out.line("it has no grants: an admin gives them with ", grant, " ROLE PATTERN")
        out.columns((_row(me, grant) for grant in me.grants), ("ROLE", "PATTERN", "SECRETS", "THROUGH"))


def _row(me: lamina.WhoAmI, grant: lamina.Grant) -> Row:
    through = "" if grant.subject == me.principal else grant.subject
    return [cell(grant.role, NEW), cell(grant.pattern), cell("reveal" if grant.reveal else ""), cell(through, QUIET)]
