"""The command's frame: its verbs by name, and the options that stand before or after a verb.

It imports a verb's module only when that verb runs, so that `lamina --help` and completion are quick, and knows of a
verb no more than what `--help` says about it.
"""

import os
from importlib import import_module
from typing import Any, Final

import click

from lamina.cli.arguments.options import CONTEXT_SETTINGS, VerbGroup, shared_options
from lamina.cli.errors import boundary

COMPLETION_VARIABLE: Final = "_LAMINA_COMPLETE"
"""By this the shells' scripts ask; not a setting."""

VERBS: Final = {
    "get": ("read", "Print a config, or one key's bare value."),
    "set": ("write", "Set keys, as one new version."),
    "unset": ("write", "Delete keys, as one new version."),
    "edit": ("edit", "Open a config in an editor, and write what was changed."),
    "log": ("read", "List a config's versions, newest first."),
    "history": ("read", "List every change of one key."),
    "blame": ("read", "Tell which version set each key's value."),
    "diff": ("diff", "Show what differs between two versions."),
    "watch": ("watch", "Print changes as they are committed."),
    "exec": ("exec", "Run a command with a config as its environment."),
    "bisect": ("bisect", "Find the version, and the keys in it, that break a command."),
    "revert": ("write", "Write keys, or the whole map, as they once were, as a new version."),
    "fork": ("write", "Make a new config out of another one."),
    "export": ("transfer", "Write a config to a file."),
    "import": ("transfer", "Set what a file says."),
    "configs": ("read", "List the configs."),
    "completion": ("completion", "Print a shell's completion script."),
}

_EPILOG: Final = """
\b
V is a version (12; 0 is the empty map before version 1), a time
(2026-11-23T09:30:00Z, without a zone: this terminal's) or an age (90s, 2h, 7d).

\b
Exit codes: 0 done, 1 failed or refused, 2 bad usage, 3 conflict, 4 not found,
5 unavailable, 130 Ctrl-C.
"""


class App(VerbGroup):
    """The group of all verbs, and the one place where errors become texts and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order in which one learns them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        module = import_module(f"lamina.cli.verbs.{VERBS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_verb")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a verb's name without importing the verbs."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only while completing

        verbs = [CompletionItem(name, help=text) for name, (_, text) in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run; or, where a shell asks for completions, learn first how to talk with it."""
        if COMPLETION_VARIABLE in os.environ:
            import_module("lamina.cli.verbs.completion")
        return super().main(*args, **{"complete_var": COMPLETION_VARIABLE, **extra})

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; whatever it raises ends here."""
        with boundary(ctx):
            return super().invoke(ctx)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom wanted

        print(f"lamina {version('lamina')}")
        ctx.exit()


app: Final = App(
    name="lamina",
    help="Read, change and follow configs on a Lamina server: every change is a new version, nothing is lost.",
    epilog=_EPILOG,
    subcommand_metavar="VERB ...",
    context_settings=CONTEXT_SETTINGS,
    params=[
        *shared_options(from_environment=True),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version of this command and exit.",
        ),
    ],
)
