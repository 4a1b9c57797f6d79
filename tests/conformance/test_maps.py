"""Maps at any version: entries, states, and what changed between two versions."""

from collections.abc import Iterator
from itertools import islice, product

import pytest

from lamina_server.domain.records import Entry, State
from lamina_server.domain.selection import KeyFilter
from lamina_server.store.contract import Store
from tests.conformance.commits import CONFIG, DELETED, commit, insert, map_at, value, values

HIGHEST = "\U0010ffff"
ODD_KEYS = [
    "A", "a", "a b", "a%", "a_", "ab", "b", "e\u0301", "z", "\u00e9", "\u0416", "\u65e5\u672c", "\ud7ff", "\ue000",
    "\uffff", "\U00010000", "\U0001f600", f"a{HIGHEST}", f"a{HIGHEST}b", HIGHEST, HIGHEST * 2,
]  # fmt: skip
"""Keys that another collation, UTF-16 or LIKE would order or match otherwise."""


class TestEntries:
    def test_the_worked_example(self, store: Store) -> None:
        """The example of the architecture: set, set again, deleted."""
        commit(store, {"x": 27, "y": 450})
        commit(store, {"x": 28})
        commit(store, {"y": DELETED})
        with store.read() as reading:
            assert list(reading.entries(CONFIG, 1)) == [Entry("x", value(27), 1), Entry("y", value(450), 1)]
            assert list(reading.entries(CONFIG, 2)) == [Entry("x", value(28), 2), Entry("y", value(450), 1)]
            assert list(reading.entries(CONFIG, 3)) == [Entry("x", value(28), 2)]

    def test_a_version_that_does_not_exist_has_no_entries(self, store: Store) -> None:
        commit(store, {"x": 1})
        with store.read() as reading:
            for number in (0, -1, 2, 2**60):
                assert list(reading.entries(CONFIG, number)) == []
                assert list(reading.entries(CONFIG, number, KeyFilter(keys=("x",)))) == []
                assert reading.states(CONFIG, number, ["x"]) == {}
            assert list(reading.entries("nowhere", 1)) == []

    def test_a_key_can_be_deleted_and_set_again(self, store: Store) -> None:
        for data in (1, DELETED, 1, DELETED, None):
            commit(store, {"x": data})
        with store.read() as reading:
            maps = [map_at(reading, number) for number in range(1, 6)]
            origins = [entry.origin for number in (1, 3, 5) for entry in reading.entries(CONFIG, number)]
        assert maps == [values({"x": 1}), {}, values({"x": 1}), {}, values({"x": None})]
        assert origins == [1, 3, 5]

    def test_keys_are_ordered_by_code_point(self, store: Store) -> None:
        commit(store, {key: number for number, key in enumerate(ODD_KEYS)})
        with store.read() as reading:
            assert list(map_at(reading, 1)) == sorted(ODD_KEYS)
            assert map_at(reading, 1) == {key: value(number) for number, key in enumerate(ODD_KEYS)}

    def test_a_page_can_begin_after_any_key(self, store: Store) -> None:
        commit(store, dict.fromkeys(ODD_KEYS, 1))
        everything = sorted(ODD_KEYS)
        with store.read() as reading:
            for number, key in enumerate(everything):
                assert list(map_at(reading, 1, after=key)) == everything[number + 1 :]
            assert list(map_at(reading, 1, after="a!")) == [key for key in everything if key > "a!"]

    def test_configs_do_not_mix(self, store: Store) -> None:
        for number in range(4):
            commit(store, {"x": number}, config="one")
            commit(store, {"x": -number, "y": 1}, config="two")
        with store.read() as reading:
            for number in range(1, 5):
                assert map_at(reading, number, config="one") == values({"x": number - 1})
                assert map_at(reading, number, config="two") == values({"x": 1 - number, "y": 1})

    def test_more_keys_than_a_chunk_has_are_read_lazily(self, store: Store) -> None:
        keys = [f"key/{number:05}" for number in range(3_000)]  # chunks begin at 1,024 rows
        commit(store, dict.fromkeys(keys, 1))
        commit(store, dict.fromkeys(keys[::2], 2))
        with store.read() as reading:
            assert [entry.key for entry in islice(reading.entries(CONFIG, 2), 3)] == keys[:3]
            assert [entry.key for entry in islice(reading.entries(CONFIG, 2, after=keys[1499]), 3)] == keys[1500:1503]
            assert [entry.origin for entry in reading.entries(CONFIG, 2)] == [2, 1] * 1_500
            assert list(islice(reading.changed_between(CONFIG, 1, 2), 3)) == keys[:6:2]
            assert sum(1 for _ in reading.changed_between(CONFIG, 0, 2)) == 3_000


FILTERS = [
    KeyFilter(keys=("a",)),
    KeyFilter(keys=("b", "a", "nowhere", "b")),
    KeyFilter(prefixes=("a",)),
    KeyFilter(prefixes=("a_", "a%")),
    KeyFilter(prefixes=("A",)),
    KeyFilter(prefixes=("a", "ab", "a")),
    KeyFilter(prefixes=("z", "a")),
    KeyFilter(prefixes=(f"a{HIGHEST}",)),
    KeyFilter(prefixes=(HIGHEST,)),
    KeyFilter(prefixes=("\ud7ff",)),
    KeyFilter(prefixes=("nowhere",)),
    KeyFilter(prefixes=("",)),
    KeyFilter(keys=("z", "\u00e9"), prefixes=("a", "\U00010000")),
    KeyFilter(keys=("a",), prefixes=("a",)),
    KeyFilter(keys=(HIGHEST,), prefixes=("b",)),
]


def wanted_of(keys: list[str], wanted: KeyFilter) -> list[str]:
    """Filter in the contract's words, without the code of a store."""
    return sorted(key for key in keys if key in wanted.keys or any(key.startswith(each) for each in wanted.prefixes))


class TestFilters:
    @pytest.fixture(autouse=True)
    def _keys_old_and_new(self, store: Store) -> None:
        with store.write() as writing:
            insert(writing, CONFIG, dict.fromkeys(ODD_KEYS[::2], 1))
            insert(writing, CONFIG, dict.fromkeys(ODD_KEYS[1::2], 2))
            insert(writing, CONFIG, {"b!": 3, "other": 3})
            insert(writing, CONFIG, {"b!": DELETED})

    def test_entries(self, store: Store) -> None:
        with store.read() as reading:
            for wanted in FILTERS:
                expected = wanted_of([*ODD_KEYS, "other"], wanted)
                assert list(map_at(reading, 4, wanted)) == expected, wanted
                for after in ("a", "b", "\ud7ff", HIGHEST):
                    rest = [key for key in expected if key > after]
                    assert list(map_at(reading, 4, wanted, after=after)) == rest, wanted

    def test_changed_between(self, store: Store) -> None:
        ranges: tuple[tuple[int, int, list[str]], ...] = (
            (1, 2, ODD_KEYS[1::2]),
            (0, 4, [*ODD_KEYS, "b!", "other"]),
            (2, 2, []),
        )
        with store.read() as reading:
            for wanted, (low, high, changed) in product(FILTERS, ranges):
                expected = wanted_of(changed, wanted)
                assert list(reading.changed_between(CONFIG, low, high, wanted)) == expected, wanted
                rest = [key for key in expected if key > "ab"]
                assert list(reading.changed_between(CONFIG, low, high, wanted, after="ab")) == rest, wanted

    def test_changes(self, store: Store) -> None:
        in_one = [key for key in ODD_KEYS[::2] if key > "ab"]
        groups = [(1, in_one), (2, ODD_KEYS[1::2]), (3, ["b!", "other"]), (4, ["b!"])]
        with store.read() as reading:
            for wanted in FILTERS:
                changes = reading.changes(CONFIG, after=(1, "ab"), through=4, wanted=wanted)
                found = [(number, change.key) for number, change in changes]
                assert found == [(number, key) for number, keys in groups for key in wanted_of(keys, wanted)], wanted


def test_a_filter_of_a_thousand(store: Store) -> None:
    keys = [f"{number:04}/{each}" for number in range(1_000) for each in "ab"]
    commit(store, dict.fromkeys(keys, 1))
    by_key = KeyFilter(keys=tuple(keys[::2]))
    by_prefix = KeyFilter(prefixes=tuple(key[:5] for key in keys[::4]))
    mixed = KeyFilter(keys=tuple(keys[:500]), prefixes=tuple(key[:6] for key in keys[1000:1500]))
    with store.read() as reading:
        for wanted, expected in (
            (by_key, keys[::2]),
            (by_prefix, [key for number, key in enumerate(keys) if number % 4 < 2]),
            (mixed, keys[:500] + keys[1000:1500]),
        ):
            assert list(map_at(reading, 1, wanted)) == expected
            assert list(reading.changed_between(CONFIG, 0, 1, wanted)) == expected
            assert [
                change.key for _, change in reading.changes(CONFIG, after=(0, ""), through=1, wanted=wanted)
            ] == expected


class TestStates:
    def test_states_include_tombstones_and_origins(self, store: Store) -> None:
        commit(store, {"x": 27, "y": 450})
        commit(store, {"x": 28})
        commit(store, {"y": DELETED})
        one, two = State(value(27), 1), State(value(450), 1)
        with store.read() as reading:
            assert reading.states(CONFIG, 1, ["x", "y", "never"]) == {"x": one, "y": two}
            assert reading.states(CONFIG, 2, ["x"]) == {"x": State(value(28), 2)}
            assert reading.states(CONFIG, 3, ["x", "y"]) == {"x": State(value(28), 2), "y": State(None, 3)}
            assert reading.states(CONFIG, 3, []) == {}

    def test_odd_keys(self, store: Store) -> None:
        odd = [*ODD_KEYS, '"', "\\", "'", "[1]", "a/b c"]
        commit(store, {key: number for number, key in enumerate(odd)})
        with store.read() as reading:
            assert reading.states(CONFIG, 1, odd) == {key: State(value(n), 1) for n, key in enumerate(odd)}

    def test_thousands_at_once(self, store: Store) -> None:
        keys = [f"key/{number}" for number in range(2_001)]  # 1,000 are asked for at once
        commit(store, dict.fromkeys(keys, 1))
        commit(store, dict.fromkeys(keys[::5], 2))
        with store.read() as reading:
            states = reading.states(CONFIG, 2, set(keys) | {"never"})
        assert states == {key: State(value(1 if n % 5 else 2), 1 if n % 5 else 2) for n, key in enumerate(keys)}


class TestChangedBetween:
    @pytest.fixture(autouse=True)
    def _five_versions(self, store: Store) -> None:
        for changes in ({"x": 1, "y": 1}, {"x": 2}, {"x": 1}, {"z": 1}, {"z": DELETED}):
            commit(store, changes)

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0, 1, ["x", "y"]),
            (1, 3, ["x"]),  # changed and changed back: the caller compares the states
            (3, 5, ["z"]),
            (0, 5, ["x", "y", "z"]),
            (0, 99, ["x", "y", "z"]),
            (5, 5, []),
            (3, 1, []),
        ],
    )
    def test_the_range_excludes_low_and_includes_high(
        self, store: Store, low: int, high: int, expected: list[str]
    ) -> None:
        with store.read() as reading:
            assert list(reading.changed_between(CONFIG, low, high)) == expected
            assert list(reading.changed_between("nowhere", low, high)) == []


def test_an_iterator_need_not_be_read_to_its_end(store: Store) -> None:
    """A caller may stop early or ask something else in between: all answers are right, then and later."""
    commit(store, {f"key/{number:05}": number for number in range(3_000)})
    with store.read() as reading:
        one, two = iter(reading.entries(CONFIG, 1)), iter(reading.entries(CONFIG, 1))
        pairs: Iterator[tuple[Entry, Entry]] = zip(one, two, strict=True)
        assert all(left == right for left, right in islice(pairs, 2_000))
        assert reading.head(CONFIG) is not None
        assert next(one).key == "key/02000"
    commit(store, {"key/00000": -1})
    with store.read() as reading:
        assert map_at(reading, 2, KeyFilter(keys=("key/00000",))) == values({"key/00000": -1})
