"""A conflict for people, as a table: what each key was, what others have made of it, and what this would have.

    key      base  theirs  yours  changed by
    timeout  27    28      30     bob in version 17
    motd     "hi"          "ho"   ann in version 18

An empty cell is no value: the key is not there. It knows the SDK's errors, and nothing of verbs.
"""

from itertools import islice
from typing import Any, Final

from rich.text import Text

import lamina
from lamina.cli.output.screen import KEY, NEW, OLD, QUIET, Row, cell, clipped, error_screen
from lamina.cli.output.text import show

_SHOWN: Final = 10
"""As many keys are told; the rest are counted."""
_VALUE_COLUMNS: Final = 24
"""Three values, a key and an author stand beside each other on most terminals."""
_KEY_COLUMNS: Final = 40


def print_conflicts(error: lamina.ConflictError) -> None:
    """Write the table to people, wherever stdout goes."""
    out = error_screen()
    rows = [_row(conflict) for conflict in islice(error.conflicts.values(), _SHOWN)]
    if not rows:
        return
    header: Row = [cell(title, QUIET) for title in ("  key", "base", "theirs", "yours", "changed by")]
    out.columns([header, *rows])
    if len(error.conflicts) > _SHOWN:
        out.line(f"  and {len(error.conflicts) - _SHOWN:,} more")


def _row(conflict: lamina.Conflict) -> Row:
    version = f" in version {conflict.version}" if conflict.version else ""
    return [
        Text.assemble("  ", clipped(conflict.key, _KEY_COLUMNS, KEY)),
        _value(conflict.base, QUIET),
        _value(conflict.theirs, OLD),
        _value(conflict.yours, NEW),
        cell(f"{conflict.author or 'somebody'}{version}"),
    ]


def _value(value: Any, style: str) -> Text:
    return Text() if value is lamina.MISSING else clipped(show(value), _VALUE_COLUMNS, style)
