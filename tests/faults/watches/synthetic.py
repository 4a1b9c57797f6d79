"""Histories as a correct watch would leave them, made without a server: the validators are tested on them.

A simulated server sends each version that matches in one part or, if it is large, in several. Bookmarks come in
between. Streams are cut anywhere, and go on after the last cursor, or now and then after an older one.
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
"""Probabilities: that a change is a deletion; that a bookmark follows a version; that a cut does; that a stream goes on
after an older cursor; and that a version with enough changes is too large for one part."""
OLDER = 8
"""How far back an older cursor may be, in cursors."""
PART = 2
"""The changes of one part of a large version."""


def final(dice: random.Random, versions: int) -> Final:
    """Make the versions of a config."""
    made = []
    for number in range(1, versions + 1):
        keys = dice.sample(KEYS, dice.randint(1, 6))
        changes = {key: None if dice.random() < DELETED else f"{number}-{key}" for key in keys}
        made.append(FinalVersion(number, number - 1, f"{number:064x}", str(number), changes))
    return Final("synthetic", made)


@dataclass
class _Simulation:
    """A watcher under way, and its server."""

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
        """Send a version, in one part or in several; return whether all of it arrived."""
        changes = self.truth.matching(self.watcher.filter)[version]
        size = PART if self.dice.random() < LARGE else len(changes)
        parts = [changes[first : first + size] for first in range(0, len(changes), size)]
        for number, part in enumerate(parts, start=1):
            if number > 1 and self.dice.random() < CUT:
                return False
            self._receive(session, Part(version, self.truth.hashes[version], part, more=number < len(parts)))
        return True

    def _receive(self, session: Session, item: Part | Bookmark) -> None:
        session.received.append(item)
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
    """Make one watcher that has watched a config to its end."""
    start = None
    if not from_now:
        version = dice.choice([0, dice.randint(0, truth.head)])
        start = Cursor(version, truth.hashes[version])
    made = Watcher("synthetic", "shop/prod", wanted, start)
    _Simulation(made, truth, dice, [start] if start else []).run()
    return made
