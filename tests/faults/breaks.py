"""Ways to break a synthetic history, each with the check that must find it. Of the checker it knows the names alone."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from tests.faults.final_state import Final, FinalVersion
from tests.faults.histories import Commit, History, Outcome, Read, Watch
from tests.faults.synthetic import hash_of
from tests.faults.violations import Check

Break: TypeAlias = Callable[[History, Final], Final]


def with_versions(final: Final, versions: Iterable[FinalVersion]) -> Final:
    return replace(final, versions=list(versions))


def renumbered(final: Final, versions: Iterable[FinalVersion]) -> Final:
    """Give the versions new numbers without gaps, as a database that reuses numbers would; each keeps its hash."""
    fresh = [replace(version, number=n, parent=n - 1) for n, version in enumerate(versions, start=1)]
    return Final(final.source, fresh, {version.request: version.number for version in fresh})


def acknowledged(history: History, *, after: float = 0.5) -> Commit:
    """Return a commit from the middle of the run whose first attempt was answered."""
    tried = count_attempts(history)
    found = (c for c in history.commits[int(len(history.commits) * after) :] if c.outcome is Outcome.OK)
    return next(commit for commit in found if tried[commit.request] == 1)


def count_attempts(history: History) -> dict[str, int]:
    tried: dict[str, int] = {}
    for commit in history.commits:
        tried[commit.request] = tried.get(commit.request, 0) + 1
    return tried


def refusal(history: History) -> Commit:
    refused = [commit for commit in history.commits if commit.outcome is Outcome.REFUSED]
    return refused[len(refused) // 2]


def read(history: History) -> Read:
    answered = [call for call in history.reads if call.outcome is Outcome.OK]
    return answered[len(answered) // 2]


def drop_the_newest(history: History, final: Final) -> Final:
    return with_versions(final, final.versions[:-20])


def drop_and_reuse_the_number(history: History, final: Final) -> Final:
    gone = acknowledged(history).request
    return renumbered(final, (version for version in final.versions if version.request != gone))


def drop_within(history: History, final: Final) -> Final:
    gone = acknowledged(history).version
    return with_versions(final, (version for version in final.versions if version.number != gone))


def double(history: History, final: Final) -> Final:
    twice = final.versions[acknowledged(history).version - 1]
    head = len(final.versions) + 1
    again = replace(twice, number=head, parent=head - 1, hash=hash_of(head))
    return with_versions(final, [*final.versions, again])


def forget_a_request(history: History, final: Final) -> Final:
    assert final.requests is not None
    gone = acknowledged(history).request
    return replace(final, requests={request: n for request, n in final.requests.items() if request != gone})


def swap(history: History, final: Final) -> Final:
    """Exchange two versions far from each other; their clients' answers say the same."""
    one, other = 100, len(final.versions) - 100
    new = {one: other, other: one}
    for commit in history.commits:
        if commit.outcome is Outcome.OK and commit.version in new:
            commit.version = new[commit.version]
            commit.hash = hash_of(commit.version)
    versions = list(final.versions)
    for here, there in new.items():
        moved = final.versions[there - 1]
        versions[here - 1] = replace(moved, number=here, parent=here - 1, hash=hash_of(here))
    return Final(final.source, versions, {version.request: version.number for version in versions})


def acknowledge_another_number(history: History, final: Final) -> Final:
    acknowledged(history).version -= 1
    return final


def acknowledge_another_hash(history: History, final: Final) -> Final:
    acknowledged(history).hash = hash_of(0)
    return final


def rehash(history: History, final: Final) -> Final:
    number = acknowledged(history).version
    changed = (replace(v, hash=hash_of(0)) if v.number == number else v for v in final.versions)
    return with_versions(final, changed)


def invent(history: History, final: Final) -> Final:
    head = len(final.versions) + 1
    made_up = FinalVersion(head, head - 1, hash_of(head), "nobody-1", {"x": "nobody-1"})
    return with_versions(final, [*final.versions, made_up])


def tear(history: History, final: Final) -> Final:
    """Have a commit ask for one change more than its version has."""
    torn = acknowledged(history)
    torn.changes = {**torn.changes, "torn": torn.request}
    return final


def commit_the_refused(history: History, final: Final) -> Final:
    refused = refusal(history)
    head = len(final.versions) + 1
    there = FinalVersion(head, head - 1, hash_of(head), refused.request, refused.changes)
    return replace(
        with_versions(final, [*final.versions, there]), requests={**(final.requests or {}), refused.request: head}
    )


def refuse_without_a_reason(history: History, final: Final) -> Final:
    refused = refusal(history)
    refused.base, refused.changes = None, {"nobody's": "x"}
    return final


def write_over_what_the_base_did_not_know(history: History, final: Final) -> Final:
    def overwrites(commit: Commit) -> bool:
        if commit.outcome is not Outcome.OK or not commit.version > 1:
            return False
        return any(v.changes.keys() & commit.changes.keys() for v in final.versions[: commit.version - 1])

    careless = next(commit for commit in history.commits[len(history.commits) // 3 :] if overwrites(commit))
    careless.base = 0
    return final


def win_on_an_old_base(history: History, final: Final) -> Final:
    winner = next(c for c in history.commits if c.require and c.outcome is Outcome.OK and c.version > 1)
    assert winner.base is not None
    winner.base -= 1
    return final


def read_an_old_version(history: History, final: Final) -> Final:
    """Answer a read with an old version that is whole, although a newer one was known when the read began."""
    call = read(history)
    old = max(1, call.version - 60)
    values = [version.changes[call.key] for version in final.versions[:old] if call.key in version.changes]
    call.version, call.hash, call.value = old, hash_of(old), values[-1] if values else None
    return final


def read_before_it_was_asked_for(history: History, final: Final) -> Final:
    call = read(history)
    new = len(final.versions)
    values = [version.changes[call.key] for version in final.versions if call.key in version.changes]
    call.version, call.hash, call.value = new, hash_of(new), values[-1] if values else None
    return final


def read_another_value(history: History, final: Final) -> Final:
    read(history).value = "never written"
    return final


def read_what_is_gone(history: History, final: Final) -> Final:
    """Have a read see a version that was never acknowledged and is lost (P12)."""
    call = max((call for call in history.reads if call.outcome is Outcome.OK), key=lambda call: call.version)
    call.version, call.hash = len(final.versions) + 1, hash_of(len(final.versions) + 1)
    return final


def go_back(history: History, final: Final) -> Final:
    call = read(history)
    later = next(other for other in history.reads if other.client == call.client and other.at > call.at)
    later.version = call.version - 1
    return final


def skip_in_a_watch(history: History, final: Final) -> Final:
    del history.seen[len(history.seen) // 2]
    return final


def repeat_in_a_watch(history: History, final: Final) -> Final:
    history.seen.insert(100, history.seen[99])
    return final


def watch_another_past(history: History, final: Final) -> Final:
    history.seen[100] = replace(history.seen[100], hash=hash_of(0))
    return final


def leave_open(history: History, final: Final) -> Final:
    call = acknowledged(history)
    call.outcome, call.reason = Outcome.INDETERMINATE, "UNAVAILABLE"
    return final


def answer_a_bug(history: History, final: Final) -> Final:
    call = read(history)
    call.outcome, call.reason = Outcome.INDETERMINATE, "BUG"
    return final


def refuse_oddly(history: History, final: Final) -> Final:
    call = read(history)
    call.outcome, call.reason = Outcome.REFUSED, "HASH_MISMATCH"
    return final


def refuse_a_watch(history: History, final: Final) -> Final:
    history.watches.append(Watch(client="w0", at=1, after=0, outcome=Outcome.REFUSED, reason="CURSOR_AHEAD"))
    return final


BREAKS: list[tuple[Break, Check]] = [
    (drop_the_newest, Check.LOST),
    (drop_and_reuse_the_number, Check.LOST),
    (drop_within, Check.GAP),
    (double, Check.DOUBLED),
    (forget_a_request, Check.FORGOTTEN),
    (swap, Check.ORDER),
    (acknowledge_another_number, Check.CHANGED),
    (acknowledge_another_hash, Check.CHANGED),
    (rehash, Check.CHANGED),
    (invent, Check.UNASKED),
    (tear, Check.UNASKED),
    (commit_the_refused, Check.REFUSED),
    (refuse_without_a_reason, Check.GROUNDLESS),
    (write_over_what_the_base_did_not_know, Check.BASE),
    (win_on_an_old_base, Check.BASE),
    (read_an_old_version, Check.STALE),
    (read_before_it_was_asked_for, Check.EARLY),
    (read_another_value, Check.WRONG),
    (read_what_is_gone, Check.WRONG),
    (go_back, Check.BACKWARD),
    (skip_in_a_watch, Check.WATCH),
    (repeat_in_a_watch, Check.WATCH),
    (watch_another_past, Check.WRONG),
    (leave_open, Check.OPEN),
    (answer_a_bug, Check.UNEXPECTED),
    (refuse_oddly, Check.UNEXPECTED),
    (refuse_a_watch, Check.UNEXPECTED),
]
