"""Changes side by side, for people: one line for each key if it is short, else one side below the other.

It knows the SDK's Change and a Screen, and not where the changes come from.

    ~ timeout  27 → 28
    + motd     "welcome"
    ~ hosts
        "h1",
      - "h2"
      + "h3"
"""

import difflib
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from rich.text import Text

import lamina
from lamina.cli.output.screen import KEY, NEW, OLD, QUIET, Screen, cell
from lamina.cli.output.text import show

_SHORT_COLUMNS: Final = 90
"""Up to this width, both sides of a change are in one line: with a key before them they fit on most terminals."""
_ALIGNED_COLUMNS: Final = 40
"""Keys are aligned up to this width; one long key must not push all values off the screen."""
_CONTEXT_LINES: Final = 2


def print_changes(screen: Screen, changes: Mapping[str, lamina.Change]) -> None:
    """Write each change in key order."""
    width = max((cell(key).cell_len for key in changes), default=0)
    for key, change in changes.items():
        _print_change(screen, cell(key, KEY), min(width, _ALIGNED_COLUMNS), change)


def summary(changes: Mapping[str, lamina.Change]) -> str:
    """Count changes by what they do."""
    added = sum(change.old is lamina.MISSING for change in changes.values())
    deleted = sum(change.new is lamina.MISSING for change in changes.values())
    counts = {"added": added, "changed": len(changes) - added - deleted, "deleted": deleted}
    return ", ".join(f"{number:,} {what}" for what, number in counts.items() if number) or "nothing changed"


def differ(one: object, other: object) -> bool:
    """Return whether two values differ. True, 1 and 1.0 do, and MISSING differs from all values."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(differ, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() != other.keys() or any(differ(one[name], other[name]) for name in one)
    return type(one) is not type(other) or one != other


def arrow(old: Any, new: Any) -> Text:
    """Write a change in one line; a side that is MISSING is left out."""
    sides = []
    if old is not lamina.MISSING:
        sides.append(cell(show(old), OLD))
    if new is not lamina.MISSING:
        sides.append(cell(show(new), NEW))
    return Text.assemble(*sides[:1], *(part for side in sides[1:] for part in (cell(" → ", QUIET), side)))


def _print_change(screen: Screen, key: Text, width: int, change: lamina.Change) -> None:
    mark, sides = _mark(change), arrow(change.old, change.new)
    if sides.cell_len <= _SHORT_COLUMNS and not any(map(_has_lines, (change.old, change.new))):
        screen.line(mark, key, " " * max(width - key.cell_len, 0) + "  ", sides)
        return
    screen.line(mark, key)
    for sign, line in _compared(_lines(change.old), _lines(change.new)):
        screen.line(cell(f"  {sign} {line}", {"-": OLD, "+": NEW}.get(sign, "")))


def _mark(change: lamina.Change) -> Text:
    if change.old is lamina.MISSING:
        return cell("+ ", NEW)
    return cell("- ", OLD) if change.new is lamina.MISSING else cell("~ ", QUIET)


def _has_lines(value: Any) -> bool:
    return isinstance(value, str) and "\n" in value


def _lines(value: Any) -> list[str]:
    """Write a value in lines that people can compare."""
    if value is lamina.MISSING:
        return []
    if _has_lines(value):
        return str(value).split("\n")
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2).split("\n")
    return [show(value)]


def _compared(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    """Return lines with their signs; an ellipsis stands for equal lines that are far from any difference."""
    compared = difflib.unified_diff(old, new, n=_CONTEXT_LINES, lineterm="")
    for index, line in enumerate(islice(compared, 2, None)):  # the first two are headers with file names
        if not line.startswith("@@"):
            yield line[0], line[1:]
        elif index:
            yield " ", "…"
