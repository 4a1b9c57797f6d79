"""protos/BUNDLE.md says what a bundle is: its program reads one without our code."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.bundles import history, packed

PAGE = Path(__file__).parents[2] / "protos" / "BUNDLE.md"


def test_the_program_reads_one(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "app.lamina").write_bytes(packed(history([{"x": 27, "y": 450}, {"x": 28}])))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 ada ['x', 'y']\n2 ada ['x']\n"


def test_gzip_reads_one(tmp_path: Path) -> None:
    (tmp_path / "app.lamina").write_bytes(packed(history([{"x": 27, "y": 450}, {"x": 28}])))
    with (tmp_path / "app.lamina").open("rb") as file:
        done = subprocess.run(["gzip", "-dc"], stdin=file, capture_output=True, check=True)
    assert b"lamina bundle 1" in done.stdout
