"""The verbs that explain the command itself: help and version. They ask no server."""

from importlib.metadata import version
from typing import Final

import click

from lamina.cli.arguments.options import Verb, write_shared_options
from lamina.cli.arguments.spelling import did_you_mean

CONNECTION: Final = "connection"


@click.command("help", cls=Verb, outputs=("text",))
@click.argument("topic", metavar="[VERB|connection]", required=False)
@click.pass_context
def help_verb(ctx: click.Context, topic: str | None) -> None:
    """Explain a verb, or with `connection` the options that every verb takes."""
    group = ctx.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    if topic is None:
        print(group.get_help())
        return
    if topic == CONNECTION:
        formatter = ctx.make_formatter()
        write_shared_options(ctx, formatter)
        print(formatter.getvalue().rstrip())
        return
    command = group.command.get_command(ctx, topic)
    if command is None:
        names = [CONNECTION, *group.command.list_commands(ctx)]
        raise click.UsageError(f"there is no verb {topic!r}{did_you_mean(topic, names)}", ctx)
    print(command.get_help(click.Context(command, info_name=topic, parent=group)))


@click.command("version", cls=Verb, outputs=("text",))
def version_verb() -> None:
    """Print the version of this command. `lamina status` shows the server's."""
    print(f"lamina {version('lamina')}")
