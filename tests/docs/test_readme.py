"""Every code block of every README is run as it is printed, each file against a fresh server."""

import base64
import os
import re
import signal
import subprocess
import sys
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tests.support.server import ServerProcess

ROOT = Path(__file__).parents[2]
READMES = ["README.md", "client/README.md", "client/lamina/cli/README.md", "server/README.md"]
PRINTED_TARGET = "localhost:7440"
BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>\w+)\n(?P<code>.*?)\n```", re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")
RUN = {"python", "sh"}


def blocks(readme: str) -> list[tuple[str, str]]:
    """Return the (language, code) of the blocks to run; a comment before a block can exclude it, with a reason."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    found = [match for match in BLOCK.finditer(text) if match["language"] in RUN]
    return [(match["language"], match["code"]) for match in found if not NOT_RUN.search(match["before"])]


@pytest.fixture
def server(tmp_path: Path) -> ServerProcess:
    key = tmp_path / "secret.key"
    key.write_bytes(base64.b64encode(os.urandom(32)))
    key.chmod(0o600)
    return ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}", LAMINA_SERVER_SECRET_KEY_FILE=str(key))


@pytest.mark.timeout(180)  # dozens of commands, one after the other
@pytest.mark.parametrize("readme", READMES)
def test_blocks_run_as_printed(readme: str, server: ServerProcess, tmp_path: Path) -> None:
    with server:
        # Consecutive Python blocks are one session at the prompt. `make` has its own test below.
        found = [block for block in blocks(readme) if not block[1].startswith("make ")]
        for language, group in groupby(found, key=itemgetter(0)):
            codes = [code for _, code in group]
            if language == "python":
                script = "\n".join(codes).replace(PRINTED_TARGET, server.target)
                run([sys.executable, "-W", "error", "-c", script], tmp_path, server)
            for code in codes if language == "sh" else ():
                run(["bash", "-euo", "pipefail", "-c", code], tmp_path, server)


def run(program: list[str], folder: Path, server: ServerProcess) -> None:
    """Run a block in an empty folder with the checkout's .venv, as the README's readers do."""
    venv = folder / ".venv"
    if not venv.exists():
        venv.symlink_to(Path(sys.prefix))
    environment = {**os.environ, "LAMINA_TARGET": server.target, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{program[-1]}\n{done.stdout}\n{done.stderr}"


def test_make_serve_starts_a_server(tmp_path: Path) -> None:
    """`make serve` starts and prints the lines to try; `make test` runs this test."""
    code = dict.fromkeys(code for language, code in blocks("README.md") if code.startswith("make "))
    commands = [line.split("#")[0].split() for block in code for line in block.splitlines()]
    assert commands == [["make", "serve"], ["make", "test"]]
    arguments = f"--listen localhost:0 --database sqlite:///{tmp_path}/lamina.db"
    with ServerProcess.of_program(["make", "--silent", "serve", f"ARGS={arguments}"], cwd=ROOT) as server:
        assert server.target in server.printed
        assert "import lamina" in server.printed
        # Ctrl-C ends make like this; the log shows that the server ended well.
        server.stop(signal.SIGINT, expected=-signal.SIGINT)
        assert '"stopping"' in server.log
