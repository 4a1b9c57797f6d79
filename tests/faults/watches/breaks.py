"""Ways to break a watcher's history, each with the guarantee that it breaks: the validators are tested with them.

Each changes the watcher in place, and returns whether it could: not every history has what it needs.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TypeAlias

from tests.faults.watches.guarantees import Guarantee
from tests.faults.watches.records import Bookmark, Changes, Cursor, Part, Session, Truth, Watcher

Break: TypeAlias = Callable[[Watcher, Truth, random.Random], bool]
OTHER_HASH = "f" * 64
OTHER_KEY = "zzz"


def _wholes(session: Session) -> list[int]:
    """Return the positions in a session of the versions that came in one part."""
    items = session.received
    return [at for at, item in enumerate(items) if _is_whole(item) and not (at and _says_more(items[at - 1]))]


def _is_whole(item: Part | Bookmark) -> bool:
    return isinstance(item, Part) and not item.more


def _says_more(item: Part | Bookmark) -> bool:
    return isinstance(item, Part) and item.more


def _places(watcher: Watcher, dice: random.Random, *, least: int = 1) -> tuple[Session, list[int]]:
    """Choose a session with at least so many versions that came in one part; return it with their positions."""
    found = [(session, at) for session in watcher.sessions if len(at := _wholes(session)) >= least]
    return dice.choice(found) if found else (Session(None), [])


def _all_changes(watcher: Watcher, truth: Truth) -> Mapping[int, Changes]:
    return truth.matching(replace(watcher.filter, keys=(), prefixes=()))


def _change(watcher: Watcher, dice: random.Random, change: Callable[[Part], Changes | None]) -> bool:
    """Replace the changes of a part for which `change` returns others."""
    parts = [(s, at, item) for s in watcher.sessions for at, item in enumerate(s.received) if _is_whole(item)]
    dice.shuffle(parts)
    for session, at, part in parts:
        assert isinstance(part, Part)
        changes = change(part)
        if changes is not None:
            session.received[at] = replace(part, changes=changes)
            return True
    return False


def drop(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Skip a version that is not the last of its session."""
    session, places = _places(watcher, dice, least=2)
    if places:
        del session.received[dice.choice(places[:-1])]
    return bool(places)


def drop_the_last(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Leave out the very last version."""
    items = watcher.sessions[-1].received
    last = max(truth.matching(watcher.filter), default=0)
    places = [at for at, item in enumerate(items) if item.version == last and isinstance(item, Part)]
    if not places or any(item.version == last for session in watcher.sessions[:-1] for item in session.received):
        return False
    del items[places[0] :]
    return True


def double(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version again, at once."""
    session, places = _places(watcher, dice)
    if places:
        at = dice.choice(places)
        session.received.insert(at, session.received[at])
    return bool(places)


def double_later(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version again, at the end of the session."""
    session, places = _places(watcher, dice)
    if places:
        session.received.append(session.received[dice.choice(places)])
    return bool(places)


def double_a_key(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a key twice in one version."""
    return _change(watcher, dice, lambda part: (*part.changes[:1], *part.changes))


def swap(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send two versions in the wrong order."""
    session, places = _places(watcher, dice, least=2)
    if places:
        at = dice.randrange(len(places) - 1)
        one, other = places[at], places[at + 1]
        session.received[one], session.received[other] = session.received[other], session.received[one]
    return bool(places)


def swap_keys(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send the keys of a version in the wrong order."""
    return _change(watcher, dice, lambda part: part.changes[::-1] if len(part.changes) > 1 else None)


def split(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version in two parts, with another version in between."""
    for session in watcher.sessions:
        places = _wholes(session)
        for one, other in pairwise(places):
            part = session.received[one]
            assert isinstance(part, Part)
            if len(part.changes) > 1:
                session.received[one] = replace(part, changes=part.changes[:1])
                session.received.insert(other + 1, replace(part, changes=part.changes[1:]))
                return True
    return False


def lose_a_change(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Leave out one of a version's changes."""
    return _change(watcher, dice, lambda part: part.changes[:-1] if len(part.changes) > 1 else None)


def empty(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Leave out all of a version's changes."""
    return _change(watcher, dice, lambda _: ())


def add_a_change(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a change that the version does not have."""
    return _change(watcher, dice, lambda part: (*part.changes, (OTHER_KEY, "1")))


def change_a_value(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send another value."""
    return _change(watcher, dice, lambda part: ((part.changes[0][0], "another"), *part.changes[1:]))


def delete(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a key as deleted that was set."""
    return _change(
        watcher, dice, lambda part: ((part.changes[0][0], None), *part.changes[1:]) if part.changes[0][1] else None
    )


def ignore_the_filter(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send all changes of a version, wanted or not."""
    everything, matching = _all_changes(watcher, truth), truth.matching(watcher.filter)
    return _change(
        watcher,
        dice,
        lambda part: everything[part.version] if everything[part.version] != matching[part.version] else None,
    )


def mix_up_watchers(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version, in its place, of which this watcher wants nothing."""
    everything, matching = _all_changes(watcher, truth), truth.matching(watcher.filter)
    for session in watcher.sessions:
        for at in _wholes(session):
            number = session.received[at].version + 1
            if number in everything and number not in matching:
                session.received.insert(at + 1, Part(number, truth.hashes[number], everything[number]))
                return True
    return False


def tear(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Leave out the last part of a version, although the stream goes on."""
    for session in watcher.sessions:
        for at, item in enumerate(session.received[:-1]):
            if _is_whole(item) and at and _says_more(session.received[at - 1]):
                del session.received[at]
                return True
    return False


def invent(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version that is not there in the end."""
    watcher.sessions[-1].received.append(Part(truth.head + 1, OTHER_HASH, (("a/0", "1"),)))
    return True


def receive_nothing(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send nothing at all."""
    due = any(number > (watcher.start.version if watcher.start else 0) for number in truth.matching(watcher.filter))
    watcher.sessions.clear()
    return due


def rehash(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a version with another hash."""
    session, places = _places(watcher, dice)
    if places:
        at = dice.choice(places)
        session.received[at] = replace(session.received[at], hash=OTHER_HASH)
    return bool(places)


def rehash_a_bookmark(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a bookmark with another hash."""
    for session, at in _bookmarks(watcher):
        session.received[at] = replace(session.received[at], hash=OTHER_HASH)
        return True
    return False


def _later_sessions(watcher: Watcher) -> Sequence[Session]:
    return [session for session in watcher.sessions[1:] if session.after is not None]


def resume_too_late(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Leave out what comes first after a session's cursor."""
    for session in _later_sessions(watcher):
        places = _wholes(session)
        if places[:1] == [0] and len(places) > 1:
            del session.received[0]
            return True
    return False


def resume_too_early(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Begin a session with the version that its cursor names."""
    matching = truth.matching(watcher.filter)
    for session in _later_sessions(watcher):
        assert session.after is not None
        if (at := session.after.version) in matching:
            session.received.insert(0, Part(at, truth.hashes[at], matching[at]))
            return True
    return False


def resume_within(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Go on with a version where it was cut, instead of from its first part."""
    for session in _later_sessions(watcher):
        if len(session.received) > 1 and _says_more(session.received[0]):
            del session.received[0]
            return True
    return False


def forget(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Open a session after a cursor that was never received."""
    for session in _later_sessions(watcher):
        session.after = Cursor(truth.head + 1, OTHER_HASH)
        return True
    return False


def refuse(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Refuse a cursor that was received."""
    dice.choice(watcher.sessions).reason = dice.choice(["CURSOR_AHEAD", "CURSOR_FORKED", "BUG"])
    return True


def _bookmarks(watcher: Watcher) -> Iterator[tuple[Session, int]]:
    for session in watcher.sessions:
        for at, item in enumerate(session.received):
            if isinstance(item, Bookmark):
                yield session, at


def bookmark_early(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a bookmark before the version that it should follow."""
    for session, at in _bookmarks(watcher):
        if at and _is_whole(session.received[at - 1]):
            session.received[at - 1], session.received[at] = session.received[at], session.received[at - 1]
            return True
    return False


def bookmark_ahead(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a bookmark of a version while others up to it are still to come."""
    session, places = _places(watcher, dice, least=2)
    if places:
        last = session.received[places[-1]].version
        session.received.insert(places[0], Bookmark(last, truth.hashes[last]))
    return bool(places)


def bookmark_backward(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a bookmark of an earlier version than the one before it."""
    for session, at in _bookmarks(watcher):
        version = session.received[at].version
        if version:
            session.received.insert(at + 1, Bookmark(version - 1, truth.hashes[version - 1]))
            return True
    return False


def bookmark_beyond(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Send a bookmark beyond the head."""
    watcher.sessions[-1].received.append(Bookmark(truth.head + 1, OTHER_HASH))
    return True


def begin_unannounced(watcher: Watcher, truth: Truth, dice: random.Random) -> bool:
    """Begin a watch from now without the bookmark that says where."""
    for session in watcher.sessions:
        if session.after is None and len(session.received) > 1 and isinstance(session.received[1], Part):
            del session.received[0]
            return True
    return False


BREAKS: Sequence[tuple[Break, Guarantee]] = (
    (drop, Guarantee.RELIABLE),
    (drop_the_last, Guarantee.RELIABLE),
    (invent, Guarantee.RELIABLE),
    (receive_nothing, Guarantee.RELIABLE),
    (double, Guarantee.UNIQUE),
    (double_later, Guarantee.UNIQUE),
    (double_a_key, Guarantee.UNIQUE),
    (swap, Guarantee.ORDERED),
    (swap_keys, Guarantee.ORDERED),
    (split, Guarantee.ATOMIC),
    (lose_a_change, Guarantee.ATOMIC),
    (empty, Guarantee.ATOMIC),
    (add_a_change, Guarantee.ATOMIC),
    (change_a_value, Guarantee.ATOMIC),
    (delete, Guarantee.ATOMIC),
    (ignore_the_filter, Guarantee.ATOMIC),
    (mix_up_watchers, Guarantee.ATOMIC),
    (tear, Guarantee.ATOMIC),
    (rehash, Guarantee.RESUMABLE),
    (rehash_a_bookmark, Guarantee.RESUMABLE),
    (resume_too_late, Guarantee.RESUMABLE),
    (resume_too_early, Guarantee.RESUMABLE),
    (resume_within, Guarantee.RESUMABLE),
    (forget, Guarantee.RESUMABLE),
    (refuse, Guarantee.RESUMABLE),
    (bookmark_early, Guarantee.BOOKMARKABLE),
    (bookmark_ahead, Guarantee.BOOKMARKABLE),
    (bookmark_backward, Guarantee.BOOKMARKABLE),
    (bookmark_beyond, Guarantee.BOOKMARKABLE),
    (begin_unannounced, Guarantee.BOOKMARKABLE),
)
