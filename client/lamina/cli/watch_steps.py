"""What a watch brings, step by step: each version with the values before it. It knows nothing of what is done with it.

The values before come from the map as it was where the watch begins, read once, and then from the watch itself: so they
are known whatever happens to the link or the server meanwhile. Only those of watched keys are kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import lamina

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
        if isinstance(start, datetime):
            start = _number_at(cfg, start)  # what it means is decided once, for the map and the watch alike
        self._watch = cfg.watch(*keys, prefix=prefixes, after=start)
        self.cursor = self._watch.cursor
        number = int(self.cursor.partition(".")[0])  # a cursor begins with its version
        # One that is ahead of the head has no map, and the watch itself has the right words for it.
        entries = {} if isinstance(start, str) and number > cfg.version else cfg.at(number)
        named, begins = frozenset(keys), tuple(filter(None, prefixes))  # an empty prefix asks for nothing
        self._values = {
            key: entries[key] for key in entries if not (named or begins) or key in named or key.startswith(begins)
        }

    def __iter__(self) -> Iterator[Step]:
        for version in self._watch.versions():
            pairs = [(change, self._replace(change)) for change in version.changes]
            yield Step(version, pairs, self.cursor, self._watch.cursor)
            self.cursor = self._watch.cursor

    def close(self) -> None:
        """End the loop, from whatever thread."""
        self._watch.close()

    def _replace(self, change: lamina.KeyChange) -> Any:
        """Return the value before a change, and remember the one after it."""
        old = self._values.pop(change.key, lamina.MISSING)
        if not change.deleted:
            self._values[change.key] = change.value
        return old


def _number_at(cfg: lamina.Config, time: datetime) -> int:
    """Return the number of the newest version at a time; 0, after which a watch tells everything, before the first."""
    try:
        return cfg.at(time).version
    except lamina.NotFoundError:
        return 0
