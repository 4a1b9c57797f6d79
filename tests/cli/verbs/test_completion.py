"""Tab completion in the usual shells, with keys that have special characters."""

import shutil
import subprocess
from pathlib import Path

import pytest

import lamina
from lamina.cli.verbs.completion import SHELLS
from tests.cli.running import InProcess, Terminal, environment_of
from tests.support import absent

PATIENT = "--timeout 30"
"""An option in each completed line: without it, completion waits for less than a second, too short when all is slow."""
BASH = r"""
eval "$(lamina completion bash)"
compopt() { :; }  # works only after a real press of Tab
for COMP_LINE; do
    COMP_POINT=${#COMP_LINE} COMPREPLY=()
    _lamina_complete lamina
    printf '%s\n' "${COMPREPLY[@]}" ==
done
"""
FISH = "lamina completion fish | source; for line in $argv; complete -C $line; echo ==; end"


def shell(name: str) -> str:
    return shutil.which(name) or absent(name, f"apt install {name}")


def offered(program: list[str], lines: list[str], target: str, **environment: str) -> list[list[str]]:
    """Return what a shell's script offers for each line."""
    variables = environment_of(target, **environment)
    done = subprocess.run([*program, *lines], env=variables, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [[word for word in part.split("\n") if word] for part in done.stdout.split("==\n")[:-1]]


@pytest.fixture
def keys(shop: lamina.Config) -> str:
    """The name of a config whose keys have characters that are special in shells."""
    shop |= {"db:host": "h", "db:port": 1, "db path": "p", "$db": 1, "a*": 1, "x=y": 1}
    shop.commit()
    return shop.name


def test_bash_completes_special_characters(target: str, keys: str) -> None:
    get, put = f"lamina get {PATIENT} {keys} ", f"lamina set {PATIENT} {keys} "
    expected = {
        get + r"\$": [r"\$db"],
        get + "a": [r"a\*"],  # and no file name
        get + "db": [r"db\ path", "db:host", "db:port"],
        get + "db:": ["host", "port"],  # without "db:", because bash breaks words at :
        get + r"db\ ": [r"db\ path"],
        get + "'db ": ["db path"],
        put + "'db:": ["db:host=", "db:port:="],
        put + "x": [r"x\\=y:="],
        f"lamina unset {PATIENT} {keys} db:host db": [r"db\ path", "db:port"],
    }
    found = offered([shell("bash"), "--norc", "-c", BASH, "bash"], list(expected), target)
    assert dict(zip(expected, found, strict=True)) == expected


def test_bash_completes_on_tab(target: str, keys: str, tmp_path: Path) -> None:
    (tmp_path / "settings file.yaml").touch()
    with Terminal(shell("bash"), "--norc", "--noprofile", "-i", target=target, INPUTRC="/dev/null") as bash:
        bash.press(f"PS1='$ '; cd {tmp_path}; " + 'eval "$(lamina completion bash)"; echo re""ady\n')
        bash.until("\nready")
        bash.press(f"lamina set {PATIENT} {keys} timeo\t")
        bash.until("timeout:=")
        bash.press("50 -m 'by tab' && echo do\"\"ne\n")  # completion added no space
        bash.until("\ndone")
        bash.press(f"lamina get {PATIENT} {keys} db:po\t")
        bash.until("db:port ")
        bash.press("&& lamina import a set\t")
        bash.until(r"settings\ file.yaml ")
    assert lamina.connect(target).config(keys)["timeout"] == 50


def test_zsh_completes_on_tab(target: str, keys: str, tmp_path: Path) -> None:
    with Terminal(shell("zsh"), "-f", "-i", target=target) as zsh:
        zsh.press(f"PS1='$ '; autoload -U compinit; compinit -u -d {tmp_path}/dump; ")
        zsh.press('eval "$(lamina completion zsh)"; echo re""ady\n')
        zsh.until("\nready")
        zsh.press(f"lamina set {PATIENT} {keys} timeo\t")
        zsh.until("timeout:=")
        zsh.press("50 -m 'by tab' && echo do\"\"ne\n")
        zsh.until("\ndone")
        zsh.press(f"lamina get {PATIENT} {keys} db:po\t")
        zsh.until("port ")
        zsh.press("\x15lamina com\t")
        zsh.until("pletion ")
    assert lamina.connect(target).config(keys)["timeout"] == 50


def test_fish_completes_on_tab(target: str, keys: str, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").touch()
    expected = {
        f"lamina get {PATIENT} {keys} db": ["db path", "db:host", "db:port"],
        f"lamina set {PATIENT} {keys} timeo": ["timeout:="],
        f"lamina import a {tmp_path}/set": [f"{tmp_path}/settings.yaml"],
        f"lamina exec a --restart -- cat {tmp_path}/set": [f"{tmp_path}/settings.yaml"],
        "lamina bis": ["bisect\tfind a bad version"],
        "lamina conf": ["configs\tthe configs; also: ls"],
        "lamina get --target localhost:1 x": [],
    }
    program = [shell("fish"), "--no-config", "-c", FISH]
    found = offered(program, list(expected), target, HOME=str(tmp_path))
    assert dict(zip(expected, found, strict=True)) == expected


@pytest.mark.parametrize("name", SHELLS)
def test_each_script_has_valid_syntax(cli: InProcess, name: str, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(cli.out("completion", name), encoding="utf-8")
    subprocess.run([shell(name), "-n", script], check=True)
