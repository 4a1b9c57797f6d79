"""The command's frame: its verbs by name, and the options that stand before or after a verb.

It imports a verb's module only when that verb runs, so that `lamina --help` and completion are fast. Of a verb, it
knows only its line in `--help`.
"""

import os
import sys
from importlib import import_module
from itertools import zip_longest
from typing import Any, Final, NamedTuple

import click

from lamina.cli.arguments.options import CONTEXT_SETTINGS, shared_options
from lamina.cli.arguments.spelling import did_you_mean
from lamina.cli.errors import boundary, no_token_repeated, report_of_system
from lamina.cli.quiet import quiet_grpc

COMPLETION_VARIABLE: Final = "_LAMINA_COMPLETE"
"""The shells' completion scripts set this variable; it is no setting."""


class VerbLine(NamedTuple):
    """A verb's entry in `--help`. `text` is short: two verbs share a line of 80 columns."""

    module: str
    text: str


FAMILIES: Final = {
    "Read": {
        "get": VerbLine("read", "a config, or some keys"),
        "configs": VerbLine("read", "the configs; also: ls"),
        "show": VerbLine("show", "one version"),
        "log": VerbLine("read", "the versions"),
        "history": VerbLine("read", "all changes of a key"),
        "blame": VerbLine("read", "who set each key"),
        "diff": VerbLine("diff", "what differs"),
        "status": VerbLine("status", "the servers, and you"),
    },
    "Write": {
        "set": VerbLine("write", "set keys"),
        "unset": VerbLine("write", "delete keys"),
        "edit": VerbLine("edit", "edit in an editor"),
        "import": VerbLine("transfer", "set what a file says"),
        "revert": VerbLine("write", "bring old values back"),
        "fork": VerbLine("write", "make a copy"),
    },
    "Use": {
        "watch": VerbLine("watch", "changes, as they come"),
        "exec": VerbLine("exec", "run with a config"),
        "export": VerbLine("transfer", "write to a file"),
        "bisect": VerbLine("bisect", "find a bad version"),
    },
    "Access and help": {
        "whoami": VerbLine("whoami", "who you are, and may do"),
        "access": VerbLine("access", "who may do what"),
        "token": VerbLine("token", "make and end tokens"),
        "login": VerbLine("login", "sign in at a provider"),
        "logout": VerbLine("login", "forget that"),
        "help": VerbLine("about", "VERB or `connection`"),
        "version": VerbLine("about", "this command's version"),
        "completion": VerbLine("completion", "for your shell"),
    },
}
VERBS: Final = {name: line for family in FAMILIES.values() for name, line in family.items()}
ALIASES: Final = {"ls": "configs"}

_EPILOG: Final = """
V: a version (12), a time (2026-11-23 09:30) or an age (90s, 2h, 7d).
Exit codes: 0 done, 1 failed, 2 usage, 3 conflict, 4 not found, 5 unavailable.
"""


class App(click.Group):
    """The group of all verbs, and the one place where errors become texts and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the verbs, in the order in which one learns them."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb."""
        del ctx
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        with quiet_grpc():
            module = import_module(f"lamina.cli.verbs.{VERBS[name].module}")
        command: click.Command = getattr(module, f"{name}_verb")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, or suggest similar names."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(f"there is no verb {name!r}{did_you_mean(name, [*VERBS, *ALIASES])}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs by family, two in a line, without importing them."""
        del ctx
        formatter.write("\n")
        for family, lines in FAMILIES.items():
            formatter.write(f"{family}:\n")
            cells = [f"  {name:<11}{line.text}" for name, line in lines.items()]
            for left, right in zip_longest(cells[::2], cells[1::2], fillvalue=""):
                formatter.write(f"{left:<40}{right}".rstrip() + "\n")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the closing lines without wrapping."""
        del ctx
        formatter.write(_EPILOG)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete a verb's name without importing the verbs."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - only for completion

        verbs = [CompletionItem(name, help=line.text) for name, line in VERBS.items() if name.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command; for completion, load the shells' formats first.

        Help and versions are printed outside of any verb, so their write errors are handled here.
        """
        if COMPLETION_VARIABLE in os.environ:
            import_module("lamina.cli.verbs.completion")
        try:
            try:
                return super().main(*args, **{"complete_var": COMPLETION_VARIABLE, **extra})
            finally:
                sys.stdout.flush()
        except OSError as error:
            sys.exit(report_of_system(error))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments before the verb."""
        with no_token_repeated():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb, and handle all its errors."""
        with boundary(ctx), no_token_repeated():
            return super().invoke(ctx)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version  # noqa: PLC0415 - slow, and seldom needed

        print(f"lamina {version('lamina')}")
        ctx.exit()


app: Final = App(
    name="lamina",
    help="Read, change and follow configs. Every change is a new version.",
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
