"""Headers: the head, the log, times, changed keys, and the list of configs."""

import pytest

from lamina_server.domain.planning import Author
from lamina_server.domain.records import CHANGED_KEYS_LIMIT, Source
from lamina_server.store.contract import Store
from tests.conformance.commits import CONFIG, DELETED, commit, insert


class TestHead:
    def test_a_config_that_does_not_exist_has_no_head(self, store: Store) -> None:
        with store.read() as reading:
            assert reading.head(CONFIG) is None
            assert reading.versions(CONFIG, [1, 2]) == {}
            assert reading.log(CONFIG, after=0, before=10, limit=10, newest_first=True) == []
            assert reading.version_at(CONFIG, 10**18) == 0
            assert reading.newest_commit_time_us() == 0

    def test_the_head_is_the_newest_version_as_it_was_planned(self, store: Store) -> None:
        first = commit(store, {"x": 27, "y": 450}, message="begin", author=Author("ada", verified=True), now_us=10)
        second = commit(store, {"x": 28}, message="zeile\n2 é 😀", author=Author("grace", verified=False))
        assert (first.number, second.number) == (1, 2)
        with store.read() as reading:
            assert reading.head(CONFIG) == second
            assert reading.versions(CONFIG, [1, 2]) == {1: first, 2: second}

    def test_a_source_is_kept(self, store: Store) -> None:
        source = Source("payments/base", 7, b"h" * 32)
        commit(store, {"x": 1}, source=source)
        with store.read() as reading:
            head = reading.head(CONFIG)
        assert head is not None
        assert head.source == source

    def test_a_first_version_may_be_empty(self, store: Store) -> None:
        """A fork of an empty map is a version without a change."""
        version = commit(store, {}, source=Source("payments/base", 1, b"h" * 32))
        with store.read() as reading:
            assert reading.head(CONFIG) == version
            assert list(reading.entries(CONFIG, 1)) == []
            assert reading.changed_keys(CONFIG, [1]) == {}


class TestVersions:
    def test_versions_that_do_not_exist_are_left_out(self, store: Store) -> None:
        first = commit(store, {"x": 1})
        with store.read() as reading:
            assert reading.versions(CONFIG, [0, -1, 1, 2, 2**60]) == {1: first}
            assert reading.versions(CONFIG, []) == {}

    def test_more_versions_than_fit_into_one_statement(self, store: Store) -> None:
        with store.write() as writing:
            made = {n: insert(writing, CONFIG, {"x": n}) for n in range(1, 31)}
        with store.read() as reading:
            assert reading.versions(CONFIG, range(40_000)) == made


class TestLog:
    @pytest.fixture(autouse=True)
    def _nine_versions(self, store: Store) -> None:
        with store.write() as writing:
            for number in range(1, 10):
                insert(writing, CONFIG, {"x": number})
            insert(writing, "payments", {"x": 0})

    @pytest.mark.parametrize(
        ("after", "before", "limit", "newest_first", "expected"),
        [
            (0, 10, 100, False, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (0, 10, 100, True, [9, 8, 7, 6, 5, 4, 3, 2, 1]),
            (0, 10, 2, True, [9, 8]),
            (0, 8, 2, True, [7, 6]),
            (3, 10, 2, False, [4, 5]),
            (3, 4, 2, False, []),
            (3, 5, 2, True, [4]),
            (9, 2**62, 2, False, []),
            (-5, 2, 2, True, [1]),
            (0, 10, 0, True, []),
        ],
    )
    def test_the_log_lies_between_its_bounds(
        self,
        store: Store,
        after: int,
        before: int,
        limit: int,
        newest_first: bool,
        expected: list[int],
    ) -> None:
        with store.read() as reading:
            log = reading.log(CONFIG, after=after, before=before, limit=limit, newest_first=newest_first)
        assert [version.number for version in log] == expected


class TestVersionAt:
    def test_it_is_the_newest_version_up_to_the_time(self, store: Store) -> None:
        for time_us in (10, 20, 30, 40, 50):
            commit(store, {"x": time_us}, now_us=time_us)
        commit(store, {"x": 0}, now_us=5, config="other")
        with store.read() as reading:
            found = {time_us: reading.version_at(CONFIG, time_us) for time_us in (-1, 9, 10, 11, 35, 49, 50, 2**62)}
        assert found == {-1: 0, 9: 0, 10: 1, 11: 1, 35: 3, 49: 4, 50: 5, 2**62: 5}

    def test_the_version_that_was_written_last_tells_its_time(self, store: Store) -> None:
        for config, time_us in (("a", 10), ("b", 30), ("a", 20)):
            commit(store, {"x": time_us}, now_us=time_us, config=config)
        with store.read() as reading:
            assert reading.newest_commit_time_us() == 20

    def test_every_version_is_found_by_its_own_time(self, store: Store) -> None:
        with store.write() as writing:
            made = [insert(writing, CONFIG, {"x": n}, now_us=1_000) for n in range(33)]  # a clock that stands still
        with store.read() as reading:
            assert [reading.version_at(CONFIG, version.commit_time_us) for version in made] == list(range(1, 34))


class TestChangedKeys:
    def test_changed_keys_are_in_order_and_include_deleted_keys(self, store: Store) -> None:
        commit(store, {"b": 1, "a": 1, "ä": 1, "Z": 1})
        commit(store, {"c": 1, "a": DELETED})
        with store.read() as reading:
            assert reading.changed_keys(CONFIG, [1, 2, 3]) == {1: ["Z", "a", "b", "ä"], 2: ["a", "c"]}
            assert reading.changed_keys(CONFIG, []) == {}

    def test_only_the_first_hundred_keys_are_returned(self, store: Store) -> None:
        keys = [f"key/{number:04}" for number in range(CHANGED_KEYS_LIMIT + 50)]
        commit(store, dict.fromkeys(keys, 1))
        commit(store, dict.fromkeys(keys[:CHANGED_KEYS_LIMIT], 2))
        with store.read() as reading:
            changed = reading.changed_keys(CONFIG, [1, 2])
        assert changed == {1: keys[:CHANGED_KEYS_LIMIT], 2: keys[:CHANGED_KEYS_LIMIT]}


class TestConfigs:
    @pytest.fixture(autouse=True)
    def _five_configs(self, store: Store) -> None:
        for number, config in enumerate(("b", "a/2", "B", "a/10", "a")):
            commit(store, {"x": 1}, config=config, now_us=100 * number)
        commit(store, {"x": 2}, config="b", now_us=1_000)

    def test_configs_are_in_order_of_name_with_head_and_creation_time(self, store: Store) -> None:
        with store.read() as reading:
            summaries = reading.configs(prefix="", after="", limit=100)
            heads = [reading.head(summary.name) for summary in summaries]
        assert [summary.name for summary in summaries] == ["B", "a", "a/10", "a/2", "b"]
        assert [summary.head for summary in summaries] == heads
        assert [summary.create_time_us for summary in summaries] == [200, 400, 300, 100, 0]
        assert summaries[-1].head.number == 2

    @pytest.mark.parametrize(
        ("prefix", "after", "limit", "expected"),
        [
            ("a", "", 10, ["a", "a/10", "a/2"]),
            ("a/", "", 10, ["a/10", "a/2"]),
            ("a/", "a/10", 10, ["a/2"]),
            ("", "a/2", 10, ["b"]),
            ("", "", 2, ["B", "a"]),
            ("a_", "", 10, []),
            ("%", "", 10, []),
            ("b", "z", 10, []),
            ("A", "", 10, []),
        ],
    )
    def test_by_prefix_and_page(self, store: Store, prefix: str, after: str, limit: int, expected: list[str]) -> None:
        with store.read() as reading:
            names = [each.name for each in reading.configs(prefix=prefix, after=after, limit=limit)]
        assert names == expected
