"""The command line covers every verb of the SDK or has a reason not to, and each error has an exit code."""

import inspect
from collections.abc import Iterator, MutableMapping

import click
import pytest

import lamina
from lamina.cli import errors
from lamina.cli.app import VERBS, app
from lamina.cli.arguments.groups import leaves
from lamina.cli.arguments.options import Verb

VERBS_OF_THE_SDK = {
    "config": "get",
    "configs": "configs",
    "server_info": "status",
    "whoami": "whoami",
    "check_access": "access",
    "commit": "set",
    "at": "get",
    "diff": "diff",
    "log": "log",
    "history": "history",
    "origin": "blame",
    "blame": "blame",
    "revert": "revert",
    "fork": "fork",
    "watch": "watch",
    "to_dict": "export",
}
EXCEPTIONS = {
    "close": "a command's client lives as long as the command",
    "target": "what --target said",
    "name": "what CONFIG said",
    "version": "`log -n 1`",
    "changes": "a draft's: the writers print them, with --dry-run before they are written",
    "discard": "a draft's: no draft outlives its command",
    "refresh": "a draft's; the writers do it where others came in between",
    "edit": "refresh and commit, which is what each writer does",
    "transact": "a function's business; the writers try again by themselves",
    "live": "`watch` follows a config from the shell",
    "verify": "an auditor's: `lamina-server verify` for a whole database, the SDK for one config",
}
EXIT_CODES = {
    lamina.LaminaError: 1,
    lamina.InvalidError: 2,
    lamina.SettingsError: 2,
    lamina.NotFoundError: 4,
    lamina.VersionCompactedError: 4,
    lamina.ConflictError: 3,
    lamina.UnavailableError: 5,
    lamina.DeadlineError: 5,
    lamina.UnauthenticatedError: 1,
    lamina.PermissionDeniedError: 1,
    lamina.LimitError: 1,
    lamina.ExistsError: 1,
    lamina.CursorError: 1,
    lamina.DataLossError: 1,
}


def all_verbs() -> Iterator[tuple[str, click.Command]]:
    """Yield every verb, and the verbs of groups."""
    for name in VERBS:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        yield from leaves(name, command)


def test_each_verb_of_the_sdk_has_a_command_or_a_reason() -> None:
    public = {name for kind in (lamina.Client, lamina.Config) for name in dir(kind) if not name.startswith("_")}
    assert public - set(dir(MutableMapping)) - {"popitem"} <= VERBS_OF_THE_SDK.keys() | EXCEPTIONS.keys()
    assert set(VERBS_OF_THE_SDK.values()) <= VERBS.keys()
    assert not VERBS_OF_THE_SDK.keys() & EXCEPTIONS.keys()


def test_each_error_has_an_exit_code() -> None:
    kinds = {kind for _, kind in inspect.getmembers(lamina, inspect.isclass) if issubclass(kind, lamina.LaminaError)}
    assert kinds == set(EXIT_CODES)
    assert {kind: errors.exit_code(kind("why")) for kind in kinds} == EXIT_CODES


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_each_error_is_printed_without_a_traceback(
    kind: type[lamina.LaminaError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(click.exceptions.Exit) as ended, errors.boundary(click.Context(app)):
        raise kind("what happened\x1b[31m")
    assert ended.value.exit_code == EXIT_CODES[kind]
    said = capsys.readouterr().err
    assert said.startswith("lamina: ")
    assert "what happened\\x1b[31m\n" in said


def test_only_some_of_many_conflicts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    conflicts = {f"k{n:02}": lamina.Conflict(f"k{n:02}", 1, lamina.MISSING, 3, 7, "") for n in range(1002)}
    with pytest.raises(click.exceptions.Exit), errors.boundary(click.Context(app)):
        raise lamina.ConflictError("moved on", conflicts=conflicts)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1].split() == ["key", "base", "theirs", "yours", "changed", "by"]
    assert lines[2] == "  k00  1             3      somebody in version 7"  # their side has no value
    assert lines[-1] == "  and 2 more"


def test_no_option_or_argument_has_the_name_of_a_shared_option() -> None:
    for name, command in all_verbs():
        assert isinstance(command, Verb)
        names = [parameter.name for parameter in command.params]
        assert len(names) == len(set(names)), name


def test_the_group_accepts_the_outputs_of_all_verbs() -> None:
    outputs = {output for _, command in all_verbs() if isinstance(command, Verb) for output in command.outputs}
    (option,) = [parameter for parameter in app.params if parameter.name == "output"]
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == outputs
