"""Candidates for completion: configs, keys and assignments, read from the server.

Completion has a part of a second, and prints nothing if anything fails. It waits for no login to be renewed.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

import lamina
from lamina import _environment
from lamina.cli import access_map
from lamina.cli.arguments.assignments import escape_key
from lamina.cli.arguments.options import chosen
from lamina.cli.session import connected

_TIMEOUT_SECONDS: Final = 0.8
"""After a longer wait the shell would seem to hang. A --timeout in the completed line replaces it."""
_OFFERED: Final = 200
"""More than anybody reads; a shell asks before it lists this many."""


class _Asked(click.ParamType[str]):
    """An argument for which the server has candidates."""

    name = "text"

    def __init__(self, candidates: Callable[[lamina.Client, click.Context, str], Iterable[str]]) -> None:
        self._candidates = candidates

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Ask the server; return no candidates if anything fails."""
        del param
        try:
            limit: dict[str, Any] = {} if "timeout" in chosen(ctx).typed else {"timeout": _TIMEOUT_SECONDS}
            with connected(ctx, quiet=True, renews=False, **limit) as client:
                offered = list(islice(self._candidates(client, ctx, incomplete), _OFFERED))
        except Exception:  # noqa: BLE001 - a traceback in the middle of a command line helps nobody
            return []
        return [CompletionItem(candidate) for candidate in offered]


class _Name(click.ParamType[str]):
    """A name, which the server keeps and shows. A token that stands in its place is neither sent nor repeated."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check what was typed."""
        if _environment.holds_token(value):
            self.fail(_environment.NOT_A_NAME, param, ctx)
        return str(super().convert(value, param, ctx))


class _Named(_Name, _Asked):
    """A name for which the server has candidates."""


class _Config(_Named):
    """A config's name, in which there is no @: that is how `diff` names a version."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check what was typed."""
        name = super().convert(value, param, ctx)
        config, at, point = name.partition("@")
        if at:
            takes_point = ctx is not None and any("--at" in each.opts for each in ctx.command.params)
            hint = f": for another version, write {config} --at {point}" if takes_point and point else ""
            self.fail(f"{name} is not the name of a config{hint}", param, ctx)
        return name


class _Subject(_Named):
    """A principal or a group."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check what was typed."""
        name = super().convert(value, param, ctx)
        if not access_map.SUBJECT.fullmatch(name):
            self.fail(f"{name} is no principal: it is {access_map.SUBJECTS}", param, ctx)
        return name


def _subjects(client: lamina.Client, _ctx: click.Context, incomplete: str) -> Iterable[str]:
    found = access_map.subjects_in(client.config(access_map.ACCESS_CONFIG))
    return (subject for subject in found if subject.startswith(incomplete))


def _tokens(client: lamina.Client, _ctx: click.Context, incomplete: str) -> Iterable[str]:
    names = {token.name for token in access_map.tokens_in(client.config(access_map.ACCESS_CONFIG))}
    return sorted(name for name in names if name.startswith(incomplete))


def _configs(client: lamina.Client, _ctx: click.Context, incomplete: str) -> Iterable[str]:
    return (info.name for info in client.configs(incomplete))


def _keys(client: lamina.Client, ctx: click.Context, incomplete: str) -> Iterable[str]:
    given = ctx.params.get("keys") or ()
    return (key for key in client.config(_config(ctx)) if key.startswith(incomplete) and key not in given)


def _assignments(client: lamina.Client, ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Offer each key with the separator for its type; no secrets, which `--secret` sets."""
    for key, value in client.config(_config(ctx)).items():
        start = escape_key(key) + ("=" if isinstance(value, str) else ":=")
        if start.startswith(incomplete) and not isinstance(value, lamina.Secret):
            yield start


def _config(ctx: click.Context) -> str:
    config: Any = ctx.params["config"]
    return str(config)


CONFIG: Final = _Config(_configs)
CONFIG_AT_POINT: Final = _Named(_configs)
KEY: Final = _Asked(_keys)
SUBJECT: Final = _Subject(_subjects)
TOKEN: Final = _Named(_tokens)
NEW_NAME: Final = _Name()
ASSIGNMENT: Final = _Asked(_assignments)
COMMAND: Final = click.Path(readable=False)
"""The words of another program's command line, as they are; files can be completed."""
