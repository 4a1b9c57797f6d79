"""Everything that is named is there: methods, reasons, settings."""

import json
import re
from collections import defaultdict
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.cli.main import main
from lamina_server.domain.errors import Reason
from lamina_server.rpc.handlers import SERVICE, snake_case
from lamina_server.rpc.service import Service
from lamina_server.rpc.status import CODES
from lamina_server.settings import Settings, range_of
from tests.server.bare_client import MEMORY_ONLY, Refusal, Wire

ROOT = Path(__file__).parents[2]
README = ROOT / "server" / "README.md"


def settings_table() -> str:
    """Write the README's table of settings as it should be."""
    lines = ["| setting | default | range | what it is for |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{json.dumps(field.default)}`".replace('"', "")
        lines.append(f"| `LAMINA_SERVER_{name.upper()}` | {default} | {range_of(name)} | {field.description} |")
    return "\n".join(lines)


def test_every_method_has_a_handler() -> None:
    assert [method.name for method in SERVICE.methods if not hasattr(Service, snake_case(method.name))] == []


@MEMORY_ONLY
async def test_a_method_that_is_not_there_is_not_implemented(wire: Wire) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = wire.channel.unary_unary(
        f"/{SERVICE.full_name}/EraseEverything"
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(b"")
    refused = Refusal.of(raised.value)
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_IMPLEMENTED")
    assert "EraseEverything" in refused.text


def test_every_reason_has_the_code_of_the_contract() -> None:
    """The .proto's own list is what the codes are compared with."""
    comment = pb.DESCRIPTOR.name
    proto = (ROOT / "protos" / comment).read_text(encoding="utf-8")
    listed = proto.partition("Reasons, by status code:")[2].partition("TOO_LARGE, TOO_MANY")[0]
    codes: dict[str, str] = {}
    for line in listed.splitlines():
        words = line.removeprefix("//").split()
        if line.startswith("//   ") and words and words[0] in grpc.StatusCode.__members__:
            codes |= {word.rstrip(","): words[0] for word in words[1:] if word.rstrip(",") in Reason.__members__}
    assert codes == {reason: CODES[reason].name for reason in Reason}


def test_every_setting_is_in_the_readme() -> None:
    """If this fails, paste `settings_table()` into the README."""
    assert settings_table() in README.read_text(encoding="utf-8"), settings_table()


def commands(group: click.Group = main, before: str = "") -> dict[str, click.Command]:
    """Return all commands by their whole names, such as "access reset"."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{name} ") if isinstance(command, click.Group) else {f"{before}{name}": command}
    return found


def test_the_readme_shows_each_command_with_its_own_options() -> None:
    """The first block of the README: a line for each command, and below it what does not fit."""
    block = README.read_text(encoding="utf-8").partition("```\n")[2].partition("```")[0]
    shown: defaultdict[str, str] = defaultdict(str)
    for part in block.split("lamina-server ")[1:]:
        shown[re.split(r" [\[-]| FILE", part)[0]] += part
    for name, command in commands().items():
        options = set(_options(command))
        if name != "serve":
            options.remove("--settings-file")  # which every command has
        if "[options of serve]" in shown[name]:
            options -= set(_options(commands()["serve"]))
        assert set(re.findall(r"--[a-z-]+", shown[name])) == options, name


def _options(command: click.Command) -> list[str]:
    """Return the options that help shows one by one; the table of settings has the others."""
    params = [each for each in command.params if not getattr(each, "hidden", False)]
    return [option for each in params for option in each.opts if option.startswith("--")]


def test_every_option_is_a_setting() -> None:
    parameters = [each for command in commands().values() for each in command.params]
    names = {each.name for each in parameters if isinstance(each, click.Option)}
    others = {"admin", "settings_file", "changed", "output"}  # whom `access reset` makes an admin, and what to print
    others |= {"configs"}  # how many `stats` prints
    others |= {"folder", "keep", "no_verify"}  # of `backup`
    others |= {"liveness", "timeout", "ca", "cert", "key"}  # what a probe asks, and who it is
    others |= {"age", "count", "dry_run"}  # what `compact` keeps
    assert names - others <= set(Settings.model_fields)


def test_help_needs_no_database() -> None:
    done = CliRunner().invoke(main.commands["serve"], ["--help"])
    assert done.exit_code == 0
    assert "--listen" in done.output
