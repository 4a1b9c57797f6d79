"""A Hypothesis state machine of the store: its configs are compared with a list of dicts for each."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from lamina_server.domain.selection import KeyFilter
from lamina_server.domain.values import Value
from lamina_server.store.contract import Reading, Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from tests.conformance.commits import DELETED, insert, value

KEYS = ["a", "a/b", "a0", "b", "ü", "\uffff", "\U0001f600", "\U0010ffff"]
keys = st.sampled_from(KEYS)
data = st.sampled_from([None, True, 1, 1.0, "1", b"1", [1], {"k": [None]}, "\U0001f600", ""])
changes = st.dictionaries(keys, data | st.just(DELETED), min_size=1, max_size=4)
filters = st.builds(
    KeyFilter,
    keys=st.lists(keys, max_size=2).map(tuple),
    prefixes=st.lists(st.sampled_from([*KEYS, "", "a/", "z"]), max_size=2).map(tuple),
)


class AbortError(Exception):
    """Raised in a writing block to roll it back."""


class StoreMachine(RuleBasedStateMachine):
    """`maps[config][n]` is the map at version n, and `changed[config][n]` what it changed (None: deleted)."""

    configs: Iterator[int]
    open: Callable[[], Store]
    keeps: bool

    @initialize()
    def begin(self) -> None:
        self.store = self.open()
        run = next(self.configs)  # a database that keeps its data also has the configs of earlier runs
        self.names = [f"run-{run:06}/{name}" for name in ("one", "two")]
        self.maps: dict[str, list[dict[str, Value]]] = {name: [{}] for name in self.names}
        self.changed: dict[str, list[dict[str, Value | None]]] = {name: [{}] for name in self.names}

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    # --- writes ---

    @rule(which=st.integers(0, 1), batch=st.lists(changes, min_size=1, max_size=3))
    def commit(self, which: int, batch: list[dict[str, Any]]) -> None:
        with self.store.write() as writing:
            for each in batch:
                insert(writing, self.names[which], each)
        for each in batch:
            self.model(self.names[which], each)

    @rule(one=changes, two=changes)
    def commit_to_both_at_once(self, one: dict[str, Any], two: dict[str, Any]) -> None:
        with self.store.write() as writing:
            for name, each in zip(self.names, (one, two), strict=True):
                insert(writing, name, each)
                assert writing.head(name) is not None
        for name, each in zip(self.names, (one, two), strict=True):
            self.model(name, each)

    @rule(which=st.integers(0, 1), each=changes)
    def commit_nothing(self, which: int, each: dict[str, Any]) -> None:
        with suppress(AbortError), self.store.write() as writing:
            insert(writing, self.names[which], each)
            self.check_heads(writing, ahead=which)
            raise AbortError

    @rule(which=st.integers(0, 1))
    def delete_everything(self, which: int) -> None:
        name = self.names[which]
        if gone := dict.fromkeys(self.maps[name][-1], DELETED):
            with self.store.write() as writing:
                insert(writing, name, gone)
            self.model(name, gone)

    @rule(which=st.integers(0, 1))
    def write_a_keyframe(self, which: int) -> None:
        name = self.names[which]
        before = self.store.originated_since_keyframe(name)
        self.store.write_keyframe(name)
        assert self.store.originated_since_keyframe(name) == (0 if self.maps[name][-1] else before)

    @precondition(lambda self: self.keeps)
    @rule()
    def open_again(self) -> None:
        self.store.close()
        self.store = self.open()

    # --- reads ---

    @rule()
    def look_at_the_heads(self) -> None:
        with self.store.read() as reading:
            self.check_heads(reading)

    @rule(which=st.integers(0, 1), back=st.integers(0, 12), wanted=filters, after=st.just("") | keys)
    def read_at_any_version(self, which: int, back: int, wanted: KeyFilter, after: str) -> None:
        name, number = self.place(which, back)
        expected = self.maps[name][number]
        with self.store.read() as reading:
            entries = list(reading.entries(name, number, wanted, after=after))
            states = reading.states(name, number, KEYS)
        assert {each.key: each.value for each in entries} == {
            key: each for key, each in expected.items() if key > after and wanted.matches(key)
        }
        assert [each.key for each in entries] == sorted(each.key for each in entries)
        assert all(each.origin == self.origin(name, each.key, number) for each in entries)
        assert {key: each.value for key, each in states.items()} == {
            key: expected.get(key) for key in KEYS if self.origin(name, key, number)
        }
        assert all(each.origin == self.origin(name, key, number) for key, each in states.items())

    @rule(which=st.integers(0, 1), key=keys, newest_first=st.booleans(), limit=st.integers(1, 20))
    def read_a_history(self, which: int, key: str, *, newest_first: bool, limit: int) -> None:
        name = self.names[which]
        past = [(n, each[key]) for n, each in enumerate(self.changed[name]) if key in each]
        with self.store.read() as reading:
            found = reading.key_history(name, key, after=0, before=2**40, limit=limit, newest_first=newest_first)
        assert [(each.version, each.value) for each in found] == (past[::-1] if newest_first else past)[:limit]

    @rule(which=st.integers(0, 1), low=st.integers(0, 12), high=st.integers(0, 12), wanted=filters)
    def read_what_changed(self, which: int, low: int, high: int, wanted: KeyFilter) -> None:
        name, first = self.place(which, low)
        _, last = self.place(which, high)
        span = range(first + 1, last + 1)
        changed = [(n, key, each) for n in span for key, each in sorted(self.changed[name][n].items())]
        kept = [each for each in changed if wanted.matches(each[1])]
        with self.store.read() as reading:
            found = reading.changes(name, after=(first + 1, ""), through=last, wanted=wanted)
            assert [(n, each.key, each.value) for n, each in found] == kept
            assert list(reading.changed_between(name, first, last, wanted)) == sorted({key for _, key, _ in kept})

    # --- the model ---

    def model(self, name: str, each: Mapping[str, Any]) -> None:
        changed = {key: None if one is DELETED else value(one) for key, one in each.items()}
        merged = {**self.maps[name][-1], **changed}
        self.maps[name].append({key: one for key, one in merged.items() if one is not None})
        self.changed[name].append(changed)

    def place(self, which: int, back: int) -> tuple[str, int]:
        name = self.names[which]
        return name, max(0, len(self.maps[name]) - 1 - back)

    def origin(self, name: str, key: str, number: int) -> int:
        """Return the newest version up to `number` that changed a key; 0 if there is none."""
        return max((n for n in range(number + 1) if key in self.changed[name][n]), default=0)

    def check_heads(self, reading: Reading, *, ahead: int | None = None) -> None:
        """Compare heads, log and list; the config `ahead` has one version more than the model."""
        for which, name in enumerate(self.names):
            number = len(self.maps[name]) - 1 + (which == ahead)
            head = reading.head(name)
            assert (head.number if head else 0) == number
            log = reading.log(name, after=0, before=2**40, limit=100, newest_first=False)
            assert [each.number for each in log] == list(range(1, min(number, 100) + 1))
            if head and which != ahead:
                assert head.key_count == len(self.maps[name][-1])
                assert head.change_count == len(self.changed[name][-1])
                assert reading.version_at(name, head.commit_time_us - 1) == number - 1
        prefix = self.names[0].removesuffix("one")
        listed = [each.name for each in reading.configs(prefix=prefix, after="", limit=9)]
        assert listed == [name for which, name in enumerate(self.names) if len(self.maps[name]) > 1 or which == ahead]


def run(open_: Callable[[], Store], *, keeps: bool, examples: int, steps: int = 30) -> None:
    attributes = {"open": staticmethod(open_), "keeps": keeps, "configs": count()}
    machine = type("Machine", (StoreMachine,), attributes)
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=steps))


def test_in_memory() -> None:
    run(MemoryStore, keeps=False, examples=30)


def test_on_a_sqlite_file(tmp_path: Path) -> None:
    run(lambda: open_store(f"sqlite:///{tmp_path}/lamina.db"), keeps=True, examples=25)


def test_on_sqlite_in_memory() -> None:
    run(lambda: open_store("sqlite://"), keeps=False, examples=15)


@pytest.mark.postgres
def test_on_postgresql(postgres_url: str) -> None:
    run(lambda: open_store(postgres_url), keeps=True, examples=10, steps=25)
