"""Histories as a watch without a fault would leave them, made without one: to test the validators on.

An imagined server tells each version that matches in one part or, where it is large, in several; bookmarks come in
between; streams are cut anywhere, and go on after the last cursor or now and then after an older one.
"""

import random
from dataclasses import dataclass

from tests.faults.final_state import Final, FinalVersion
from tests.faults.watches.records import Bookmark, Cursor, Filter, Part, Session, Truth, Watcher

KEYS = tuple(f"{folder}/{number}" for folder in "abc" for number in range(4))
FILTERS = (
    Filter(),
    Filter(keys=("a/0",)),
    Filter(keys=("a/1", "c/3")),
    Filter(prefixes=("b/",)),
    Filter(keys=("a/2",), prefixes=("b/", "c/1")),
)
DELETED, BOOKMARKED, CUT, GOES_BACK, LARGE = 0.2, 0.3, 0.1, 0.2, 0.5
"""Of changes, deletions; of versions, those after which a bookmark comes, and a cut; of cuts, those after which an
older cursor is taken; of versions with enough changes, those that are too large for one part."""
OLDER = 8
"""How far back an older cursor may be, in cursors."""
PART = 2
"""Changes of one part, where there are several."""


def final(dice: random.Random, versions: int) -> Final:
    """Imagine the versions of a config."""
    made = []
    for number in range(1, versions + 1):
        keys = dice.sample(KEYS, dice.randint(1, 6))
        changes = {key: None if dice.random() < DELETED else f"{number}-{key}" for key in keys}
        made.append(FinalVersion(number, number - 1, f"{number:064x}", str(number), changes))
    return Final("imagined", made)


@dataclass
class _Imagined:
    """A watcher under way."""

    watcher: Watcher
    truth: Truth
    dice: random.Random
    cursors: list[Cursor]

    def run(self) -> None:
        """Open sessions until one has reached the end."""
        while not self._session():
            pass

    def _session(self) -> bool:
        session = Session(self._cursor())
        self.watcher.sessions.append(session)
        if session.after is None:
            if self.dice.random() < CUT:
                return self._cut(session)
            now = self.dice.randint(0, self.truth.head)
            self._receive(session, Bookmark(now, self.truth.hashes[now]))
        at = self.cursors[-1] if session.after is None else session.after
        matching = self.truth.matching(self.watcher.filter)
        for version in range(at.version + 1, self.truth.head + 1):
            if version in matching and not self._version(session, version):
                return self._cut(session)
            if self.dice.random() < BOOKMARKED:
                self._receive(session, Bookmark(version, self.truth.hashes[version]))
            if self.dice.random() < CUT and version < self.truth.head:
                return self._cut(session)
        return True

    def _version(self, session: Session, version: int) -> bool:
        """Tell a version, in one part or in several; tell whether it came through."""
        changes = self.truth.matching(self.watcher.filter)[version]
        size = PART if self.dice.random() < LARGE else len(changes)
        parts = [changes[first : first + size] for first in range(0, len(changes), size)]
        for number, part in enumerate(parts, start=1):
            if number > 1 and self.dice.random() < CUT:
                return False
            self._receive(session, Part(version, self.truth.hashes[version], part, more=number < len(parts)))
        return True

    def _receive(self, session: Session, item: Part | Bookmark) -> None:
        session.told.append(item)
        if isinstance(item, Bookmark) or not item.more:
            self.cursors.append(Cursor(item.version, item.hash))

    def _cut(self, session: Session) -> bool:
        session.reason = self.dice.choice(["", "UNAVAILABLE", "CANCELLED"])
        return False

    def _cursor(self) -> Cursor | None:
        if not self.cursors:
            return self.watcher.start
        return self.dice.choice(self.cursors[-OLDER:]) if self.dice.random() < GOES_BACK else self.cursors[-1]


def watcher(dice: random.Random, truth: Truth, wanted: Filter, *, from_now: bool = False) -> Watcher:
    """Imagine one watcher that followed a config to its end."""
    start = None
    if not from_now:
        version = dice.choice([0, dice.randint(0, truth.head)])
        start = Cursor(version, truth.hashes[version])
    made = Watcher("imagined", "shop/prod", wanted, start)
    _Imagined(made, truth, dice, [start] if start else []).run()
    return made
