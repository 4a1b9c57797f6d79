"""The page for contributors names files and folders that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_each_path_on_the_page_exists() -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Find your way\n")[2].partition("\n## ")[0]
    paths = re.findall(r"`((?:client|server|protos|tests)/[^`]*)`", page)
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]
