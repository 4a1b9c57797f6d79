"""The tutorial is pasted at Python's prompt, block by block, and prints the shown results."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import pytest

from tests.support.server import ServerProcess

README = (Path(__file__).parents[2] / "client" / "README.md").read_text(encoding="utf-8")
TUTORIAL = README.partition("\n## Ten minutes\n")[2].partition("\n## ")[0]
PRINTED_TARGET = "localhost:7440"
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
PRINTED = re.compile(r"^(?:\s*print\(.*\)  )?# (?P<line>.+)$", re.MULTILINE)
SECONDS = 60


class Prompt:
    """Python's prompt, with its output and its errors."""

    def __init__(self, folder: Path) -> None:
        self._complaints = folder / "complaints"
        with self._complaints.open("wb") as complaints:
            self._python = subprocess.Popen(
                [sys.executable, "-q", "-i", "-u"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd=folder,
                env={**os.environ, "PYTHON_BASIC_REPL": "1"},
                text=True,
            )
        self._printed: list[str] = []
        self._heard = threading.Condition()
        assert self._python.stdout is not None
        self._listener = threading.Thread(target=self._listen, args=(self._python.stdout,))
        self._listener.start()

    def paste(self, code: str) -> None:
        """Paste a block as it is printed, without another line break after its last line."""
        assert self._python.stdin is not None
        self._python.stdin.write(f"{code}\n")
        self._python.stdin.flush()

    def expect(self, lines: list[str]) -> None:
        """Wait until as many lines have been printed, and assert that they are these."""
        with self._heard:
            self._heard.wait_for(lambda: len(self._printed) >= len(lines), SECONDS)
            printed, self._printed = self._printed, []
        assert printed == lines, self.complaints()

    def complaints(self) -> str:
        """Return its stderr without the prompts."""
        text = self._complaints.read_text(encoding="utf-8")
        return re.sub(r"^(?:>>> |\.\.\. )+", "", text, flags=re.MULTILINE)

    def _listen(self, printed: IO[str]) -> None:
        with printed:
            for line in printed:
                with self._heard:
                    self._printed.append(line.rstrip("\n"))
                    self._heard.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._python.kill()
        assert self._python.stdin is not None
        self._python.stdin.close()  # the end of input ends the prompt
        self._python.wait(SECONDS)
        self._listener.join()


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.mark.timeout(180)
def test_the_tutorial_prints_the_shown_results(server: ServerProcess, tmp_path: Path) -> None:
    with Prompt(tmp_path) as prompt:
        prompt.paste("import sys; sys.displayhook = lambda value: None")  # no block depends on the display of a value
        for block in BLOCK.finditer(TUTORIAL):
            if block["language"] == "python":
                prompt.paste(block["code"].replace(PRINTED_TARGET, server.target))
                prompt.expect(PRINTED.findall(block["code"]))
    assert "does not fit Settings: timeout: int_type (expected int); version 10 is kept" in prompt.complaints()
    assert "Error" not in prompt.complaints()
