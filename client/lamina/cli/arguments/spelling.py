"""Names that look like a mistyped one. Knows no server."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

_NAMED: Final = 3


def did_you_mean(typed: str, names: Iterable[str]) -> str:
    """Return a question to end an error's text with; empty where no name looks like the one that was typed."""
    close = get_close_matches(typed, names, n=_NAMED)
    return f"; did you mean {' or '.join(close)}?" if close else ""
