"""Validators of what watchers received: one function for each guarantee of the watch. Pure.

Each compares the history of one logical watcher with the versions as they are in the end. Neither times nor other
watchers matter: a filter and a cursor say exactly what must come.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from tests.faults.clients import OPEN
from tests.faults.watches.records import (
    Bookmark,
    Changes,
    Cursor,
    Part,
    ReceivedVersion,
    Session,
    Truth,
    Watcher,
    assembled,
)

EXPECTED_ENDS = frozenset({"", *(code.name for code in OPEN), "DRAINING", "STORE_UNAVAILABLE"})
"""How a stream may end because of a fault. Any definite refusal is one of a cursor that was good."""


class Guarantee(StrEnum):
    """What a watch guarantees, by name."""

    ORDERED = "versions rise, and the keys within one"
    UNIQUE = "no version, and no key of one, comes twice on a stream"
    ATOMIC = "a version's matching changes come together, all of them and no others"
    RELIABLE = "no version with a matching change is missing, and none is invented"
    RESUMABLE = "what is received is a cursor, and a stream goes on directly after its cursor"
    BOOKMARKABLE = "a bookmark comes after everything up to it, and nothing up to it comes after"


@dataclass(frozen=True, slots=True)
class Breach:
    """One guarantee that was broken."""

    watcher: str
    guarantee: Guarantee
    version: int
    text: str

    def __str__(self) -> str:
        return f"{self.guarantee.name}: {self.watcher}, version {self.version}: {self.text}"


class Case:
    """One watcher and what it should have received."""

    def __init__(self, watcher: Watcher, truth: Truth) -> None:
        self.watcher = watcher
        self.truth = truth
        self.expected: Mapping[int, Changes] = truth.matching(watcher.filter)
        self.numbers: Sequence[int] = list(self.expected)
        self.sessions = [(session, assembled(session)) for session in watcher.sessions]
        self.start = watcher.start or next(filter(None, map(began, watcher.sessions)), None)

    def breach(self, guarantee: Guarantee, version: int, text: str) -> Breach:
        """Name this watcher's breach."""
        return Breach(self.watcher.name, guarantee, version, text)

    def between(self, after: int, through: int) -> Sequence[int]:
        """Return the versions with a matching change in (after, through]."""
        return self.numbers[bisect_right(self.numbers, after) : bisect_right(self.numbers, through)]


def began(session: Session) -> Cursor | None:
    """Return where a session began: at its cursor; without one, where its first message says."""
    if session.after is not None or not session.received:
        return session.after
    first = session.received[0]
    return Cursor(first.version, first.hash) if isinstance(first, Bookmark) else Cursor(first.version - 1)


def ordered(case: Case) -> Iterator[Breach]:
    """Check that versions rise, and the keys of each."""
    for _, versions in case.sessions:
        for one, other in pairwise(versions):
            if other.version < one.version:
                yield case.breach(Guarantee.ORDERED, other.version, f"came after {one.version}")
        for one in versions:
            for (key, _), (following, _) in pairwise(one.changes):
                if following.encode() < key.encode():
                    yield case.breach(Guarantee.ORDERED, one.version, f"{following} came after {key}")


def unique(case: Case) -> Iterator[Breach]:
    """Check that nothing comes twice on a stream."""
    for _, versions in case.sessions:
        for version, times in Counter(one.version for one in versions).items():
            if times > 1:
                yield case.breach(Guarantee.UNIQUE, version, f"came {times} times")
        for one in versions:
            for key, times in Counter(key for key, _ in one.changes).items():
                if times > 1:
                    yield case.breach(Guarantee.UNIQUE, one.version, f"{key} came {times} times")


def atomic(case: Case) -> Iterator[Breach]:
    """Check that each version comes with all its matching changes and with nothing else."""
    for _, versions in case.sessions:
        for one in versions:
            if one.version not in case.truth.hashes:
                continue  # `reliable` reports it
            expected, found = dict(case.expected.get(one.version, ())), dict(one.changes)
            if one.torn:
                yield case.breach(Guarantee.ATOMIC, one.version, "its last part never came")
            if found.items() - expected.items():
                wrong = ", ".join(key for key, _ in found.items() - expected.items())
                yield case.breach(Guarantee.ATOMIC, one.version, f"holds what it should not: {wrong}")
            elif one.whole and (found != expected or not found):
                missing = ", ".join(sorted(expected.keys() - found.keys()))
                yield case.breach(Guarantee.ATOMIC, one.version, f"lacks {missing or 'any change'}")


def reliable(case: Case) -> Iterator[Breach]:
    """Check that every matching version after the start came, and in each session all up to its last."""
    ever: set[int] = set()
    gaps: set[int] = set()
    for session, versions in case.sessions:
        whole = {one.version for one in versions if one.whole}
        after = began(session)
        if whole and after is not None:
            gaps.update(set(case.between(after.version, max(whole))) - whole)
        ever |= whole
        for one in versions:
            if one.version not in case.truth.hashes:
                yield case.breach(Guarantee.RELIABLE, one.version, "is not there in the end")
    if case.start is None:
        yield case.breach(Guarantee.RELIABLE, case.truth.head, "is not known: the watcher never received a position")
    else:
        gaps.update(set(case.between(case.start.version, case.truth.head)) - ever)
    for version in sorted(gaps):
        yield case.breach(Guarantee.RELIABLE, version, "is missing")


def resumable(case: Case) -> Iterator[Breach]:
    """Check that each cursor was received, names its version's hash, and is exactly where its session goes on."""
    received = {case.watcher.start}
    for session, versions in case.sessions:
        if session.after not in received:
            version = session.after.version if session.after else 0
            yield case.breach(Guarantee.RESUMABLE, version, f"went on after {session.after}, which it never received")
        if session.reason not in EXPECTED_ENDS:
            at = began(session)
            yield case.breach(Guarantee.RESUMABLE, at.version if at else 0, f"ended with {session.reason}")
        yield from _continued(case, session, versions)
        for item in session.received:
            if case.truth.hashes.get(item.version, item.hash) != item.hash:
                yield case.breach(Guarantee.RESUMABLE, item.version, f"came with another hash, {item.hash}")
            if isinstance(item, Bookmark) or not item.more:
                received.discard(None)  # a watcher that has a cursor does not begin from now again
                received.add(Cursor(item.version, item.hash))


def _continued(case: Case, session: Session, versions: Sequence[ReceivedVersion]) -> Iterator[Breach]:
    after = session.after
    if after is None or not versions:
        return
    for one in versions:
        if one.version <= after.version:
            yield case.breach(Guarantee.RESUMABLE, one.version, f"came after the cursor {after.version}")
    first = next((one for one in versions if one.version > after.version), None)
    if first is None:
        return
    due = case.between(after.version, first.version)
    if due and due[0] != first.version:
        yield case.breach(Guarantee.RESUMABLE, due[0], f"was skipped after the cursor {after.version}")
    elif due and first.changes[:1] != case.expected[first.version][:1]:
        yield case.breach(Guarantee.RESUMABLE, first.version, "does not begin with its first change")


def bookmarkable(case: Case) -> Iterator[Breach]:
    """Check that bookmarks rise, come after everything up to them, and that nothing up to them comes later."""
    for session in case.watcher.sessions:
        if session.after is None and session.received and not isinstance(session.received[0], Bookmark):
            yield case.breach(Guarantee.BOOKMARKABLE, session.received[0].version, "came before the first bookmark")
        after = began(session)
        covered = reached = after.version if after else 0
        marked = -1
        whole: set[int] = set()
        for item in session.received:
            if isinstance(item, Part):
                if item.version <= marked:
                    yield case.breach(Guarantee.BOOKMARKABLE, item.version, f"came after the bookmark {marked}")
                reached = max(reached, item.version)
                if not item.more:
                    whole.add(item.version)
                continue
            if item.version < reached:
                yield case.breach(Guarantee.BOOKMARKABLE, item.version, f"is a bookmark after {reached}")
            elif item.version not in case.truth.hashes:
                yield case.breach(Guarantee.BOOKMARKABLE, item.version, "is a bookmark of no version")
            elif early := [due for due in case.between(covered, item.version) if due not in whole]:
                yield case.breach(Guarantee.BOOKMARKABLE, item.version, f"is a bookmark before {early[0]} came")
            covered = reached = marked = max(reached, item.version)


VALIDATORS = {
    Guarantee.ORDERED: ordered,
    Guarantee.UNIQUE: unique,
    Guarantee.ATOMIC: atomic,
    Guarantee.RELIABLE: reliable,
    Guarantee.RESUMABLE: resumable,
    Guarantee.BOOKMARKABLE: bookmarkable,
}


def breaches(watcher: Watcher, truth: Truth) -> list[Breach]:
    """Return everything that is wrong with what one watcher received, or nothing."""
    case = Case(watcher, truth)
    return [breach for validate in VALIDATORS.values() for breach in validate(case)]
