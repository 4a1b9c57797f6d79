"""What Tab offers: the scripts as their shells run them, and what the program answers."""

import shlex
import shutil
import subprocess

import pytest

import lamina
from lamina.cli.completion import SHELLS
from tests.cli.running import LAMINA, WAIT_SECONDS, InProcess, environment_of
from tests.support import absent

# `compopt` works within readline alone, so a test puts its calls down instead.
BASH = """
eval "$(lamina completion bash)"
compopt() { local IFS=" "; echo "compopt $*"; }
COMP_LINE=%s COMP_POINT=${#COMP_LINE}
_lamina_complete lamina
printf '%%s\\n' "${COMPREPLY[@]}"
complete -p lamina
"""


def shell(program: list[str], target: str) -> list[str]:
    """Run a script in a shell that knows `lamina`, and give the lines that it prints."""
    if shutil.which(program[0]) is None:
        absent(program[0], f"apt install {program[0]}")
    environment = environment_of(target)
    done = subprocess.run(
        program, env=environment, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False, cwd="/"
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def bash(line: str, target: str) -> list[str]:
    """Give what bash would offer after a line."""
    script = BASH % shlex.quote(line)
    *offered, registered = shell(["bash", "--norc", "-euo", "pipefail", "-c", script], target)
    assert registered.endswith("-F _lamina_complete lamina")
    return [one for one in offered if one]


def test_bash_completes_verbs_and_options(target: str) -> None:
    assert bash("lamina re", target) == ["revert"]
    assert {"get", "set", "completion"} <= set(bash("lamina ", target))
    assert bash("lamina diff --ex", target) == ["--exit-code"]
    assert bash("lamina completion ", target) == ["bash", "zsh", "fish"]
    assert bash("lamina get a -o ", target) == ["text", "json", "yaml", "toml", "env"]


def test_bash_completes_configs_and_keys(target: str, shop: lamina.Config) -> None:
    assert bash(f"lamina get {shop.name[:-3]}", target) == [shop.name]
    assert bash(f"lamina get {shop.name} ti", target) == ["timeout"]
    assert bash(f"lamina unset {shop.name} name n", target) == ["none"]  # what stands there already is not offered
    assert bash(f"lamina get {shop.name}-no ", target) == []


def test_bash_completes_assignments_as_they_are_written(target: str, shop: lamina.Config) -> None:
    shop |= {"a b": 1, "x:y": "text"}
    shop.commit()
    assert bash(f"lamina set {shop.name} na", target) == ["compopt -o nospace", "name="]
    assert bash(f"lamina set {shop.name} tim", target) == ["compopt -o nospace", "timeout:="]
    assert bash(f"lamina set {shop.name} a", target) == ["compopt -o nospace", "a\\ b:="]


def test_bash_completes_files(target: str, shop: lamina.Config) -> None:
    assert bash(f"lamina import {shop.name} s", target) == ["compopt -o default"]


def test_without_a_server_nothing_is_said() -> None:
    assert bash("lamina get sh", "localhost:1") == []


def test_fish_completes(target: str, shop: lamina.Config) -> None:
    def fish(line: str) -> list[str]:
        script = f"lamina completion fish | source; complete --do-complete {shlex.quote(line)}"
        return [one.split("\t")[0] for one in shell(["fish", "--no-config", "-c", script], target)]

    assert fish("lamina rev") == ["revert"]
    assert fish(f"lamina get {shop.name} ti") == ["timeout"]


def test_zsh_takes_the_script(target: str) -> None:
    script = 'autoload -Uz compinit; compinit -u -D; eval "$(lamina completion zsh)"; print $_comps[lamina]'
    assert shell(["zsh", "-f", "-c", script], target) == ["_lamina_complete"]


@pytest.mark.parametrize("name", SHELLS)
def test_each_script_is_printed(cli: InProcess, name: str) -> None:
    assert "_LAMINA_COMPLETE" in cli.out("completion", name)
    assert LAMINA.is_file()


def test_another_shell_is_bad_usage(cli: InProcess) -> None:
    cli("completion", "tcsh", code=2)
