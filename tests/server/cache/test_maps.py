"""Random heads in memory, compared with a list of dicts: each version that a head still has shows the right map."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.cache.encoded import EncodedChanges
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.cache.maps import HeadMap
from lamina_server.domain.planning import Author, MapLimits, plan
from lamina_server.domain.records import Change, Entry, VersionChanges
from lamina_server.domain.values import Value
from lamina_server.wire.codec import WireCodec

CODEC = WireCodec()
KEYS = [f"key/{number:02}" for number in range(12)]
histories = st.lists(st.dictionaries(st.sampled_from(KEYS), st.none() | st.integers(0, 3), min_size=1), min_size=1)


class Walk:
    """A head that was advanced version by version, and the map that each version must have."""

    def __init__(self, history: list[dict[str, int | None]], *, limits: CacheLimits = DEFAULT_LIMITS) -> None:
        self.maps: list[dict[str, Entry]] = [{}]
        self.made: list[EncodedChanges] = []
        for number, changes in enumerate(history, 1):
            self.made.append(self._make(number, changes))
            entries = {key: Entry(key, Value.of_integer(n), number) for key, n in changes.items() if n is not None}
            kept = {key: entry for key, entry in self.maps[-1].items() if key not in changes}
            self.maps.append(dict(sorted({**kept, **entries}.items())))
        self.head = HeadMap.first(self.made[0], limits=limits)
        for made in self.made[1:]:
            self.head.advance(made)

    def _make(self, number: int, changes: dict[str, int | None]) -> EncodedChanges:
        ordered = [Change(key, None if n is None else Value.of_integer(n)) for key, n in sorted(changes.items())]
        made = plan(
            ordered,
            config="c",
            head=self.made[-1].version if self.made else None,
            values={key: entry.value for key, entry in self.maps[-1].items()},
            author=Author("ada"),
            message=str(number),
            now_us=number,
            limits=MapLimits(keys=100, size_bytes=10_000),
        )
        return EncodedChanges.of(VersionChanges(made.version, tuple(ordered)), CODEC)


@given(history=histories)
def test_the_head_and_recent_versions_keep_their_maps(history: list[dict[str, int | None]]) -> None:
    walk = Walk(history)
    newest = len(history)
    for number in range(1, newest + 1):
        assert walk.head.reaches(number)
        snapshot, expected = walk.head.snapshot_at(number), walk.maps[number]
        assert [CODEC.decode_entry(snapshot.entries[key]) for key in snapshot.keys] == list(expected.values())
        assert set(snapshot.keys) == set(snapshot.entries)
        assert snapshot.size_bytes == sum(map(len, snapshot.entries.values()))
        assert (snapshot.version, snapshot.header) == (walk.made[number - 1].version, walk.made[number - 1].header)
        assert (walk.head.version_at(number), walk.head.header_at(number)) == (snapshot.version, snapshot.header)
        view = walk.head.view_at(number)
        assert (view.version, view.header, view.keys) == (snapshot.version, snapshot.header, snapshot.keys)
        assert {key: view.entries[key] for key in view.keys} == snapshot.entries
        assert [key for key in KEYS if key in view.entries] == [key for key in KEYS if key in snapshot.entries]
        assert view.size_bytes == snapshot.size_bytes
        found = {key: walk.head.entry_at(key, number) for key in KEYS}
        assert found == {key: snapshot.entries.get(key) for key in KEYS}
    assert (walk.head.number, walk.head.keys) == (newest, list(walk.maps[newest]))
    assert walk.head.size_bytes == sum(map(len, walk.head.entries.values()))
    assert not walk.head.reaches(newest + 1)
    assert not walk.head.reaches(0)


@pytest.mark.parametrize("limits", [CacheLimits(undo_versions=3), CacheLimits(undo_bytes=4_000)])
def test_undo_steps_are_bounded(limits: CacheLimits) -> None:
    """P15: by versions, and by bytes."""
    walk = Walk([{"key/00": n} for n in range(20)], limits=limits)
    assert [number for number in range(21) if walk.head.reaches(number)] == [17, 18, 19, 20]
    assert walk.head.version_at(16) is None
    assert walk.head.header_at(16) is None
    assert walk.head.snapshot_at(17).version == walk.made[16].version


def test_many_new_keys_at_once_are_in_order() -> None:
    many: dict[str, Any] = {f"{number:03}": 1 for number in range(80)}
    walk = Walk([{"500": 1, "010x": 1}, many, {"040": None, "500": None}, {**dict.fromkeys(many), "000": 2, "9": 1}])
    assert walk.head.keys == list(walk.maps[4]) == ["000", "010x", "9"]
    walk = Walk([{"500": 1, "010x": 1}, many, {"040": None, "500": None}])
    assert walk.head.keys == list(walk.maps[3])
    assert walk.head.snapshot_at(2).keys == walk.head.view_at(2).keys == list(walk.maps[2])
    assert walk.head.keys == list(walk.maps[3])
    assert walk.head.snapshot_at(1).keys == ["010x", "500"]


@given(history=histories)
def test_changes_between_two_versions_turn_one_into_the_other(history: list[dict[str, int | None]]) -> None:
    walk = Walk(history)
    newest = len(history)
    for base in range(1, newest + 1):
        for number in range(base, newest + 1):
            changes = walk.head.changes_between(base, number, limit_bytes=10**6)
            assert changes is not None
            assert list(changes) == sorted(changes)
            decoded = {key: CODEC.decode_entry(encoded) for key, encoded in changes.items() if encoded is not None}
            kept = {key: entry for key, entry in walk.maps[base].items() if key not in changes}
            assert {**kept, **decoded} == walk.maps[number]


def test_changes_between_versions_are_bounded() -> None:
    walk = Walk([{"key/00": 1}, {"key/01": 2, "key/00": None}, {"key/02": 3}])
    whole = walk.head.changes_between(1, 3, limit_bytes=10**6)
    assert whole is not None
    size_bytes = sum(len(key) + len(encoded or b"") for key, encoded in whole.items())
    assert walk.head.changes_between(1, 3, limit_bytes=size_bytes) == whole
    assert walk.head.changes_between(1, 3, limit_bytes=size_bytes - 1) is None
    assert walk.head.changes_between(0, 3, limit_bytes=10**6) is None, "version 0 is not known here"


@given(history=histories)
def test_a_version_that_changes_too_much_for_a_step_is_the_first_that_is_known(
    history: list[dict[str, int | None]],
) -> None:
    walk = Walk(history, limits=CacheLimits(undo_bytes=900))  # three keys
    assert walk.head.entries == {key: CODEC.encode_entry(entry) for key, entry in walk.maps[-1].items()}
    assert walk.head.keys == list(walk.maps[-1])
    assert walk.head.size_bytes == sum(map(len, walk.head.entries.values()))
    assert not walk.head.reaches(len(history) - 1) or len(history[-1]) <= 3
