"""The verbs about who may do what: access grant, revoke, list, check and log. Grants are keys of `_lamina/access`."""

from collections.abc import Mapping
from typing import Any

import click

import lamina
from lamina.cli import access_map
from lamina.cli.access_map import ACCESS_CONFIG, ROLES
from lamina.cli.arguments.groups import VerbGroup
from lamina.cli.arguments.options import Count, Verb, chosen
from lamina.cli.candidates import CONFIG, CONFIG_AT_POINT, NEW_NAME, SUBJECT
from lamina.cli.errors import NOT_FOUND, REFUSED, Refusal, tell
from lamina.cli.output.differences import print_changes
from lamina.cli.output.json_records import document, json_line, shape, shapes
from lamina.cli.output.screen import AUTHOR, KEY, NEW, QUIET, VERSION, Row, Screen, cell, first_line, screen
from lamina.cli.session import access_demanded, connected, read_access
from lamina.cli.writing.writer import Changes, Write, edit, print_written, writer


@click.group("access", cls=VerbGroup)
def access_verb() -> None:
    """Say who may do what. It is kept in the config `_lamina/access`, with its history.

    A PRINCIPAL is token:NAME, cert:NAME of a client certificate, or oidc:PERSON; group:NAME is a group. A PATTERN is a
    config's name, in which * stands for any text within a segment, and ** for any text.
    """


@access_verb.command("grant", cls=Verb, short_help="give a role on the configs of a pattern")
@click.argument("principal", type=SUBJECT)
@click.argument("role", type=click.Choice(ROLES))
@click.argument("pattern", type=CONFIG_AT_POINT)
@click.option("--reveal", is_flag=True, help="Let it see secrets, too.")
@writer()
def grant_verb(write: Write, principal: str, role: str, pattern: str, *, reveal: bool) -> None:
    """Give a principal or a group a role on the configs of a pattern. It replaces an earlier grant on that pattern.

    A reader reads and watches; a writer commits, reverts and forks into, too; an admin also says who may do what.
    """
    warning = ""

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        nonlocal warning
        warning = _warning_of_nobody(write, head, principal)
        cfg[access_map.grant_key(principal, pattern)] = access_map.grant_value(role, reveal=reveal)

    def report(write: Write, version: lamina.Version, changes: Changes) -> None:
        print_written(write, version, changes)
        if warning:
            tell(warning)

    with connected(write.ctx) as client:
        edit(write.creating(), client, ACCESS_CONFIG, stage, report)


@access_verb.command("revoke", cls=Verb, short_help="take a grant back")
@click.argument("principal", type=SUBJECT)
@click.argument("pattern", type=CONFIG_AT_POINT)
@writer()
def revoke_verb(write: Write, principal: str, pattern: str) -> None:
    """Take back the grant to a principal or a group on a pattern. Its open watches end at once."""

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        key = access_map.grant_key(principal, pattern)
        if key not in head:
            raise Refusal(f"nothing was written: {_no_such_grant(head, principal, pattern)}", NOT_FOUND)
        del cfg[key]

    with connected(write.ctx) as client, access_demanded():
        edit(write, client, ACCESS_CONFIG, stage)


@access_verb.command("list", cls=Verb, short_help="the grants")
@click.argument("principal", type=SUBJECT, required=False)
@click.option("--on", "config", type=CONFIG, metavar="CONFIG", help="Only the grants that are about this config.")
@click.pass_context
def list_verb(ctx: click.Context, principal: str | None, config: str | None) -> None:
    """List the grants; with PRINCIPAL, those to it and to the groups that list it."""
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        access = read_access(client)
    found = access_map.grants_in(access) if principal is None else access_map.grants_to(access, principal)
    grants = [grant for grant in found if config is None or access_map.matches(grant.pattern, config)]
    if output == "json":
        print(document([shape(grant) for grant in grants]))
        return
    with screen() as out:
        _print_grants(out, grants)


@access_verb.command("check", cls=Verb, short_help="what a principal may do with a config")
@click.argument("principal", type=SUBJECT)
@click.argument("config", type=CONFIG)
@click.option(
    "--group",
    "groups",
    type=NEW_NAME,
    metavar="GROUP",
    multiple=True,
    help="A group that its provider would claim for it.",
)
@click.pass_context
def check_verb(ctx: click.Context, principal: str, config: str, groups: tuple[str, ...]) -> None:
    """Say what a principal may do with a config, and by which grants. Exits with 1 if it may do nothing."""
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        found = client.check_access(principal, config, groups=groups)
    if output == "json":
        print(document({**shape(found), "grants": [shape(grant) for grant in found.grants]}))
    else:
        with screen() as out:
            out.line(_summary(principal, config, found))
            _print_grants(out, found.grants)
    if found.role is None:
        ctx.exit(REFUSED)


@access_verb.command("log", cls=Verb, short_help="who changed the access, and what")
@click.option("-n", "--limit", type=Count(), metavar="N", help="At most so many versions [all].")
@click.pass_context
def log_verb(ctx: click.Context, limit: int | None) -> None:
    """List who changed the access, newest first: when, by whom, why, and what.

    With -o json, one object a line: the version as in `log`, with its "changes" by key.
    """
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        cfg = read_access(client)
        if output == "json":
            for version in cfg.log(limit=limit):
                print(json_line({**shape(version), "changes": shapes(cfg.diff(version.parent, version))}))
            return
        with screen(paged=True) as out:
            for version in cfg.log(limit=limit):
                _print_version(out, version, cfg.diff(version.parent, version))


def _print_version(out: Screen, version: lamina.Version, changes: Mapping[str, lamina.Change]) -> None:
    head = [cell(f"version {version.number}", VERSION), out.time(version.time), cell(version.author, AUTHOR)]
    out.columns([[*head, first_line(version.message)]], clip=True)
    print_changes(out, changes)


def _print_grants(out: Screen, grants: Any) -> None:
    out.columns(map(_row, grants), ("PRINCIPAL", "ROLE", "PATTERN", "SECRETS"))


def _row(grant: lamina.Grant) -> Row:
    revealed = cell("reveal" if grant.reveal else "", QUIET)
    return [cell(grant.subject, KEY), cell(grant.role, NEW), cell(grant.pattern), revealed]


def _summary(principal: str, config: str, found: lamina.AccessCheck) -> str:
    if found.role is None:
        return f"{principal} may do nothing with {config}"
    return f"{principal} is {found.role} of {config}, and {'may' if found.reveal else 'may not'} reveal its secrets"


def _warning_of_nobody(write: Write, access: Mapping[str, Any], principal: str) -> str:
    """Return a warning if the grant is to a token that does not exist: often the name is mistyped."""
    kind, _, name = principal.partition(":")
    if kind != "token" or any(token.name == name for token in access_map.tokens_in(access)):
        return ""
    return f"there is no token {name} yet: {chosen(write.ctx).command_line('token create', [name])} makes it"


def _no_such_grant(access: Mapping[str, Any], principal: str, pattern: str) -> str:
    patterns = [grant.pattern for grant in access_map.grants_in(access) if grant.subject == principal]
    has = f"it has grants on {', '.join(patterns)}" if patterns else "it has no grant at all"
    groups = access_map.groups_of(access, principal)
    more = f"; what it may do through {', '.join(groups)} is granted to the group" if groups else ""
    return f"{principal} has no grant on {pattern}: {has}{more}"
