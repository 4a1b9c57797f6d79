"""Shared by the tests of `server/ops`: its files, and their settings."""

import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lamina_server.cli.settings_file import NAME
from lamina_server.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
OPS = ROOT / "server" / "ops"
README = (OPS / "README.md").read_text(encoding="utf-8")
KNOWN = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, NAME)}


def documents(text: str) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(YAML(typ="safe").load_all(text))


def section(title: str) -> str:
    """Return one section of the page."""
    found = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, title
    return found


def blocks(text: str, language: str) -> list[str]:
    """Return the blocks of a language in a part of the page."""
    return re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)


def block(text: str, language: str, contains: str) -> str:
    """Return the only block of a language that contains a text."""
    (found,) = [each for each in blocks(text, language) if contains in each]
    return found
