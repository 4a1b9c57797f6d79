"""A watch's versions, step by step, each with the old values. It does not know what its caller does with them.

The old values come from the map at the beginning of the watch, which is read once, and then from the watch itself: so
they are known even if the server is lost in the meantime. Only those of watched keys are kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import lamina

Start: TypeAlias = int | datetime | str | None
"""The typed beginning of a watch: a version, a time, a cursor, or None for the head."""


@dataclass(frozen=True, slots=True)
class Step:
    """One version's watched changes, each with the old value, and the cursors before and after it."""

    version: lamina.VersionChanges
    changes: Sequence[tuple[lamina.KeyChange, Any]]
    before: str
    """After this cursor, the version is sent again."""
    cursor: str
    """After this cursor, the next version is sent."""


class Steps:
    """A watch's steps. `cursor` is where to continue: it moves when a step was handled, not when it is taken."""

    def __init__(self, cfg: lamina.Config, keys: Sequence[str], prefixes: Sequence[str], start: Start) -> None:
        if isinstance(start, datetime):
            start = _number_at(cfg, start)  # resolved once, for both the map and the watch
        self._watch = cfg.watch(*keys, prefix=prefixes, after=start)
        self.cursor = self._watch.cursor
        number = int(self.cursor.partition(".")[0])  # a cursor begins with its version
        # A cursor ahead of the head has no map, and the watch itself raises the right error.
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
        """End the loop, from any thread."""
        self._watch.close()

    def _replace(self, change: lamina.KeyChange) -> Any:
        """Return the old value of a change, and remember the new one."""
        old = self._values.pop(change.key, lamina.MISSING)
        if not change.deleted:
            self._values[change.key] = change.value
        return old


def _number_at(cfg: lamina.Config, time: datetime) -> int:
    """Return the number of the newest version at a time; 0 if there is none, and the watch has all changes."""
    try:
        return cfg.at(time).version
    except lamina.NotFoundError:
        return 0
