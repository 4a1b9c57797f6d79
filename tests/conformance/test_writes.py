"""Writing blocks: atomic, serial, seen by their own reads, and lost as a whole."""

import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from lamina_server.domain.errors import DiskFullError
from lamina_server.domain.planning import Plan, plan
from lamina_server.domain.records import Reply
from lamina_server.store.contract import HistoryBrokenError, Reading, Store, Writing
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.prepared import Numbered
from lamina_server.store.sql.store import SqlStore
from tests.conformance.commits import (
    ADA,
    CONFIG,
    DELETED,
    LIMITS,
    change,
    commit,
    insert,
    map_at,
    planned,
    remembered,
    request,
    values,
)
from tests.conformance.places import Capability, Place


class BoomError(Exception):
    """An error that a caller raises in a block."""


def everything(reading: Reading) -> object:
    """Return everything that the tests of this module could have written to a store."""
    return (
        reading.configs(prefix="", after="", limit=100),
        {config: list(reading.changes(config, after=(0, ""), through=100)) for config in (CONFIG, "other")},
        [remembered(reading, "ada", name) for name in ("one", "two")],
    )


class TestAtomic:
    def test_all_inserts_of_a_block_are_there_after_it(self, store: Store) -> None:
        with store.write() as writing:
            first = insert(writing, CONFIG, {"x": 1})
            second = insert(writing, CONFIG, {"x": 2})
            other = insert(writing, "other", {"y": 1})
        with store.read() as reading:
            assert [reading.head(CONFIG), reading.head("other")] == [second, other]
            assert reading.versions(CONFIG, [1])[1] == first
            assert map_at(reading, 2) == values({"x": 2})

    def test_an_exception_leaves_nothing(self, store: Store) -> None:
        commit(store, {"x": 1})
        with store.read() as reading:
            before = everything(reading)

        def fail() -> None:
            with store.write() as writing:
                version = insert(writing, CONFIG, {"x": 2, "y": 2})
                insert(writing, "other", {"x": 1})
                writing.remember(request("one"), Reply(CONFIG, version, created=True, merged=False))
                assert map_at(writing, 2) == values({"x": 2, "y": 2})  # so it has reached the database
                insert(writing, CONFIG, {"x": 3})
                raise BoomError

        for _ in range(2):
            with pytest.raises(BoomError):
                fail()
        with store.read() as reading:
            assert everything(reading) == before
        assert commit(store, {"x": 3}).number == 2  # no number is lost

    def test_a_block_may_write_nothing(self, store: Store) -> None:
        with store.write() as writing:
            assert writing.head(CONFIG) is None
        with store.write():
            pass
        assert commit(store, {"x": 1}).number == 1

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_reading_block_within_a_writing_block_neither_commits_it_nor_rolls_it_back(
        self, store: Store, *, fails: bool
    ) -> None:
        with suppress(BoomError), store.write() as writing:
            for number in range(1, 4):
                insert(writing, CONFIG, {"x": number})
                assert writing.head(CONFIG) is not None
                with store.read():
                    pass
            if fails:
                raise BoomError
        with store.read() as reading:
            assert map_at(reading, 3) == values({} if fails else {"x": 3})
            assert (reading.head(CONFIG) is None) == fails

    def test_a_reader_sees_nothing_of_an_open_writing_block(self, place: Place, store: Store) -> None:
        place.need(Capability.READS_BESIDE_WRITER)
        commit(store, {"x": 1})
        with store.read() as reading:
            before = everything(reading)
            with store.write() as writing:
                insert(writing, CONFIG, {"x": 2})
                insert(writing, "other", {"x": 1})
                writing.remember(request("one"), Reply(CONFIG, None, created=False, merged=False))
                assert writing.head("other") is not None
                assert everything(reading) == before
                with store.read() as another:
                    assert everything(another) == before
        with store.read() as reading:
            assert everything(reading) != before

    def test_readers_never_see_half_a_version(self, store: Store) -> None:
        keys = [f"key/{number}" for number in range(20)]
        done = threading.Event()

        def read() -> int:
            seen = 0
            while not done.is_set():
                with store.read() as reading:
                    head = reading.head(CONFIG)
                    if head is None:
                        continue
                    assert {each.origin for each in reading.entries(CONFIG, head.number)} == {head.number}
                    assert len(list(reading.changes(CONFIG, after=(head.number, ""), through=head.number))) == 20
                    assert len(list(reading.entries("other", head.number))) == 1  # of the same block
                    seen = head.number
            return seen

        with ThreadPoolExecutor(3) as threads:
            readers = [threads.submit(read) for _ in range(3)]
            try:
                for number in range(30):
                    with store.write() as writing:
                        insert(writing, CONFIG, dict.fromkeys(keys, number))
                        insert(writing, "other", {"n": number})
            finally:
                done.set()
            assert all(reader.result() <= 30 for reader in readers)


class TestSerial:
    def test_blocks_of_many_threads_run_one_after_the_other(self, store: Store) -> None:
        """Each increments a counter, and no increment is lost."""
        commit(store, {"n": 0})

        def count() -> None:
            for _ in range(10):
                with store.write() as writing:
                    head = writing.head(CONFIG)
                    assert head is not None
                    number = map_at(writing, head.number)["n"].data
                    assert isinstance(number, int)
                    insert(writing, CONFIG, {"n": number + 1})

        with ThreadPoolExecutor(8) as threads:
            for future in [threads.submit(count) for _ in range(8)]:
                future.result()
        with store.read() as reading:
            history = reading.key_history(CONFIG, "n", after=0, before=1_000, limit=1_000, newest_first=False)
        assert [(each.version, each.value) for each in history] == [
            (number, each) for number, each in enumerate((values({"n": n})["n"] for n in range(81)), 1)
        ]

    def test_a_block_sees_what_was_committed_while_it_waited(self, store: Store) -> None:
        opened, others = threading.Event(), []

        def other() -> None:
            opened.set()
            others.append(commit(store, {"x": "second"}))

        with ThreadPoolExecutor(1) as threads:
            with store.write() as writing:
                waiting = threads.submit(other)
                assert opened.wait(10)
                insert(writing, CONFIG, {"x": "first"})
            waiting.result(10)
        assert others[0].number == 2

    def test_a_block_sees_nothing_of_a_lost_one_in_another_thread(self, store: Store) -> None:
        commit(store, {"n": 0})
        blocks, interval = 100, sys.getswitchinterval()

        def lose() -> None:
            for number in range(blocks):
                with suppress(BoomError), store.write() as writing:
                    insert(writing, CONFIG, {"lost": number})
                    assert writing.head(CONFIG) is not None  # so it has reached the database
                    raise BoomError

        sys.setswitchinterval(1e-6)  # so that the threads take turns wherever they can
        try:
            with ThreadPoolExecutor(1) as threads:
                losing = threads.submit(lose)
                made = [commit(store, {"n": number}).number for number in range(1, blocks + 1)]
                losing.result()
        finally:
            sys.setswitchinterval(interval)
        assert made == list(range(2, blocks + 2))


class TestOwnReads:
    def test_every_read_sees_the_inserts_of_its_block(self, store: Store) -> None:
        """A read within the block gets the same answer as after it."""
        commit(store, {"x": 1, "y": 1}, now_us=100)

        def ask(reading: Reading) -> list[object]:
            return [
                reading.head_marks([CONFIG]),
                reading.head(CONFIG),
                reading.versions(CONFIG, [1, 2, 3]),
                reading.log(CONFIG, after=0, before=9, limit=9, newest_first=True),
                reading.version_at(CONFIG, 250),
                reading.changed_keys(CONFIG, [1, 2, 3]),
                reading.configs(prefix="", after="", limit=9),
                [list(reading.entries(CONFIG, number)) for number in (1, 2, 3)],
                reading.states(CONFIG, 3, ["x", "y", "z"]),
                list(reading.changed_between(CONFIG, 1, 3)),
                reading.key_history(CONFIG, "x", after=0, before=9, limit=9, newest_first=False),
                list(reading.changes(CONFIG, after=(1, "x"), through=3)),
                remembered(reading, "ada", "one"),
            ]

        with store.write() as writing:
            insert(writing, "other", {"x": 1})
            insert(writing, CONFIG, {"x": DELETED, "z": 2}, now_us=200)
            third = insert(writing, CONFIG, {"x": 3}, now_us=300)
            writing.remember(request("one"), Reply(CONFIG, third, created=True, merged=False))
            within = ask(writing)
        with store.read() as reading:
            assert ask(reading) == within

    @pytest.mark.parametrize("number", range(3))
    def test_a_read_between_any_two_inserts_sees_the_first(self, store: Store, number: int) -> None:
        with store.write() as writing:
            for each in range(3):
                if each == number:
                    assert writing.head("nowhere") is None
                insert(writing, CONFIG, {f"key/{each}": each})
        with store.read() as reading:
            assert map_at(reading, 3) == values({f"key/{each}": each for each in range(3)})


class TestRequests:
    def test_an_outcome_is_remembered_with_its_digest(self, store: Store) -> None:
        with store.write() as writing:
            version = insert(writing, CONFIG, {"x": 1}, message="why")
            outcome = Reply(CONFIG, version, created=True, merged=True)
            writing.remember(request("one", b"this"), outcome)
        commit(store, {"x": 2})
        with store.read() as reading:
            assert remembered(reading, "ada", "one") == (b"this".ljust(32), outcome)
            assert remembered(reading, "grace", "one") is None
            assert remembered(reading, "ada", "ONE") is None

    def test_an_outcome_may_name_an_older_version_or_none(self, store: Store) -> None:
        first = commit(store, {"x": 1})
        commit(store, {"x": 2})
        older = Reply(CONFIG, first, created=False, merged=False)
        none = Reply("no/such/config", None, created=False, merged=False)
        with store.write() as writing:
            writing.remember(request("one"), older)
            writing.remember(request("two"), none)
        with store.read() as reading:
            assert remembered(reading, "ada", "one") == (request("one").digest, older)
            assert remembered(reading, "ada", "two") == (request("two").digest, none)

    def test_a_request_id_has_one_outcome_for_ever(self, store: Store) -> None:
        outcome = Reply(CONFIG, None, created=False, merged=False)
        with store.write() as writing:
            writing.remember(request("one", b"this"), outcome)

        def remember_another() -> None:
            with store.write() as writing:
                insert(writing, CONFIG, {"x": 1})
                writing.remember(request("one", b"that"), outcome)

        with pytest.raises(HistoryBrokenError):
            remember_another()
        with store.read() as reading:
            assert remembered(reading, "ada", "one") == (b"this".ljust(32), outcome)
            assert reading.head(CONFIG) is None

    def test_request_ids_belong_to_their_callers(self, store: Store) -> None:
        mine, yours = request("one", b"mine"), replace(request("one", b"yours"), caller="grace")
        with store.write() as writing:
            for each in (mine, yours, replace(mine, caller="")):
                writing.remember(each, Reply(CONFIG, None, created=False, merged=False))
        with store.read() as reading:
            found = [remembered(reading, caller, "one") for caller in ("ada", "grace", "")]
        assert [each and each[0][:5] for each in found] == [b"mine ", b"yours", b"mine "]


def gap(writing: Writing) -> None:
    made = planned(writing, CONFIG, {"x": 2})
    writing.insert(replace(made, version=replace(made.version, number=3)))


def twice(writing: Writing) -> None:
    made = planned(writing, CONFIG, {"x": 2})
    writing.insert(made)
    writing.insert(made)


def first_of_a_config_that_is_there(writing: Writing) -> None:
    made = planned(writing, CONFIG, {"x": 2})
    writing.insert(replace(made, version=replace(made.version, number=1)))


def second_of_a_config_that_is_not(writing: Writing) -> None:
    made = planned(writing, CONFIG, {"x": 2})
    writing.insert(replace(made, version=replace(made.version, config="other")))


BREAKS = [gap, twice, first_of_a_config_that_is_there, second_of_a_config_that_is_not]


@pytest.mark.parametrize("breaks", BREAKS)
class TestNumbers:
    def test_only_the_next_number_is_accepted(self, store: Store, breaks: Callable[[Writing], None]) -> None:
        first = commit(store, {"x": 1})
        with pytest.raises(HistoryBrokenError), store.write() as writing:
            breaks(writing)
        with store.read() as reading:
            assert [each.head for each in reading.configs(prefix="", after="", limit=9)] == [first]

    def test_a_block_is_lost_even_if_its_error_was_caught(
        self, store: Store, breaks: Callable[[Writing], None]
    ) -> None:
        first = commit(store, {"x": 1})

        def go_on() -> None:
            with store.write() as writing:
                with suppress(HistoryBrokenError):
                    breaks(writing)
                    writing.head(CONFIG)
                with suppress(HistoryBrokenError):
                    insert(writing, "other", {"x": 1})

        with pytest.raises(HistoryBrokenError):
            go_on()
        with store.read() as reading:
            assert [each.head for each in reading.configs(prefix="", after="", limit=9)] == [first]


class TestDurable:
    def test_committed_versions_are_there_after_a_restart(self, place: Place) -> None:
        place.need(Capability.KEEPS)
        store = place.open()
        commit(store, {"x": 1, "y": [1]})
        with store.write() as writing:
            version = insert(writing, CONFIG, {"x": DELETED}, message="why")
            writing.remember(request("one"), Reply(CONFIG, version, created=True, merged=False))
        with store.read() as reading:
            before = everything(reading), map_at(reading, 1), map_at(reading, 2)
        store.write_keyframe(CONFIG)
        store.close()
        store = place.open()
        try:
            with store.read() as reading:
                assert (everything(reading), map_at(reading, 1), map_at(reading, 2)) == before
            assert commit(store, {"x": 2}).number == 3
        finally:
            store.close()

    def test_several_reading_blocks_may_be_open_at_once(self, place: Place, store: Store) -> None:
        place.need(Capability.READS_BESIDE_WRITER)
        commit(store, {"x": 1})
        with store.read() as one, store.read() as two, store.read() as three:
            assert one.head(CONFIG) == two.head(CONFIG) == three.head(CONFIG)
            second = commit(store, {"x": 2})
            with store.read() as four:
                assert four.head(CONFIG) == second


class EndsTransaction:
    """A database that ends the transaction by itself at the first INSERT."""

    def __init__(self, database: Database) -> None:
        self._database = database

        self._has_ended = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def insert(self, connection: Connection, statements: Iterable[Numbered], *, is_last: bool = False) -> None:
        if not self._has_ended:
            self._has_ended = True
            driver: Any = connection.connection.driver_connection
            driver.rollback()
            raise DiskFullError
        self._database.insert(connection, statements, is_last=is_last)


def test_no_statement_runs_after_the_database_has_ended_the_transaction_by_itself(place: Place, store: Store) -> None:
    """P2, P3: as SQLite does on some errors. A later statement of the block would be a transaction of its own."""
    place.need(Capability.ROWS)
    assert isinstance(store, SqlStore)
    database: Any = EndsTransaction(store._database)

    def go_on() -> None:
        with SqlStore(database).write() as writing:
            insert(writing, CONFIG, {"x": 1})
            for config in ("other", "another"):
                with pytest.raises(DiskFullError):
                    writing.head(config)
                made = planned_first(config)
                writing.insert(made)
                writing.remember(request(config), Reply(config, made.version, created=True, merged=False))

    with pytest.raises(DiskFullError):
        go_on()
    with store.read() as reading:
        assert reading.configs(prefix="", after="", limit=9) == []
    assert commit(store, {"x": 2}).number == 1


def planned_first(config: str) -> Plan:
    changes = [change("x", 1)]
    return plan(changes, config=config, head=None, values={}, author=ADA, message="", now_us=1_000, limits=LIMITS)


class TestWhetherItCanBeWritten:
    def test_it_is_asked_without_writing(self, store: Store) -> None:
        head = commit(store, {"x": 1})
        store.check_writable()
        with store.read() as reading:
            assert reading.head(CONFIG) == head
        assert commit(store, {"x": 2}).number == 2

    def test_it_is_asked_beside_a_writer(self, store: Store) -> None:
        """It neither waits for the writer's lock nor makes the writer wait for its own."""
        with store.write() as writing, ThreadPoolExecutor() as threads:
            insert(writing, CONFIG, {"x": 1})
            writing.head(CONFIG)  # after the rows
            threads.submit(store.check_writable).result(10)
            insert(writing, CONFIG, {"x": 2})
        with store.read() as reading:
            assert map_at(reading, 2) == values({"x": 2})
