"""The walk along a hash chain, against scripted streams: the intact ones pass, and each forgery is an error."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import lamina
from lamina._mapping.entries import Entries
from lamina._mapping.values import load
from lamina._streams.verify import ChainWalk
from lamina._wire.hashing import NO_PARENT, value_digest, version_hash
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
    """Make the entries of a config at the last version; `content` has the value and the origin by key."""
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


def test_an_intact_chain_is_verified(versions: list[pb.VersionChanges]) -> None:
    script = Script(head(versions), message(*versions[:2]), message(versions[2], bookmark=3))
    assert verify(base(versions), script=script) == version_of(versions[2].version)
    script.done()
    ((name, request),) = script.asked
    assert (name, request.version, request.view, request.min_version) == ("GetVersion", 1, pb.HEADER, 3)
    assert [one.after.version for one in script.opened] == [0]


def test_a_config_without_versions_needs_no_call() -> None:
    empty = Entries.empty("app")
    assert verify(empty, script=Script()) is empty.header


def test_versions_after_the_config_s_own_are_ignored(versions: list[pb.VersionChanges]) -> None:
    later = pb.VersionChanges(version=header(4), changes=[change("x", 1)])
    assert verify(base(versions), head(versions), message(*versions, later, bookmark=4)).number == 3


def test_a_version_that_was_cut_between_its_parts(versions: list[pb.VersionChanges]) -> None:
    """P4: a part of a version that is sent again is not counted twice."""
    first = versions[0]
    parts = [
        pb.VersionChanges(version=first.version, changes=first.changes[:1], more=True),
        pb.VersionChanges(version=first.version, changes=first.changes[1:]),
    ]
    script = Script(head(versions), message(parts[0]), CUT, message(parts[0]), message(parts[1], *versions[1:]))
    assert verify(base(versions), script=script).number == 3
    assert len(script.slept) == 1
    assert [one.after.version for one in script.opened] == [0, 0]


def test_it_resumes_after_the_last_whole_version(versions: list[pb.VersionChanges]) -> None:
    script = Script(head(versions), message(versions[0]), CUT, CUT, message(*versions[1:]))
    assert verify(base(versions), script=script).number == 3
    assert [one.after.version for one in script.opened] == [0, 1, 1]
    assert script.opened[-1].after.hash == versions[0].version.hash


@pytest.mark.parametrize("at", [1, 2])
def test_a_fork_of_an_empty_map(at: int) -> None:
    """Its version 1 has no changes, so no stream contains it."""
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


def test_a_chain_that_is_too_short_is_a_cursor_error(versions: list[pb.VersionChanges]) -> None:
    """P10: the server's head is behind the client, as after a restored backup."""
    ahead = lamina.CursorError("ahead", reason="CURSOR_AHEAD", head=1)
    with pytest.raises(lamina.CursorError) as caught:
        verify(base(versions), ahead)
    assert caught.value.cursor == "3"


def edited(number: int, edit: Callable[[pb.VersionChanges], object]) -> Callable[[list[pb.VersionChanges]], None]:
    def act(versions: list[pb.VersionChanges]) -> None:
        edit(versions[number - 1])

    return act


def rewrite(versions: list[pb.VersionChanges]) -> None:
    """Make another chain of the same length, with correct hashes."""
    versions[:] = chain({"x": 26, "y": 450}, *COMMITS[1:])


FORGERIES: dict[str, tuple[int, str, Callable[[list[pb.VersionChanges]], object]]] = {
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
    "another past": (3, "is another one than this config stands on", rewrite),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_an_error_that_names_config_and_version(versions: list[pb.VersionChanges], name: str) -> None:
    """P5: the error names the first version that was changed."""
    number, what, forge = FORGERIES[name]
    stands = base(versions)
    begin = pb.ConfigVersion.FromString(head(versions).SerializeToString())
    forge(versions)
    if name == "a deletion become a value":
        versions[2].changes[0].value.CopyFrom(pb.Value(int64=450))
    with pytest.raises(lamina.DataLossError, match=f"version {number} of app .*{what}") as caught:
        verify(stands, begin, message(*versions))
    assert caught.value.reason == "HASH_MISMATCH"


def test_a_wrong_key_count_with_a_right_hash_is_an_error() -> None:
    versions = chain(*COMMITS)
    second = versions[1].version
    second.key_count = 7
    second.hash = version_hash(second, versions[0].version.hash, [digest(2, change("x", 28))])
    with pytest.raises(lamina.DataLossError, match="version 2 of app says that it has 7 keys, and has 2"):
        verify(base(versions), head(versions), message(*versions))


def test_a_bookmark_after_a_missing_version_is_an_error(versions: list[pb.VersionChanges]) -> None:
    with pytest.raises(lamina.DataLossError, match="version 2 of app was left out"):
        verify(base(versions), head(versions), message(versions[0], bookmark=3))


def test_a_first_version_that_claims_to_be_empty_is_an_error(versions: list[pb.VersionChanges]) -> None:
    begin = pb.ConfigVersion.FromString(head(versions).SerializeToString())
    begin.change_count = 0
    with pytest.raises(lamina.DataLossError, match="version 1 of app does not match its hash"):
        verify(base(versions), begin)


WRONG_MAPS: dict[str, dict[str, tuple[Any, int]]] = {
    "another value": {"x": (27, 2)},
    "another kind": {"x": (28.0, 2)},
    "another origin": {"x": (28, 1)},
    "a key too many": {"x": (28, 2), "y": (450, 1)},
    "a key too few": {},
}


@pytest.mark.parametrize("name", WRONG_MAPS)
def test_a_map_that_differs_from_the_chain_is_an_error(versions: list[pb.VersionChanges], name: str) -> None:
    """P5: the chain may be intact while the map that was read is wrong."""
    with pytest.raises(lamina.DataLossError, match=r"version 3 of app does not have '[xy]' as this config shows it"):
        verify(base(versions, WRONG_MAPS[name]), head(versions), message(*versions))


def test_each_field_is_hashed_with_its_length() -> None:
    """So no content can be moved from one field into the next."""
    field = lambda content: len(content).to_bytes(8, "big") + content  # noqa: E731
    number = (3).to_bytes(8, "big")
    expected = hashlib.sha256(
        b"".join(map(field, (b"lamina/value/1", b"app", number, b"x", b"STRING", "é".encode()))),
    )
    assert value_digest("app", 3, "x", load(pb.Value(string="é"))) == expected.digest()
