"""The verbs about tokens: token create, list and revoke. A token is a key of `_lamina/access`, without its secret."""

import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click

import lamina
from lamina.bundle import files
from lamina.cli import access_map
from lamina.cli.access_map import ACCESS_CONFIG, ROLES, NewToken, Token
from lamina.cli.arguments.groups import VerbGroup
from lamina.cli.arguments.options import EXPIRY, NamedFile, Verb, chosen
from lamina.cli.arguments.spelling import did_you_mean
from lamina.cli.candidates import CONFIG_AT_POINT, NEW_NAME, TOKEN
from lamina.cli.errors import NOT_FOUND, Refusal, tell
from lamina.cli.output.json_records import document, shape
from lamina.cli.output.screen import AUTHOR, KEY, OLD, QUIET, Row, Screen, cell, counted, error_screen, screen
from lamina.cli.session import access_demanded, connected, read_access
from lamina.cli.writing.writer import Changes, Write, edit, lines_of_written, print_written, writer


@click.group("token", cls=VerbGroup)
def token_verb() -> None:
    """Make, list and end tokens. A caller with the token NAME is the principal token:NAME."""


@token_verb.command("create", cls=Verb, short_help="make a token, and print it once")
@click.argument("name", type=NEW_NAME)
@click.option("--expires", type=EXPIRY, metavar="WHEN", help="An age from now (90d) or a time [never].")
@click.option(
    "--grant",
    "grants",
    type=(click.Choice(ROLES), CONFIG_AT_POINT),
    metavar="ROLE PATTERN",
    multiple=True,
    help="Give it a role at once; may be repeated.",
)
@click.option("--reveal", is_flag=True, help="With --grant: let it see secrets, too.")
@click.option("--file", type=NamedFile(), metavar="FILE", help="Write it into a file that only you can read.")
@writer(based=False)
def create_verb(
    write: Write,
    name: str,
    expires: datetime | None,
    grants: tuple[tuple[str, str], ...],
    *,
    reveal: bool,
    file: str | None,
) -> None:
    """Make a token, and print it. It is printed once: the server keeps only its hash.

    Standard output has the token alone, for a secret store; --file keeps it from others of this machine. Several tokens
    may have one NAME, so that a new one can take the place of an old one.
    """
    if not access_map.TOKEN_NAME.fullmatch(name):
        raise click.UsageError(f"{name} is no token's name: letters, digits, '.', '_' and '-', at most 100")
    if reveal and not grants:
        raise click.UsageError("--reveal goes with --grant")
    made, text = access_map.make_token(name, expires)

    had: list[lamina.Grant] = []

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        had[:] = access_map.grants_to(head, made.token.principal)
        cfg[made.token.key] = made.value
        for role, pattern in grants:
            cfg[access_map.grant_key(made.token.principal, pattern)] = access_map.grant_value(role, reveal=reveal)

    def report(write: Write, version: lamina.Version, changes: Changes) -> None:
        if place:
            place.write(f"{text}\n".encode())
        _print_new(write, version, changes, made, text=text, file=file)
        if version.author_verified and version.author.startswith("cert:"):
            tell("this server knows its callers by certificates: it takes no token")
        if had:
            roles = ", ".join(f"{grant.role} on {grant.pattern}" for grant in had)
            tell(f"{made.token.principal} has grants from before: {roles}")

    file = None if file == "-" else file
    with _private(None if write.dry_run else file) as place, connected(write.ctx) as client:
        edit(write.creating(), client, ACCESS_CONFIG, stage, report)


@token_verb.command("list", cls=Verb, short_help="the tokens")
@click.pass_context
def list_verb(ctx: click.Context) -> None:
    """List the tokens: name, id, end, and who made them when. Secrets are kept nowhere."""
    output = chosen(ctx).output(("text", "json"))
    with connected(ctx) as client:
        access = read_access(client)
        tokens = sorted(access_map.tokens_in(access), key=lambda token: (token.name, token.id))
        made = access.blame() if tokens else {}
        if output == "json":
            print(document([_shape(token, made[token.key]) for token in tokens]))
            return
        with screen() as out:
            rows = (_row(out, token, made[token.key]) for token in tokens)
            out.columns(rows, ("NAME", "ID", "EXPIRES", "MADE", "BY"))


@token_verb.command("revoke", cls=Verb, short_help="end a token")
@click.argument("token", metavar="NAME|ID", type=TOKEN)
@writer()
def revoke_verb(write: Write, token: str) -> None:
    """End the token with this ID, or all tokens with this NAME. Their open watches end at once.

    Grants to token:NAME stay. The printed line makes the tokens valid again.
    """
    ended: list[Token] = []
    stays: list[str] = []

    def stage(cfg: lamina.Config, head: lamina.Snapshot) -> None:
        ended[:] = _named(head, token)
        stays[:] = _what_stays(write, head, ended)  # now, because afterwards the caller's own token may be among them
        for each in ended:
            del cfg[each.key]

    def report(write: Write, version: lamina.Version, changes: Changes) -> None:
        tell(f"ended {counted(len(ended), 'token')}: {', '.join(f'{each.name} ({each.id})' for each in ended)}")
        print_written(write, version, changes)
        for text in stays:
            tell(text)

    with connected(write.ctx) as client, access_demanded():
        edit(write, client, ACCESS_CONFIG, stage, report)


@contextmanager
def _private(path: str | None) -> Iterator[IO[bytes] | None]:
    """Open the file for a token, or none; Refusal if others could read it there."""
    if path is None:
        yield None
        return
    with suppress(FileNotFoundError):
        mode = Path(path).stat().st_mode
        if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise Refusal(f"nothing was written: others than you may open {path}: chmod 600 it, or name a new file")
    with files.written(path, private=True) as file:
        yield file


def _print_new(
    write: Write, version: lamina.Version, changes: Changes, made: NewToken, *, text: str, file: str | None
) -> None:
    """Print the token on stdout if it is in no file, and all else on stderr; as JSON, all in one object."""
    if chosen(write.ctx).output(("text", "json")) == "json":
        place = {"file": file} if file else {"token": text}
        print(document({**place, **shape(made.token), "version": shape(version)}))
        return
    if not file:
        print(text, flush=True)
    lines_of_written(error_screen(), write, version, changes)
    where = f"in {file}, and is kept nowhere else" if file else "printed above, once: it is kept nowhere"
    tell(f"the token of {made.token.principal} is {where}. `lamina token list` has its id")


def _shape(token: Token, made: lamina.Version) -> dict[str, Any]:
    return {**shape(token), "version": made.number, "author": made.author, "time": shape(made)["time"]}


def _row(out: Screen, token: Token, made: lamina.Version) -> Row:
    expires = cell("never", QUIET) if token.expires is None else _end(out, token, token.expires)
    return [cell(token.name, KEY), cell(token.id, QUIET), expires, out.time(made.time), cell(made.author, AUTHOR)]


def _end(out: Screen, token: Token, expires: datetime) -> Any:
    text = expires.astimezone().strftime("%Y-%m-%d %H:%M") if out.live else out.time(expires).plain
    return cell(f"{text} (expired)", OLD) if token.has_expired(datetime.now(UTC)) else cell(text)


def _named(access: Mapping[str, Any], name: str) -> list[Token]:
    """Return the token with this id, or those with this name."""
    tokens = list(access_map.tokens_in(access))
    by_id, by_name = [each for each in tokens if each.id == name], [each for each in tokens if each.name == name]
    if by_id and by_name and by_id != by_name:
        ids = ", ".join(each.id for each in by_name)
        raise Refusal(f"nothing was written: {name} is an id, and the name of {ids}: revoke these by their ids")
    if not by_id and not by_name:
        known = did_you_mean(name, sorted({each.name for each in tokens}))
        raise Refusal(f"nothing was written: there is no token {name}{known}", NOT_FOUND)
    return by_id or by_name


def _what_stays(write: Write, access: Mapping[str, Any], ended: Collection[Token]) -> Iterator[str]:
    """Yield the grants that a new token with the name of one of these would have, if none of that name is left."""
    left = {token.name for token in access_map.tokens_in(access) if token not in ended}
    for name in sorted({token.name for token in ended} - left):
        for grant in access_map.grants_in(access):
            if grant.subject == f"token:{name}":
                revoke = chosen(write.ctx).command_line("access revoke", [grant.subject, grant.pattern])
                yield f"{grant.subject} is still {grant.role} of {grant.pattern}: {revoke}"
