"""The verb that shows the servers' state: status."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import click

import lamina
from lamina import _environment
from lamina.cli.arguments.options import Verb, chosen
from lamina.cli.errors import REFUSED, UNAVAILABLE, explain
from lamina.cli.output.json_records import document
from lamina.cli.output.screen import KEY, NEW, OLD, QUIET, Row, cell, screen
from lamina.cli.session import connected

_TIMEOUT_SECONDS: Final = 2.0
"""An address without an answer for this long is down, unless there is a --timeout."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """The answer of one address: a server and its latency, or the reason why there is none."""

    address: str
    info: lamina.ServerInfo | None = None
    latency_seconds: float = 0.0
    error: str = ""
    is_refused: bool = False
    """Whether a server answers that does not know the caller."""

    def shape(self) -> dict[str, Any]:
        """Return a JSON object."""
        if self.info is None:
            return {
                "address": self.address,
                "state": "refused" if self.is_refused else "unavailable",
                "error": self.error,
            }
        return {
            "address": self.address,
            "state": "up",
            "version": self.info.version,
            "latency_ms": round(self.latency_seconds * 1000, 3),
            "author": self.info.author,
            "author_verified": self.info.author_verified,
            "not_ready": self.info.not_ready,
        }


@click.command("status", cls=Verb)
@click.pass_context
def status_verb(ctx: click.Context) -> None:
    """Show each address of the server: whether it answers and takes commits, its version and latency, and who you are.

    Exits with 5 if none of them answers, and with 1 if those that do refuse you.
    """
    output = chosen(ctx).output(("text", "json"))
    answers = list(_ask_each(ctx))
    if output == "json":
        print(document([answer.shape() for answer in answers]))
    else:
        with screen() as out:
            out.columns(map(_row, answers), ("ADDRESS", "STATE", "VERSION", "LATENCY", "YOU ARE"), clip=True)
    if all(answer.info is None for answer in answers):
        ctx.exit(REFUSED if any(answer.is_refused for answer in answers) else UNAVAILABLE)


def _ask_each(ctx: click.Context) -> Iterator[_Answer]:
    with connected(ctx) as client:  # makes no call; it only parses the addresses
        addresses = client.target.split(",")
    is_set = "timeout" in chosen(ctx).values or _environment.text(_environment.TIMEOUT)
    limit = {} if is_set else {"timeout": _TIMEOUT_SECONDS}
    for address in addresses:
        yield _ask(ctx, address.strip(), limit)


def _ask(ctx: click.Context, address: str, limit: dict[str, Any]) -> _Answer:
    try:
        with connected(ctx, quiet=True, target=address, **limit) as client:
            client.server_info()  # opens the connection, whose time is not part of the latency
            begun = monotonic()
            info = client.server_info()
            return _Answer(address, info, monotonic() - begun)
    except lamina.LaminaError as error:
        return _Answer(address, error=explain(error), is_refused=isinstance(error, lamina.UnauthenticatedError))


def _row(answer: _Answer) -> Row:
    address = cell(answer.address, KEY)
    if answer.info is None:
        return [address, cell("up" if answer.is_refused else "down", OLD), cell(""), cell(""), cell(answer.error)]
    latency = cell(f"{answer.latency_seconds * 1000:.1f} ms")
    if answer.info.not_ready:
        words = cell(f"but takes no commits: {answer.info.not_ready}")
        return [address, cell("up", OLD), cell(answer.info.version), latency, words]
    known = "" if answer.info.author_verified else " (not verified)"
    return [address, cell("up", NEW), cell(answer.info.version), latency, cell(answer.info.author + known, QUIET)]
