"""The walk along a hash chain against scripted streams: what it believes, and every lie that it must not."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import lamina
from lamina._mapping.entries import Entries
from lamina._mapping.values import load
from lamina._streams.hashing import NO_PARENT, value_digest, version_hash
from lamina._streams.verify import ChainWalk
from lamina._wire.messages import version_of
from lamina.records import MISSING, Version
from lamina_protos.v1 import lamina_pb2 as pb
from tests.client.builders import Script, change, deletion, entry, header, session

CUT = lamina.UnavailableError("the link broke")


def changes_of(content: Mapping[str, Any]) -> list[pb.Change]:
    return [deletion(key) if content[key] is MISSING else change(key, content[key]) for key in sorted(content)]


def chain(*commits: Mapping[str, Any]) -> list[pb.VersionChanges]:
    """Make an intact chain of versions with these changes."""
    versions: list[pb.VersionChanges] = []
    live: set[str] = set()
    parent_hash = NO_PARENT
    for number, content in enumerate(commits, start=1):
        live = (live | content.keys()) - {key for key in content if content[key] is MISSING}
        made = header(number, key_count=len(live), change_count=len(content), changed_keys=sorted(content)[:100])
        changes = changes_of(content)
        made.hash = parent_hash = version_hash(made, parent_hash, [digest(number, each) for each in changes])
        versions.append(pb.VersionChanges(version=made, changes=changes))
    return versions


def digest(number: int, change: pb.Change) -> bytes:
    return value_digest("app", number, change.key, MISSING if change.deleted else load(change.value))


COMMITS: list[dict[str, Any]] = [{"x": 27, "y": 450}, {"x": 28}, {"y": MISSING}]


@pytest.fixture
def versions() -> list[pb.VersionChanges]:
    return chain(*COMMITS)


def base(versions: list[pb.VersionChanges], content: dict[str, tuple[Any, int]] | None = None) -> Entries:
    """Make what a config shows that stands on the last version: by key the value and its origin."""
    shown = {"x": (28, 2)} if content is None else content
    return Entries(version_of(versions[-1].version), {key: entry(key, *shown[key]) for key in sorted(shown)})


def message(*parts: pb.VersionChanges, bookmark: int | None = None) -> pb.WatchKeyHistoryResponse:
    return pb.WatchKeyHistoryResponse(changes=parts, bookmark=pb.Bookmark(version=bookmark) if bookmark else None)


def verify(base: Entries, *answers: Any, script: Script | None = None) -> Version:
    script = script or Script(*answers)
    walk = ChainWalk(session(), base)
    while (version := script.run(walk.step())) is None:
        pass
    return version


def head(versions: list[pb.VersionChanges]) -> pb.ConfigVersion:
    return versions[0].version


def test_an_intact_chain(versions: list[pb.VersionChanges]) -> None:
    script = Script(head(versions), message(*versions[:2]), message(versions[2], bookmark=3))
    assert verify(base(versions), script=script) == version_of(versions[2].version)
    script.done()
    ((name, request),) = script.asked
    assert (name, request.version, request.view, request.min_version) == ("GetVersion", 1, pb.HEADER, 3)
    assert [one.after.version for one in script.opened] == [0]


def test_nothing_is_asked_of_a_config_without_versions() -> None:
    empty = Entries.empty("app")
    assert verify(empty, script=Script()) is empty.header


def test_what_was_committed_since_is_not_looked_at(versions: list[pb.VersionChanges]) -> None:
    later = pb.VersionChanges(version=header(4), changes=[change("x", 1)])
    assert verify(base(versions), head(versions), message(*versions, later, bookmark=4)).number == 3


def test_a_version_in_parts_and_cut_in_between(versions: list[pb.VersionChanges]) -> None:
    """P4: a part of a version that comes again whole is not counted twice."""
    first = versions[0]
    parts = [
        pb.VersionChanges(version=first.version, changes=first.changes[:1], more=True),
        pb.VersionChanges(version=first.version, changes=first.changes[1:]),
    ]
    script = Script(head(versions), message(parts[0]), CUT, message(parts[0]), message(parts[1], *versions[1:]))
    assert verify(base(versions), script=script).number == 3
    assert len(script.slept) == 1
    assert [one.after.version for one in script.opened] == [0, 0]


def test_it_resumes_after_the_last_version_that_was_whole(versions: list[pb.VersionChanges]) -> None:
    script = Script(head(versions), message(versions[0]), CUT, CUT, message(*versions[1:]))
    assert verify(base(versions), script=script).number == 3
    assert [one.after.version for one in script.opened] == [0, 1, 1]
    assert script.opened[-1].after.hash == versions[0].version.hash


@pytest.mark.parametrize("at", [1, 2])
def test_a_fork_of_an_empty_map(at: int) -> None:
    """Its version 1 changed nothing, so no stream tells of it."""
    first = header(1, source_config="other")
    first.hash = version_hash(first, NO_PARENT, [])
    if at == 1:
        assert verify(Entries(version_of(first), {}), first).number == 1
        return
    second = header(2, key_count=1, change_count=1, changed_keys=["x"])
    second.hash = version_hash(second, first.hash, [digest(2, change("x", 1))])
    stands = Entries(version_of(second), {"x": entry("x", 1, 2)})
    part = pb.VersionChanges(version=second, changes=[change("x", 1)])
    assert verify(stands, first, message(part)).number == 2


def test_a_past_that_is_too_short_is_another_error(versions: list[pb.VersionChanges]) -> None:
    """P10: as everywhere."""
    ahead = lamina.CursorError("ahead", reason="CURSOR_AHEAD", head=1)
    with pytest.raises(lamina.CursorError) as caught:
        verify(base(versions), ahead)
    assert caught.value.cursor == "3"


def edited(number: int, edit: Callable[[pb.VersionChanges], object]) -> Callable[[list[pb.VersionChanges]], None]:
    def act(versions: list[pb.VersionChanges]) -> None:
        edit(versions[number - 1])

    return act


def rewritten(versions: list[pb.VersionChanges]) -> None:
    """Make another past of the same length, with every hash right."""
    versions[:] = chain({"x": 26, "y": 450}, *COMMITS[1:])


LIES: dict[str, tuple[int, str, Callable[[list[pb.VersionChanges]], object]]] = {
    "a value": (1, "its hash", edited(1, lambda one: one.changes[0].value.CopyFrom(pb.Value(int64=26)))),
    "a value's kind": (2, "its hash", edited(2, lambda one: one.changes[0].value.CopyFrom(pb.Value(double=28)))),
    "a key": (2, "its hash", edited(2, lambda one: setattr(one.changes[0], "key", "z"))),
    "a value become a deletion": (2, "its hash", edited(2, lambda one: setattr(one.changes[0], "deleted", True))),
    "a deletion become a value": (3, "its hash", edited(3, lambda one: one.changes[0].value.SetInParent())),
    "a change less": (1, "its hash", edited(1, lambda one: one.changes.pop())),
    "a change more": (2, "its hash", edited(2, lambda one: one.changes.append(change("y", 1)))),
    "an author": (2, "its hash", edited(2, lambda one: setattr(one.version, "author", "eve"))),
    "an author's standing": (2, "its hash", edited(2, lambda one: setattr(one.version, "author_verified", True))),
    "a reason": (2, "its hash", edited(2, lambda one: setattr(one.version, "message", "no"))),
    "a time": (2, "its hash", edited(2, lambda one: one.version.commit_time.FromMicroseconds(1))),
    "a source": (1, "its hash", edited(1, lambda one: setattr(one.version, "source_config", "other"))),
    "a key count": (2, "its hash", edited(2, lambda one: setattr(one.version, "key_count", 3))),
    "a change count": (2, "its hash", edited(2, lambda one: setattr(one.version, "change_count", 2))),
    "a hash": (2, "its hash", edited(2, lambda one: setattr(one.version, "hash", b"2" * 32))),
    "a version left out": (2, "was left out", lambda versions: versions.pop(1)),
    "the first left out": (1, "was left out", lambda versions: versions.pop(0)),
    "a version twice": (2, "was left out", lambda versions: versions.insert(1, versions[0])),
    "another config's version": (2, "was left out", edited(2, lambda one: setattr(one.version, "config", "other"))),
    "another past": (3, "is another one than this config stands on", rewritten),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_an_error_that_names_config_and_version(versions: list[pb.VersionChanges], name: str) -> None:
    """P5: never a wrong value; the first version that is not as it was is named."""
    number, what, lie = LIES[name]
    stands = base(versions)
    begin = pb.ConfigVersion.FromString(head(versions).SerializeToString())
    lie(versions)
    if name == "a deletion become a value":
        versions[2].changes[0].value.CopyFrom(pb.Value(int64=450))
    with pytest.raises(lamina.DataLossError, match=f"version {number} of app .*{what}") as caught:
        verify(stands, begin, message(*versions))
    assert caught.value.reason == "HASH_MISMATCH"


def test_a_key_count_that_the_hash_confirms_is_counted() -> None:
    versions = chain(*COMMITS)
    second = versions[1].version
    second.key_count = 7
    second.hash = version_hash(second, versions[0].version.hash, [digest(2, change("x", 28))])
    with pytest.raises(lamina.DataLossError, match="version 2 of app says that it has 7 keys, and has 2"):
        verify(base(versions), head(versions), message(*versions))


def test_a_bookmark_beyond_what_was_sent(versions: list[pb.VersionChanges]) -> None:
    with pytest.raises(lamina.DataLossError, match="version 2 of app was left out"):
        verify(base(versions), head(versions), message(versions[0], bookmark=3))


def test_a_first_version_that_only_says_that_it_is_empty(versions: list[pb.VersionChanges]) -> None:
    begin = pb.ConfigVersion.FromString(head(versions).SerializeToString())
    begin.change_count = 0
    with pytest.raises(lamina.DataLossError, match="version 1 of app does not match its hash"):
        verify(base(versions), begin)


SHOWN: dict[str, dict[str, tuple[Any, int]]] = {
    "another value": {"x": (27, 2)},
    "another kind": {"x": (28.0, 2)},
    "another origin": {"x": (28, 1)},
    "a key too many": {"x": (28, 2), "y": (450, 1)},
    "a key too few": {},
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_map_that_the_config_shows_is_the_chain_s(versions: list[pb.VersionChanges], name: str) -> None:
    """P5: the chain may be intact and the map that was read beside it not."""
    with pytest.raises(lamina.DataLossError, match=r"version 3 of app does not have '[xy]' as this config shows it"):
        verify(base(versions, SHOWN[name]), head(versions), message(*versions))


def test_fields_cannot_be_moved_into_each_other() -> None:
    """Each field is preceded by its length."""
    field = lambda content: len(content).to_bytes(8, "big") + content  # noqa: E731
    number = (3).to_bytes(8, "big")
    expected = hashlib.sha256(
        b"".join(map(field, (b"lamina/value/1", b"app", number, b"x", b"STRING", "é".encode()))),
    )
    assert value_digest("app", 3, "x", load(pb.Value(string="é"))) == expected.digest()
