"""Shared by all verbs: the options of the connection and the output, `-h`, and arguments that are points in time.

An option may stand before or after its verb. An option after the verb wins over one before it, and both win over the
environment. The chosen values are kept in click's `meta`, which a group and its verb share. It knows no
verb.
"""

import math
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from lamina import _environment
from lamina.cli.arguments.points import PointError, parse_end, parse_point

CONTEXT_SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
OUTPUTS: Final = ("text", "json", "yaml", "toml", "env")
_DIGITS_LIMIT: Final = 18
"""Numbers of more digits are more than there is of anything."""
_META: Final = "lamina.cli.chosen"


@dataclass(slots=True)
class Chosen:
    """The shared options' values by name, and which of them were typed rather than found in the environment."""

    values: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    typed: dict[str, str | None] = field(default_factory=dict[str, str | None], repr=False)

    def output(self, allowed: Sequence[str]) -> str:
        """Return the output format; verbs without the environment's format ignore it."""
        output: str = self.values.get("output") or "text"
        if output in allowed:
            return output
        if "output" in self.typed:
            raise click.UsageError(f"-o {output} is not for this: it takes {', '.join(allowed)}")
        return "text"

    def typed_output(self) -> str | None:
        """Return the output format if it was typed."""
        return self.typed.get("output")

    def command_line(self, verb: str, positionals: Sequence[str], options: Sequence[str] = ()) -> str:
        """Write a line that can be pasted: this program, a verb, and the connection as it was typed."""
        connection = [part for name, text in self.typed.items() if name != "output" for part in _option(name, text)]
        if any(positional.startswith("-") for positional in positionals):
            return shlex.join([_program(), *verb.split(), *options, *connection, "--", *positionals])
        return shlex.join([_program(), *verb.split(), *positionals, *options, *connection])


def chosen(ctx: click.Context) -> Chosen:
    """Return the shared options' values, which parsing has gathered."""
    values: Chosen = ctx.meta.setdefault(_META, Chosen())
    return values


class SharedOption(click.Option):
    """An option of the connection or the output, which every verb takes; `lamina help connection` lists them.

    The output's variable alone is read here: the SDK reads those that complete a connection.
    """

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """Read the output's variable."""
        return super().resolve_envvar_value(ctx) if self.envvar == _environment.OUTPUT else None


class Verb(click.Command):
    """A verb: a click command that takes the shared options too. `outputs` are the formats of its `-o`."""

    def __init__(self, *args: Any, outputs: Sequence[str] = ("text", "json"), **extra: Any) -> None:
        super().__init__(*args, **{"context_settings": CONTEXT_SETTINGS, **extra})
        if self.help:
            # Raw docstrings have click's mark of what is not to be wrapped as two characters.
            self.help = self.help.replace("\\b\n", "\b\n")
        self.outputs = outputs
        self.params.extend(shared_options(outputs, from_environment=False))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verb's own options and -o. Arguments stand in the usage line, and in the text."""
        records = [
            record
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option)
            and (parameter.name == "output" or not isinstance(parameter, SharedOption))
            and (record := parameter.get_help_record(ctx))
        ]
        with formatter.section("Options"):
            formatter.write_dl(records)
        formatter.write("\nServer, TLS, author, colours: `lamina help connection`\n")


def write_shared_options(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """List the shared options, and the variables that hold them."""
    options = shared_options(from_environment=True)
    with formatter.section("Connection and output, before or after the verb"):
        formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])
    variables = ", ".join(str(option.envvar) for option in options if option.envvar)
    formatter.write_paragraph()
    with formatter.indentation():
        text = "An option after the verb wins over one before it, and both win over the environment"
        formatter.write_text(f"{text}: {variables}.")


class PointType(click.ParamType[Any]):
    """A point in time, as click takes it."""

    name = "V"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse what was typed."""
        if not isinstance(value, str):
            return value  # parsed already
        try:
            return parse_point(value, now=datetime.now(UTC))
        except PointError as error:
            return self.fail(str(error), param, ctx)


class EndType(click.ParamType[datetime]):
    """A time in the future, as click takes it."""

    name = "WHEN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse what was typed."""
        if isinstance(value, datetime):
            return value  # parsed already
        try:
            return parse_end(str(value), now=datetime.now(UTC))
        except PointError as error:
            return self.fail(str(error), param, ctx)


class Seconds(click.ParamType[float]):
    """A number of seconds, at most `most`. Click's own ranges are told in mathematics, and accept nan.

    above_zero  whether 0 is too few
    """

    name = "seconds"

    def __init__(self, *, above_zero: bool = False, most: float = math.inf) -> None:
        self._above_zero = above_zero
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse what was typed."""
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        is_enough = seconds > 0 if self._above_zero else seconds >= 0
        if not is_enough or seconds > self._most:
            least = "more than 0" if self._above_zero else "0 or more"
            allowed = least if math.isinf(self._most) else f"0 to {self._most:g}"
            self.fail(f"{value} is not a number of seconds: it takes {allowed}", param, ctx)
        return seconds


class Count(click.ParamType[int]):
    """A whole number, 0 or more."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse what was typed."""
        text = str(value)
        if not text.isascii() or not text.isdigit() or len(text) > _DIGITS_LIMIT:
            self.fail(f"{text} is not a number of 0 or more", param, ctx)
        return int(text)


class NamedFile(click.Path):
    """A file's path, or - for standard input or output. An empty path is refused: probably a variable is not set."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, allow_dash=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check what was typed."""
        if value == "":
            self.fail("the name of the file is empty", param, ctx)
        return super().convert(value, param, ctx)


class CredentialFile(click.Path):
    """A file with a token or a key. What is typed in its place by mistake is not repeated."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Check what was typed."""
        if _environment.is_credential(value):
            self.fail("it takes the path of a file, and was given what the file should hold", param, ctx)
        return super().convert(value, param, ctx)


POINT: Final = PointType()
EXPIRY: Final = EndType()
_FILE: Final = CredentialFile()
_SECONDS: Final = Seconds(above_zero=True)
_SHARED: Final[tuple[tuple[str, str | None, dict[str, Any]], ...]] = (
    ("--target", _environment.TARGET, {"metavar": "HOST:PORT", "help": "The server, or several [localhost:7440]."}),
    ("--token-file", _environment.TOKEN_FILE, {"type": _FILE, "help": "A file with the token; else LAMINA_TOKEN."}),
    ("--tls-ca", _environment.TLS_FILES["ca"], {"type": _FILE, "help": "Certificates to trust, PEM [the system's]."}),
    ("--tls-cert", _environment.TLS_FILES["cert"], {"type": _FILE, "help": "This client's certificate, PEM."}),
    ("--tls-key", _environment.TLS_FILES["key"], {"type": _FILE, "help": "The key of that certificate, PEM."}),
    ("--plaintext", _environment.PLAINTEXT, {"is_flag": True, "help": "Connect without TLS, to other machines too."}),
    (
        "--timeout",
        _environment.TIMEOUT,
        {"type": _SECONDS, "metavar": "SECONDS", "help": "For a verb and its retries [10]."},
    ),
    ("--author", _environment.AUTHOR, {"metavar": "NAME", "help": "Who writes, if no token tells [the OS user]."}),
    ("--color", None, {"type": click.Choice(("auto", "always", "never")), "help": "Colours [auto: on a terminal]."}),
)


def shared_options(outputs: Sequence[str] = OUTPUTS, *, from_environment: bool) -> list[click.Option]:
    """Make new options: the group's read the environment, a verb's only its own arguments."""
    output = {"type": click.Choice(outputs), "metavar": "FORMAT", "help": f"{_listed(outputs)} [text]."}
    return [
        SharedOption(
            ["-o", name] if name == "--output" else [name],
            expose_value=False,
            callback=_choose,
            envvar=variable if from_environment else None,
            **extra,
        )
        for name, variable, extra in (*_SHARED, ("--output", _environment.OUTPUT, output))
    ]


def _listed(outputs: Sequence[str]) -> str:
    """Return the formats as a sentence's part: `text, json or yaml`."""
    return outputs[0] if len(outputs) == 1 else f"{', '.join(outputs[:-1])} or {outputs[-1]}"


def _choose(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Store a value; it replaces an earlier one, of the environment or of the group."""
    if value is None or value is False or parameter.name is None:
        return
    into = chosen(ctx)
    into.values[parameter.name] = value
    if ctx.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE:
        into.typed[parameter.name] = None if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _option(name: str, text: str | None) -> list[str]:
    flag = "--" + name.replace("_", "-")
    return [flag] if text is None else [flag, text]


def _program() -> str:
    """Return the name by which this program can be called again from here."""
    typed = Path(sys.argv[0])
    if typed.name != "lamina":
        return "lamina"  # python -m, or a test
    found = shutil.which("lamina")
    if found and Path(found).resolve() == typed.resolve():
        return "lamina"
    return str(typed.relative_to(Path.cwd()) if typed.is_relative_to(Path.cwd()) else typed)
