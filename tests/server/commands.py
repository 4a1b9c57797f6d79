"""Many runs of `lamina-server` in one process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias

Run: TypeAlias = tuple[list[str], dict[str, str]]

# Each run is what `lamina-server` does with these arguments. To start a process for each would take minutes.
PROGRAM = """
import json, os, sys
from lamina_server.cli.main import main
for arguments, variables in json.load(sys.stdin):
    print(json.dumps([arguments, variables]), file=sys.__stdout__)
    os.environ.update(variables)
    try:
        main(arguments, prog_name="lamina-server")
    except SystemExit as end:
        print("exit", end.code, flush=True)
    for name in variables:
        del os.environ[name]
    sys.stdout.flush()
    os.write(1, b"\\0")
"""


def printed(runs: list[Run], folder: Path) -> list[str]:
    """Return what the command prints in each of these runs, after the line that repeats the run."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(runs).encode(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PGCONNECT_TIMEOUT": "2"},
        check=True,
    )
    return [text.partition("\n")[2] for text in done.stdout.decode().split("\0")[:-1]]
