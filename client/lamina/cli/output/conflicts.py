"""A conflict for people, as a table: each key's value before, the one of others, and yours.

    key      base  theirs  yours  changed by
    timeout  27    28      30     bob in version 17
    motd     "hi"          "ho"   ann in version 18

An empty cell means that the key does not exist. It knows the SDK's errors, and no verbs.
"""

from itertools import islice
from typing import Any, Final

from rich.text import Text

import lamina
from lamina.cli.output.screen import KEY, NEW, OLD, QUIET, Row, cell, clipped, error_screen
from lamina.cli.output.text import show

_SHOWN: Final = 1_000
"""At most this many keys are listed, because each must be resolved; the others are counted."""
_VALUE_COLUMNS: Final = 24
"""With this width, three values, a key and an author fit on most terminals."""
_KEY_COLUMNS: Final = 40


def print_conflicts(error: lamina.ConflictError) -> None:
    """Write the table to stderr."""
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
