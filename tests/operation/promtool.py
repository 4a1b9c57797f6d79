"""Prometheus' own tool for checks, which Debian has in the package `prometheus`."""

import shutil
import subprocess
from pathlib import Path

from tests.support import absent

OPS = Path(__file__).parents[2] / "server" / "ops"
RULES = OPS / "prometheus-rules.yml"


def promtool(*arguments: object, given: bytes = b"") -> str:
    """Run it, and return what it has printed. It must succeed."""
    program = shutil.which("promtool")
    if program is None:
        absent("promtool", "Debian: apt install prometheus")
    done = subprocess.run([program, *map(str, arguments)], input=given, capture_output=True, check=False)
    printed = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, printed
    return printed
