"""What watchers asked for and what they received, as plain data. Knows no server, and judges nothing.

Worked example: a watcher of the keys below "a/", from the first version on, whose first stream was cut within version 5
(its parts say `more`), and whose second one, after the last cursor it had received, was sent version 5 again:

    Watcher("w1", "shop/prod", Filter(prefixes=("a/",)), start=Cursor(0), sessions=[
        Session(Cursor(0), [
            Part(2, "5e..", (("a/x", "1"),)), Bookmark(4, "c0.."), Part(5, "77..", (("a/x", "2"),), more=True)
        ]),
        Session(Cursor(4, "c0.."), [
            Part(5, "77..", (("a/x", "2"),), more=True), Part(5, "77..", (("a/y", None),))
        ]),
    ])
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.faults.final_state import Final

Changes: TypeAlias = tuple[tuple[str, str | None], ...]
"""Keys and their values in the order in which they came; None: deleted."""
WHOLE_VALUE_LENGTH = 80
"""Longer values are kept as their hash: a run has gigabytes of them."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a watcher stands: a version, and its hash in hexadecimal. Version 0 has none."""

    version: int
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one version changed, or a part of that, as it was received."""

    version: int
    hash: str
    changes: Changes
    more: bool = False


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A message that everything up to a version has been sent."""

    version: int
    hash: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which keys a watcher wants: these, and those with one of the prefixes; without either, all."""

    keys: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()

    def matches(self, key: str) -> bool:
        """Return whether a key is wanted."""
        if not self.keys and not self.prefixes:
            return True
        return key in self.keys or key.startswith(self.prefixes)


@dataclass(slots=True)
class Session:
    """One stream, from when it was opened to its end.

    after     the cursor that it was opened with; None: from now
    received  what came, in order
    reason    why it ended: a code or reason; "": its watcher ended it
    """

    after: Cursor | None
    received: list[Part | Bookmark] = field(default_factory=list)
    reason: str = ""


@dataclass(slots=True)
class Watcher:
    """One logical watcher: what it wants, from where on (None: from now), and its streams, one after the other."""

    name: str
    config: str
    filter: Filter
    start: Cursor | None
    sessions: list[Session] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ReceivedVersion:
    """One version as a session received it: its parts together.

    whole  whether the last part came
    torn   whether it did not, although something else came after
    """

    version: int
    changes: Changes
    whole: bool
    torn: bool


def assembled(session: Session) -> list[ReceivedVersion]:
    """Join the parts of a session: each to the parts of the same version directly before it that say `more`."""
    found: list[ReceivedVersion] = []
    parts: list[Part] = []
    for item in [*session.received, None]:
        if parts and not (isinstance(item, Part) and parts[-1].more and item.version == parts[-1].version):
            changes = tuple(change for part in parts for change in part.changes)
            whole = not parts[-1].more
            found.append(ReceivedVersion(parts[-1].version, changes, whole, torn=not whole and item is not None))
            parts = []
        if isinstance(item, Part):
            parts.append(item)
    return found


def mark_of(value: str | None) -> str | None:
    """Return what represents a value in a history: the value, or a hash of it if it is long."""
    if value is None or len(value) <= WHOLE_VALUE_LENGTH:
        return value
    return f"{hashlib.sha256(value.encode()).hexdigest()[:24]}:{len(value)}"


class Truth:
    """All versions of a config as they are in the end, and those that match a filter."""

    def __init__(self, final: Final) -> None:
        self.hashes = {0: "", **{version.number: version.hash for version in final.versions}}
        self.head = len(final.versions)
        # By their bytes, as the server orders them.
        self._versions = [
            (version.number, sorted((key, mark_of(value)) for key, value in version.changes.items()))
            for version in final.versions
        ]
        self._matching: dict[Filter, Mapping[int, Changes]] = {}

    def matching(self, wanted: Filter) -> Mapping[int, Changes]:
        """Return what each version changed that a filter matches, in the order of versions and keys."""
        if wanted not in self._matching:
            self._matching[wanted] = {
                number: matching
                for number, changes in self._versions
                if (matching := tuple(change for change in changes if wanted.matches(change[0])))
            }
        return self._matching[wanted]


def dump(watchers: Iterable[Watcher], folder: Path) -> None:
    """Write histories for people to read: one file for each watcher, one line for each message."""
    for watcher in watchers:
        lines: list[Mapping[str, object]] = []
        head = {"config": watcher.config, "filter": asdict(watcher.filter), "start": _plain(watcher.start)}
        lines.append(head)
        for session in watcher.sessions:
            lines.append({"after": _plain(session.after)})
            lines.extend({type(item).__name__.lower(): asdict(item)} for item in session.received)
            lines.append({"ended": session.reason})
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / f"{watcher.name}.watch.jsonl").write_text(text)


def events(watchers: Sequence[Watcher]) -> int:
    """Count the versions that all watchers received."""
    items = (item for watcher in watchers for session in watcher.sessions for item in session.received)
    return sum(isinstance(item, Part) and not item.more for item in items)


def _plain(cursor: Cursor | None) -> object:
    return None if cursor is None else asdict(cursor)
