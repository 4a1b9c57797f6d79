"""The command line's README has every verb, option, variable and exit code, and no others."""

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

import lamina.cli
from lamina import _environment
from lamina.cli import errors
from lamina.cli.app import VERBS, app
from lamina.cli.arguments.groups import leaves
from lamina.cli.arguments.options import SharedOption, shared_options

README = (Path(lamina.cli.__file__).parent / "README.md").read_text(encoding="utf-8")
WRITERS = {"-m", "--message", "--dry-run", "--exit-code", "--base"}
GIVEN = ("LAMINA_CHANGE_", "LAMINA_EXEC_", "LAMINA_BISECT_")
"""Variables that commands receive, and that `lamina` does not read."""
HELP = {"-h", "--help"}


def verbs() -> Iterator[tuple[str, click.Command]]:
    for name, line in VERBS.items():
        yield from leaves(name, getattr(import_module(f"lamina.cli.verbs.{line.module}"), f"{name}_verb"))


ALL = dict(verbs())
"""Every verb by its name, such as `get` or `access grant`."""


def verb(name: str) -> click.Command:
    return ALL[name]


def synopsis(name: str) -> str:
    context = click.Context(verb(name), info_name=name)
    return " ".join(["lamina", name, *verb(name).collect_usage_pieces(context)[1:]])


def section(heading: str) -> str:
    """Return the text below a heading, up to the next one."""
    _, found, rest = README.partition(f"\n{heading}\n")
    assert found, f"no heading {heading}"
    return re.split(r"\n##", rest, maxsplit=1)[0]


def tabled(text: str) -> set[str]:
    """Return the options that begin a row of a table."""
    rows = re.findall(r"^\| (`-.*?) \|", text, re.MULTILINE)
    return {option for row in rows for option in re.findall(r"`(--?[a-z-]+)", row)}


def names(parameters: Iterable[click.Parameter]) -> set[str]:
    return {name for parameter in parameters for name in parameter.opts}


@pytest.mark.parametrize("name", ALL)
def test_each_verb_has_a_section_with_its_options(name: str) -> None:
    own = [one for one in verb(name).params if isinstance(one, click.Option) and not isinstance(one, SharedOption)]
    expected = names(own)
    if "--message" in expected:
        expected -= WRITERS
    assert tabled(section(f"### `{synopsis(name)}`")) == expected


@pytest.mark.parametrize("name", ALL)
def test_help_has_no_mathematics(name: str) -> None:
    """Click writes ranges as 0<=x<=86400."""
    context = click.Context(verb(name), info_name=name)
    assert not re.search("[<>]=?x|x[<>]|RANGE", verb(name).get_help(context))


def test_no_other_verb_has_a_section() -> None:
    assert set(re.findall(r"^### `lamina ([a-z]+(?: [a-z]+)?)", README, re.MULTILINE)) == set(ALL)


def test_the_readme_has_the_shared_options() -> None:
    assert tabled(section("## Writing")) == WRITERS
    assert tabled(section("## Connection")) == names(shared_options(from_environment=True))
    for option in {*names(app.params), *HELP} - tabled(section("## Connection")):
        assert f"{option}`" in section("## Connection"), option


def test_the_readme_has_the_environment_variables() -> None:
    named = set(re.findall(r"LAMINA_[A-Z_]+", README))
    assert {name for name in named if not name.startswith(GIVEN)} == set(_environment.NAMES)
    by_options = {str(option.envvar) for option in shared_options(from_environment=True) if option.envvar}
    assert by_options == set(_environment.NAMES) - {_environment.TOKEN, _environment.CACHE_DIR}  # these have no option


def test_the_readme_has_the_exit_codes() -> None:
    codes = {errors.REFUSED, errors.USAGE, errors.CONFLICT, errors.NOT_FOUND, errors.UNAVAILABLE, errors.INTERRUPTED}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section("## Exit codes"), re.MULTILINE)} == {0, *codes}


@pytest.mark.parametrize("name", ALL)
def test_help_explains_each_verb(name: str) -> None:
    text = verb(name).get_help(click.Context(verb(name), info_name=name))
    assert "\\b" not in text  # click's mark in a docstring
    assert VERBS[name.partition(" ")[0]].text
