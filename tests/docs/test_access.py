"""The set-ups of server/ACCESS.md with tokens and with certificates run as printed, but for their addresses."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from tests.support.server import ServerProcess

PAGE = (Path(__file__).parents[2] / "server" / "ACCESS.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
PRINTED = re.compile(r"print\(.*\)  # (?P<line>.+)$", re.MULTILINE)
PUBLIC, EVERYWHERE, LOCAL = "lamina.corp.example:7440", "0.0.0.0:7440", "localhost:7440"


class Reader:
    """Somebody who follows the page in one folder, with one shell, and starts the servers that it names."""

    def __init__(self, folder: Path, end: ExitStack) -> None:
        self._folder = folder
        self._end = end
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": programs, "LC_ALL": "C.UTF-8"}
        self._target = ""

    def follow(self, language: str, code: str) -> None:
        """Do what a block says."""
        code = code.replace(PUBLIC, self._target)
        if code.startswith("lamina-server serve"):
            self._serve(code)
        elif language == "sh":
            exported = self._folder / ".exported"
            self._run(["bash", "-euo", "pipefail", "-c", f"{code}\nenv -0 > {exported}"])
            self._environment = dict(each.split("=", 1) for each in exported.read_text().rstrip("\0").split("\0"))
        elif language == "python":
            shown = self._run([sys.executable, "-W", "error", "-c", code])
            assert shown.splitlines() == PRINTED.findall(code)

    def _serve(self, code: str) -> None:
        self._end.close()  # the server before this one, on the same database
        free = code.replace(EVERYWHERE, "0.0.0.0:0").replace(LOCAL, "localhost:0")
        program = [str(Path(sys.executable).with_name("lamina-server")), *shlex.split(free)[1:]]
        server = self._end.enter_context(ServerProcess.of_program(program, cwd=self._folder))
        self._target = server.target.replace("0.0.0.0", "localhost")
        self._environment["LAMINA_TARGET"] = self._target

    def _run(self, program: list[str]) -> str:
        done = subprocess.run(
            program, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{program[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    authority = trustme.CA()
    ours = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    with ExitStack() as end:
        yield Reader(tmp_path, end)


@pytest.mark.timeout(180)  # dozens of commands, one after the other
@pytest.mark.parametrize("title", ["One team with tokens", "Certificates: mTLS with SPIFFE names"])
def test_the_set_up_runs_as_printed(title: str, reader: Reader) -> None:
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    found = list(BLOCK.finditer(section))
    assert found
    for block in found:
        reader.follow(block["language"], block["code"])
