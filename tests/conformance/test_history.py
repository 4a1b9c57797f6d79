"""The history of a key, and all changes of a config in order."""

from itertools import islice

import pytest

from lamina_server.domain.planning import Author
from lamina_server.domain.records import KeyChange
from lamina_server.domain.selection import KeyFilter
from lamina_server.store.contract import Store
from tests.conformance.commits import CONFIG, DELETED, change, commit, insert, value


class TestKeyHistory:
    @pytest.fixture(autouse=True)
    def _six_versions(self, store: Store) -> None:
        for number, changes in enumerate(({"x": 1, "y": 1}, {"x": 2}, {"y": 2}, {"x": DELETED}, {"xx": 1}, {"x": 1})):
            author = Author(f"author {number + 1}")
            commit(store, changes, author=author, message=f"message {number + 1}", now_us=100 * number)
        commit(store, {"x": 9}, config="other")

    def test_each_change_has_the_version_author_message_and_time(self, store: Store) -> None:
        with store.read() as reading:
            history = reading.key_history(CONFIG, "x", after=1, before=6, limit=10, newest_first=False)
        assert history == [
            KeyChange("x", value(2), 2, "author 2", "message 2", 100),
            KeyChange("x", None, 4, "author 4", "message 4", 300),
        ]

    @pytest.mark.parametrize(
        ("after", "before", "limit", "newest_first", "expected"),
        [
            (0, 7, 10, False, [1, 2, 4, 6]),
            (0, 7, 10, True, [6, 4, 2, 1]),
            (0, 7, 3, True, [6, 4, 2]),
            (0, 2, 3, True, [1]),
            (2, 6, 10, False, [4]),
            (2, 7, 1, False, [4]),
            (6, 2**62, 1, False, []),
            (0, 7, 0, False, []),
        ],
    )
    def test_a_history_lies_between_its_bounds(
        self,
        store: Store,
        after: int,
        before: int,
        limit: int,
        newest_first: bool,
        expected: list[int],
    ) -> None:
        with store.read() as reading:
            history = reading.key_history(
                CONFIG, "x", after=after, before=before, limit=limit, newest_first=newest_first
            )
        assert [change.version for change in history] == expected

    def test_a_key_that_was_never_set_has_no_history(self, store: Store) -> None:
        with store.read() as reading:
            assert reading.key_history(CONFIG, "X", after=0, before=9, limit=9, newest_first=False) == []
            assert reading.key_history("nowhere", "x", after=0, before=9, limit=9, newest_first=False) == []


class TestChanges:
    def test_changes_after_a_position_are_in_order_of_version_and_key(self, store: Store) -> None:
        history = [{"b": 1, "a": 1, "c": 1}, {"b": DELETED}, {"é": 1, "z": 2, "a": 3}]
        for changes in history:
            commit(store, changes)
        everything = [
            (number, change(key, changes[key])) for number, changes in enumerate(history, 1) for key in sorted(changes)
        ]
        with store.read() as reading:
            assert list(reading.changes(CONFIG, after=(0, ""), through=3)) == everything
            assert list(reading.changes(CONFIG, after=(0, ""), through=99)) == everything
            assert list(reading.changes(CONFIG, after=(0, ""), through=2)) == everything[:4]
            assert list(reading.changes("nowhere", after=(0, ""), through=2)) == []
            for place in [(number, each.key) for number, each in everything] + [(1, ""), (2, ""), (3, "b"), (4, "")]:
                after = [each for each in everything if (each[0], each[1].key) > place]
                assert list(reading.changes(CONFIG, after=place, through=3)) == after

    def test_configs_do_not_mix(self, store: Store) -> None:
        for number in range(4):
            commit(store, {"x": number}, config="one")
            commit(store, {"x": -number}, config="two")
        with store.read() as reading:
            found = [each.value for _, each in reading.changes("two", after=(1, "x"), through=4)]
        assert found == [value(-1), value(-2), value(-3)]

    def test_a_large_version_and_many_small_ones_are_read_lazily(self, store: Store) -> None:
        keys = [f"key/{number:05}" for number in range(5_000)]
        commit(store, dict.fromkeys(keys, 0))
        with store.write() as writing:
            for number in range(200):
                insert(writing, CONFIG, {"n": number, keys[number]: number})
        with store.read() as reading:
            first = [each.key for _, each in islice(reading.changes(CONFIG, after=(1, keys[9]), through=201), 3)]
            everything = [(number, each.key) for number, each in reading.changes(CONFIG, after=(0, ""), through=201)]
            wanted = KeyFilter(keys=("n",))
            counted = [each.value for _, each in reading.changes(CONFIG, after=(0, ""), through=201, wanted=wanted)]
        assert first == keys[10:13]
        assert len(everything) == 5_400
        assert everything == sorted(everything)
        assert counted == [value(number) for number in range(200)]
