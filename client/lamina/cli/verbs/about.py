"""The verbs that explain the command itself: help and version. They ask no server."""

from importlib.metadata import version
from typing import Final

import click

from lamina.cli.arguments.options import Verb, write_shared_options
from lamina.cli.arguments.spelling import did_you_mean

CONNECTION: Final = "connection"


@click.command("help", cls=Verb, outputs=("text",))
@click.argument("topics", metavar="[VERB|connection]...", nargs=-1)
@click.pass_context
def help_verb(ctx: click.Context, topics: tuple[str, ...]) -> None:
    """Explain a verb, or with `connection` the options that every verb takes."""
    group = ctx.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    if not topics:
        print(group.get_help())
        return
    if topics == (CONNECTION,):
        formatter = ctx.make_formatter()
        write_shared_options(ctx, formatter)
        print(formatter.getvalue().rstrip())
        return
    for topic in topics:
        group = _inner(group, topic)
    print(group.get_help())


def _inner(outer: click.Context, name: str) -> click.Context:
    """Return the context of a verb, or of a verb of a group."""
    command = outer.command.get_command(outer, name) if isinstance(outer.command, click.Group) else None
    if command is None:
        names = outer.command.list_commands(outer) if isinstance(outer.command, click.Group) else []
        raise click.UsageError(f"there is no verb {name!r}{did_you_mean(name, [CONNECTION, *names])}", outer)
    return click.Context(command, info_name=name, parent=outer)


@click.command("version", cls=Verb, outputs=("text",))
def version_verb() -> None:
    """Print the version of this command. `lamina status` shows the server's."""
    print(f"lamina {version('lamina')}")
