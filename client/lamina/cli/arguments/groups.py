"""A verb that has verbs of its own, such as `access grant`. It knows no verb."""

from collections.abc import Iterator
from typing import Any

import click

from lamina.cli.arguments.options import CONTEXT_SETTINGS, Verb, shared_options
from lamina.cli.arguments.spelling import did_you_mean


class VerbGroup(click.Group):
    """A group of verbs, which takes the shared options too, before the verb's name."""

    command_class = Verb

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **{"context_settings": CONTEXT_SETTINGS, "subcommand_metavar": "VERB ...", **extra})
        self.params.extend(shared_options(from_environment=False))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order in which one learns them."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or suggest similar names."""
        name = args[0]
        if name not in self.commands and not name.startswith("-"):
            raise click.UsageError(f"there is no verb {name!r}{did_you_mean(name, self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs alone: the shared options are explained elsewhere."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, verb.get_short_help_str()) for name, verb in self.commands.items()])
        formatter.write("\nServer, TLS, author, colours: `lamina help connection`\n")


def leaves(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a verb, or the verbs of a group, with their names as they are typed."""
    if not isinstance(command, VerbGroup):
        yield name, command
        return
    for own, inner in command.commands.items():
        yield from leaves(f"{name} {own}", inner)
