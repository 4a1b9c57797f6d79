"""The settings of PostgreSQL, Patroni and HAProxy, as the page for operators prints them: there is no other copy."""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template

PAGE = Path(__file__).parents[2] / "server" / "ops" / "HIGH_AVAILABILITY.md"
_BLOCKS = re.compile(r"^```(yaml|haproxy)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SYNCHRONOUS = "synchronous_mode: true\n    synchronous_mode_strict: true\n"


def patroni(places: Mapping[str, str], *, synchronous: bool) -> str:
    """Return the settings of one Patroni; asynchronous, without the two lines that prevent losses."""
    settings = _filled("yaml", places)
    if synchronous:
        return settings
    assert SYNCHRONOUS in settings
    return settings.replace(SYNCHRONOUS, "synchronous_mode: false\n")


def haproxy(places: Mapping[str, str]) -> str:
    """Return the settings of HAProxy."""
    return _filled("haproxy", places)


def _filled(language: str, places: Mapping[str, str]) -> str:
    """Return the page's one block in a language, with a value for each name that begins with $."""
    (block,) = [text for found, text in _BLOCKS.findall(PAGE.read_text(encoding="utf-8")) if found == language]
    return Template(block).substitute(places)
