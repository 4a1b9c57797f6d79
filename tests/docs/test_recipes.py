"""Every recipe works as it is printed: its files are written and its commands run, against a separate server."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

RECIPES = (Path(__file__).parents[2] / "client" / "RECIPES.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (?P<title>.+?)$(?P<text>.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
FILE = re.compile(r"# (?P<name>\S+\.py)\n")
SECTIONS = {match["title"]: match["text"] for match in SECTION.finditer(RECIPES)}


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """An empty server for each recipe: no recipe depends on another."""
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.mark.timeout(180)
@pytest.mark.parametrize("title", SECTIONS)
def test_a_recipe_works_as_printed(title: str, server: ServerProcess, tmp_path: Path) -> None:
    try:
        follow(title, server, tmp_path)
    finally:
        for left in tmp_path.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(left.read_text()), signal.SIGKILL)


def follow(title: str, server: ServerProcess, folder: Path) -> None:
    """Follow a recipe step by step."""
    blocks = list(BLOCK.finditer(SECTIONS[title]))
    assert {block["language"] for block in blocks} == {"python", "sh"}
    installs = [block for block in blocks if block["before"].startswith("<!-- not run: ")]
    assert [block["code"].startswith("pip install 'PATH") for block in installs] == [True], "it says what to install"
    for block in (block for block in blocks if block not in installs):
        if block["language"] == "python":
            named = FILE.match(block["code"])
            assert named, "each block of Python is a file"
            (folder / named["name"]).write_text(block["code"] + "\n", encoding="utf-8")
        else:
            run(block["code"], server, folder)


def run(code: str, server: ServerProcess, folder: Path) -> None:
    """Run commands. Their output goes to a file: a remaining daemon would hold a pipe open."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "LAMINA_TARGET": server.target, "PYTHONPATH": python_path(folder)}
    with (folder / "said").open("w+", encoding="utf-8") as said:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code],
            cwd=folder,
            env=environment,
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said.seek(0)
        assert done.returncode == 0, f"{code}\n{said.read()}"


def python_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
