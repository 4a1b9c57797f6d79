"""What a watch brings, step by step: each version with the values before it. It knows nothing of what is done with it.

The values before come from the map as it was where the watch begins, read once, and then from the watch itself: so they
are known whatever happens to the link or the server meanwhile. Only those of watched keys are kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import lamina
from lamina.watching import parse_cursor

Start: TypeAlias = int | datetime | str | None
"""Where a watch begins, as it was typed: a version, a time, a cursor, or None for the head."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version as far as it is watched: its changes, each with the value before; and the cursors around it."""

    version: lamina.VersionChanges
    changes: Sequence[tuple[lamina.KeyChange, Any]]
    before: str
    """From here the version comes again."""
    cursor: str
    """From here what comes after it."""


class Steps:
    """A watch's steps. `cursor` is where to go on: it moves when a step has been dealt with, not when it is taken."""

    def __init__(self, cfg: lamina.Config, keys: Sequence[str], prefixes: Sequence[str], start: Start) -> None:
        start, entries = _map_at(cfg, start)
        self._values = {key: entries[key] for key in entries if _watched(key, keys, prefixes)}
        self._watch = cfg.watch(*keys, prefix=prefixes, after=start)
        self.cursor = self._watch.cursor

    def __iter__(self) -> Iterator[Step]:
        for version in self._watch.versions():
            pairs = [(change, self._replace(change)) for change in version.changes]
            yield Step(version, pairs, self.cursor, self._watch.cursor)
            self.cursor = self._watch.cursor

    def close(self) -> None:
        """End the loop, from whatever thread."""
        self._watch.close()

    def _replace(self, change: lamina.KeyChange) -> Any:
        """Give the value before a change, and remember the one after it."""
        old = self._values.pop(change.key, lamina.MISSING)
        if not change.deleted:
            self._values[change.key] = change.value
        return old


def _map_at(cfg: lamina.Config, start: Start) -> tuple[Start, Mapping[str, Any]]:
    """Read the map where a watch begins; and what a time means is decided once, for the map and the watch alike."""
    if isinstance(start, str):
        number = parse_cursor(start).version
        # One that is ahead of the head has no map, and the watch itself has the right words for it.
        return start, cfg.at(number) if number <= cfg.version else {}
    entries = cfg.at(cfg.version if start is None else start)
    return entries.version, entries


def _watched(key: str, keys: Sequence[str], prefixes: Sequence[str]) -> bool:
    begins = tuple(filter(None, prefixes))  # an empty one asks for nothing
    return not (keys or begins) or key in keys or key.startswith(begins)
