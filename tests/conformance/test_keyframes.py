"""Keyframes change no answer, only its cost, and a damaged one is not used."""

from typing import Any

import pytest

from lamina_server.domain.selection import KeyFilter
from lamina_server.store.contract import Reading, Store
from tests.conformance.commits import CONFIG, DELETED, commit
from tests.conformance.places import Capability, Place, damage

HISTORY: list[dict[str, Any]] = [
    {"a": 1, "b": 1, "c": 1},
    {"a": 2, "d": 1},
    {"b": DELETED},
    {"b": 2, "c": DELETED},
    {"a": 3, "é": 1},
    {"a": 1},
]


def answers(reading: Reading) -> list[object]:
    """Return all answers that a keyframe could change."""
    head = reading.head(CONFIG)
    assert head is not None
    filters = [KeyFilter(), KeyFilter(prefixes=("a", "c")), KeyFilter(keys=("b", "d"))]
    numbers = range(1, head.number + 1)
    return [
        [list(reading.entries(CONFIG, number, wanted)) for number in numbers for wanted in filters],
        [list(reading.entries(CONFIG, number, after="a")) for number in numbers],
        [reading.states(CONFIG, number, ["a", "b", "c", "d", "é"]) for number in numbers],
        list(reading.changed_between(CONFIG, 1, head.number)),
        list(reading.changes(CONFIG, after=(0, ""), through=head.number)),
    ]


def ask(store: Store) -> list[object]:
    with store.read() as reading:
        return answers(reading)


class TestKeyframes:
    def test_the_values_since_a_keyframe_are_counted(self, store: Store) -> None:
        assert store.originated_since_keyframe(CONFIG) == 0
        commit(store, {"a": 1, "b": 1})
        commit(store, {"a": 2, "b": DELETED})
        commit(store, {"x": 1}, config="other")
        assert store.originated_since_keyframe(CONFIG) == 4
        store.write_keyframe(CONFIG)
        assert store.originated_since_keyframe(CONFIG) == 0
        commit(store, {"a": 3})
        assert store.originated_since_keyframe(CONFIG) == 1
        assert store.originated_since_keyframe("other") == 1

    def test_no_keyframe_is_written_of_an_empty_map(self, store: Store) -> None:
        store.write_keyframe(CONFIG)
        commit(store, {"a": 1})
        commit(store, {"a": DELETED})
        store.write_keyframe(CONFIG)
        assert store.originated_since_keyframe(CONFIG) == 2

    def test_a_second_keyframe_at_the_same_version_is_not_written(self, store: Store) -> None:
        commit(store, {"a": 1})
        store.write_keyframe(CONFIG)
        store.write_keyframe(CONFIG)
        assert store.originated_since_keyframe(CONFIG) == 0

    @pytest.mark.parametrize("at", [{6}, {1}, {3}, {2, 4}, {1, 2, 3, 4, 5, 6}])
    def test_keyframes_change_no_answer(self, store: Store, at: set[int]) -> None:
        for number, changes in enumerate(HISTORY, 1):
            commit(store, changes)
            commit(store, {"a": number}, config="other")
            if number not in at:
                continue
            before = ask(store)
            store.write_keyframe(CONFIG)
            assert ask(store) == before
        with_keyframes = ask(store)
        for changes in HISTORY:
            commit(store, changes, config="twin")
        with store.read() as reading:
            twins = [list(reading.entries("twin", number)) for number in range(1, 7)]
        assert with_keyframes[0][:18:3] == twins  # type: ignore[index]


LINES = "config_value_association"
_THE_LINE = (
    "config_id = (SELECT id FROM config WHERE version = :at AND config_name_id ="
    " (SELECT config_name_id FROM config_value WHERE name = 'd')) AND config_value_id = {}"
)
_D, _A = (f"(SELECT id FROM config_value WHERE name = '{key}' AND version = 2)" for key in "da")


def delete(line: str) -> str:
    return f"DELETE FROM {LINES} WHERE {_THE_LINE.format(line)}"


def replace(line: str, name: str, version: int) -> str:
    """Make a line name another value."""
    other = f"(SELECT id FROM config_value WHERE name = '{name}' AND version = {version})"
    return f"UPDATE {LINES} SET config_value_id = {other} WHERE {_THE_LINE.format(line)}"


DAMAGES = {
    "a line is missing": delete(_D),
    "an older value of the key": replace(_A, "a", 1),
    "a newer value of the key": replace(_A, "a", 5),
    "a value of a deleted key": replace(_D, "c", 1),
    "a tombstone": replace(_D, "c", 4),
    "a value of another config": replace(_D, "foreign", 1),
    "a value that does not exist": (f"UPDATE {LINES} SET config_value_id = 1000000000 WHERE {_THE_LINE.format(_D)}"),
    "one line too many": (
        f"INSERT INTO {LINES} (config_id, config_value_id) SELECT config.id, config_value.id FROM config"
        " JOIN config_value ON config_value.config_name_id = config.config_name_id"
        " WHERE config.version = :at AND config_value.name = 'c' AND config_value.version = 1"
    ),
}


class TestDamagedKeyframes:
    """The keyframe at version 4 is damaged, the one at version 2 is whole. The map at 4 is a=2, b=2, d=1."""

    @pytest.fixture(autouse=True)
    def _history(self, place: Place, store: Store) -> None:
        place.need(Capability.ROWS)
        commit(store, {"foreign": 1}, config="other")
        for number, changes in enumerate(HISTORY, 1):
            commit(store, changes)
            if number in {2, 4}:
                store.write_keyframe(CONFIG)

    @pytest.mark.parametrize("name", DAMAGES)
    def test_a_damaged_keyframe_is_skipped_and_the_next_is_written_at_the_head(self, store: Store, name: str) -> None:
        before = ask(store)
        assert store.originated_since_keyframe(CONFIG) == 3
        damage(store, DAMAGES[name], at=4)
        assert ask(store) == before
        assert store.originated_since_keyframe(CONFIG) == 6
        store.write_keyframe(CONFIG)
        assert ask(store) == before
        assert store.originated_since_keyframe(CONFIG) == 0

    def test_all_keyframes_may_be_damaged(self, store: Store) -> None:
        before = ask(store)
        damage(store, f"DELETE FROM {LINES} WHERE config_value_id = {_D}")
        assert ask(store) == before
        assert store.originated_since_keyframe(CONFIG) == 11

    def test_a_damaged_keyframe_at_the_head_is_not_written_again(self, store: Store) -> None:
        store.write_keyframe(CONFIG)
        before = ask(store)
        damage(store, DAMAGES["a line is missing"], at=6)
        store.write_keyframe(CONFIG)
        assert ask(store) == before
        assert store.originated_since_keyframe(CONFIG) == 3
        commit(store, {"a": 4})
        store.write_keyframe(CONFIG)
        assert store.originated_since_keyframe(CONFIG) == 0
