"""Compaction: what is readable stays the same, what is not says so, and each key's story and each hash stay whole."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

from lamina_server.domain.errors import CompactedError, Reason, UnavailableError
from lamina_server.domain.records import KeyChange, Version
from lamina_server.domain.selection import KeyFilter
from lamina_server.domain.values import Value
from lamina_server.store.compaction.compaction import Compaction, Freed, Keep
from lamina_server.store.contract import Reading
from lamina_server.store.open import open_store
from lamina_server.store.sql.database import Database
from lamina_server.store.sql.keyframes import lines_to_write
from lamina_server.store.sql.queries import keyframes as keyframe_queries
from lamina_server.store.sql.queries import verify as verify_queries
from lamina_server.store.sql.reading import FIRST_CHUNK_ROWS
from lamina_server.store.sql.store import SqlStore
from lamina_server.store.verify.inspection import inspecting
from lamina_server.store.verify.walk import Finding, Portion, Verification
from tests.conformance.commits import CONFIG, DELETED, change, commit, map_at, values
from tests.conformance.places import damage

NOW_US = 1_700_000_000_000_000
KEYS = [f"key/{number}" for number in range(7)] + ["é", "Z", "a"]


@dataclass
class Kept:
    """A database with a store that is open on it, as in a server that runs."""

    url: str
    store: SqlStore

    def compact(self, keep: Keep, *, config: str = CONFIG, database: Database | None = None, rows: int = 500) -> Freed:
        """Compact a config beside the open store."""
        compaction = Compaction(database or self.store._database, rows_at_once=rows)
        (target,) = compaction.targets(lambda name: name == config, keep)
        return compaction.compact(target, "test", NOW_US, lambda _: None)

    def findings(self) -> list[Finding]:
        with inspecting(self.url) as inspection:
            return list(Verification(inspection, Portion(versions=5)).findings(lambda _: None))

    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.url)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection of a program that has none of our settings; what it does is rolled back."""
        self.store.close()
        engine = create_engine(self.url)
        with engine.connect() as connection:
            yield connection
        engine.dispose()
        self.store = open_store(self.url)


@pytest.fixture(params=["sqlite-file", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    is_file = request.param == "sqlite-file"
    url = f"sqlite:///{tmp_path}/lamina.db" if is_file else request.getfixturevalue("database_url")
    made = Kept(url, open_store(url))
    yield made
    made.store.close()


@dataclass
class Past:
    """What a config's past was before it was compacted, kept by this test alone."""

    headers: list[Version] = field(default_factory=list)
    maps: list[Mapping[str, Value]] = field(default_factory=lambda: [{}])
    changes: list[Mapping[str, Any]] = field(default_factory=list)
    stories: dict[str, list[KeyChange]] = field(default_factory=dict)

    def commit(self, store: SqlStore, changes: Mapping[str, Any]) -> None:
        number = len(self.headers) + 1
        self.headers.append(commit(store, changes, message=f"why {number}", now_us=number * 1_000))
        live = {**self.maps[-1], **values({key: each for key, each in changes.items() if each is not DELETED})}
        self.maps.append({key: each for key, each in live.items() if changes.get(key) is not DELETED})
        self.changes.append(dict(sorted(changes.items())))
        for key, data in changes.items():
            made = KeyChange(key, change(key, data).value, number, "ada", f"why {number}", number * 1_000)
            self.stories.setdefault(key, []).append(made)

    def is_superseded(self, key: str, number: int, cut: int) -> bool:
        return any(number < other.version <= cut for other in self.stories[key])


def random_past(store: SqlStore, rng: random.Random, versions: int) -> Past:
    past = Past()
    for number in range(1, versions + 1):
        changes = {key: rng.choice([DELETED, number, f"text {number}"]) for key in rng.sample(KEYS, rng.randint(1, 4))}
        past.commit(
            store,
            {key: data for key, data in changes.items() if data is not DELETED or key in past.stories} or {"a": number},
        )
        if rng.random() < 0.2:
            store.write_keyframe(CONFIG)
    return past


def check(kept: Kept, past: Past, cut: int) -> None:
    """Compare everything that can be asked with the past."""
    head = len(past.headers)
    for number in range(1, head + 1):
        if number < cut:
            for question in contents_of(number):
                with pytest.raises(CompactedError) as refused, kept.store.read() as reading:
                    question(reading)
                assert refused.value.oldest == cut
            continue
        with kept.store.read() as reading:
            assert map_at(reading, number) == past.maps[number]
            assert reading.values(CONFIG, number, KEYS) == past.maps[number]
            assert map_at(reading, number, KeyFilter(prefixes=("key/",))) == {
                key: each for key, each in past.maps[number].items() if key.startswith("key/")
            }
    with kept.store.read() as reading:
        assert reading.oldest(CONFIG) == reading.head_marks([CONFIG])[CONFIG].oldest == cut
        assert [summary.oldest for summary in reading.configs(prefix="", after="", limit=9)] == [cut]
        assert reading.log(CONFIG, after=0, before=head + 1, limit=head, newest_first=False) == past.headers
        numbers = range(1, head + 1)
        expected = {number: list(past.changes[number - 1]) for number in numbers}
        assert reading.changed_keys(CONFIG, numbers) == expected
        assert {n: reading.changed_keys(CONFIG, [n])[n] for n in numbers} == expected
        since = list(reading.changes(CONFIG, after=(cut, ""), through=head))
        assert since == [(n, change(*each)) for n in range(cut, head + 1) for each in past.changes[n - 1].items()]
        for low in range(cut, head + 1):
            assert set(reading.changed_between(CONFIG, low, head)) == {
                k for n in range(low, head) for k in past.changes[n]
            }
        for key, story in past.stories.items():
            check_story(reading, past, key, story, cut)
    assert kept.findings() == []


def contents_of(number: int) -> list[Callable[[Reading], object]]:
    """Return the questions that need the values of a version."""
    return [
        lambda reading: list(reading.entries(CONFIG, number)),
        lambda reading: list(reading.entries(CONFIG, number, KeyFilter(prefixes=("key/",)))),
        lambda reading: reading.states(CONFIG, number, ["a"]),
        lambda reading: list(reading.changed_between(CONFIG, number, number + 1)),
        lambda reading: list(reading.changes(CONFIG, after=(number, ""), through=number)),
        lambda reading: list(
            reading.changes(CONFIG, after=(number, ""), through=number, wanted=KeyFilter(keys=("a",)))
        ),
    ]


def check_story(reading: Reading, past: Past, key: str, story: list[KeyChange], cut: int) -> None:
    everything = {"after": 0, "before": len(past.headers) + 1, "limit": 1_000}
    found = reading.key_history(CONFIG, key, **everything, newest_first=False)
    assert [replace(each, digest=b"") for each in found] == [
        replace(each, value=None) if past.is_superseded(key, each.version, cut) else each for each in story
    ]
    for was, now in zip(story, found, strict=True):
        gone = was.value is not None and past.is_superseded(key, was.version, cut)
        assert len(now.digest) == (32 if gone else 0)
    assert reading.key_history(CONFIG, key, **everything, newest_first=True) == found[::-1]
    assert reading.key_history(CONFIG, key, **everything | {"limit": 2}, newest_first=False) == found[:2]


def seeded() -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.crossed
def test_old_values_go_and_every_story_stays(kept: Kept) -> None:
    """P3 P5: one compaction after the other, with random pasts, keyframes and cuts."""
    rng = seeded()
    past = random_past(kept.store, rng, 24)
    cut = 1
    for _ in range(3):
        cut = rng.randint(cut, 24)
        kept.compact(Keep(versions=24 - cut + 1), rows=rng.choice([1, 3, 500]))
        check(kept, past, cut)


@pytest.mark.crossed
def test_the_past_goes_on_after_a_compaction(kept: Kept) -> None:
    rng = seeded()
    past = random_past(kept.store, rng, 10)
    kept.compact(Keep(versions=1))
    kept.reopen()
    for number in range(11, 15):
        past.commit(kept.store, {rng.choice(KEYS): number})
    check(kept, past, 10)


def test_what_was_the_map_within_a_time_can_be_read(kept: Kept) -> None:
    """The version that was the newest one when the time began stays."""
    past = random_past(kept.store, seeded(), 9)
    assert kept.compact(Keep(since_us=3_999)).oldest == 3
    check(kept, past, 3)
    assert kept.compact(Keep(since_us=0)).oldest == 3  # before the first one: nothing to do


class KilledError(BaseException):
    """The process ends here."""


class Mortal:
    """A database whose process is killed when its n-th transaction would be committed, or that fails then once."""

    def __init__(self, database: Database, lives: int, error: BaseException | None = None) -> None:
        self._database = database
        self._lives = lives
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._database.writing() as connection:
            yield connection
            self._live()

    @contextmanager
    def side_transaction(self) -> Iterator[Connection]:
        with self._database.side_transaction() as connection:
            yield connection
            self._live()

    def _live(self) -> None:
        self._lives -= 1
        if self._lives < 0 and self._error is None:
            raise KilledError
        if self._lives == -1 and self._error is not None:
            raise self._error


@pytest.mark.crossed
def test_a_compaction_that_is_killed_goes_on(kept: Kept) -> None:
    """At every transaction: what can be read is right, whatever has gone by then, and the next run takes the rest."""
    past = random_past(kept.store, seeded(), 12)
    lives, is_done = 0, False
    while not is_done:
        try:
            kept.compact(Keep(versions=4), database=Mortal(kept.store._database, lives), rows=4)  # type: ignore[arg-type]
            is_done = True
        except KilledError:
            lives += 1
        with kept.store.read() as reading:
            cut = reading.oldest(CONFIG)
            assert cut in {1, 9}
            assert {n: map_at(reading, n) for n in range(cut, 13)} == dict(enumerate(past.maps[cut:], cut))
        assert kept.findings() == []
    check(kept, past, 9)


@pytest.mark.parametrize("transaction", [3, 5, 7])
def test_a_database_that_is_away_for_a_moment_ends_no_compaction(kept: Kept, transaction: int) -> None:
    past = random_past(kept.store, seeded(), 12)
    away = UnavailableError(Reason.STORE_UNAVAILABLE, "the database has gone")
    mortal: Any = Mortal(kept.store._database, transaction, away)
    assert kept.compact(Keep(versions=4), database=mortal, rows=4).oldest == 9
    check(kept, past, 9)


@pytest.mark.crossed
def test_a_read_that_compaction_overtakes_is_refused(kept: Kept) -> None:
    """It may have read a map without the values that went: it is not answered, and neither is an error from that."""
    past = random_past(kept.store, seeded(), 8)
    with pytest.raises(CompactedError), kept.store.read() as reading:
        entries = reading.entries(CONFIG, 2, KeyFilter(prefixes=("",)), after="!")
        next(entries, None)
        kept.compact(Keep(versions=1))
        list(entries)
    with kept.store.read() as reading:
        assert map_at(reading, 8) == past.maps[8]


@pytest.mark.crossed
def test_a_read_from_the_cut_on_misses_no_key_when_its_keyframe_goes(kept: Kept) -> None:
    """It began with a keyframe below the cut, and goes on without it."""
    keys = [f"{number:04}" for number in range(FIRST_CHUNK_ROWS + 5)]
    commit(kept.store, dict.fromkeys(keys, 1))
    kept.store.write_keyframe(CONFIG)
    commit(kept.store, {keys[-1]: 2})
    with kept.store.read() as reading:
        entries = reading.entries(CONFIG, 2, KeyFilter(prefixes=("0", "1")))
        found = [next(entries).key]
        kept.compact(Keep(versions=1))
        found += [entry.key for entry in entries]
    assert found == keys


@pytest.mark.crossed
def test_a_keyframe_that_goes_while_it_is_verified_is_no_finding(kept: Kept) -> None:
    for number in range(4):
        commit(kept.store, {"x": number, "y": number})
        kept.store.write_keyframe(CONFIG)
    with inspecting(kept.url) as inspection:
        ask, lines = inspection.ask, str(verify_queries.lines())

        def overtaken(statement: Any, **parameters: Any) -> Any:
            if str(statement) == lines and not freed:
                freed.append(kept.compact(Keep(versions=1)))
            return ask(statement, **parameters)

        freed: list[Freed] = []
        inspection.ask = overtaken  # type: ignore[method-assign]
        assert list(Verification(inspection).findings(lambda _: None)) == []
        assert freed


@pytest.mark.crossed
def test_a_keyframe_is_made_from_one_that_goes_meanwhile(kept: Kept) -> None:
    past = Past()
    for number in range(1, 4):
        past.commit(kept.store, {"x": number, f"y{number}": number})
        if number == 1:
            kept.store.write_keyframe(CONFIG)
    with kept.store.read() as reading:
        live = str(keyframe_queries.live_ids())
        freed: list[Freed] = []

        def overtaken(statement: Any, **parameters: Any) -> Any:
            if str(statement) == live and not freed:
                freed.append(kept.compact(Keep(versions=2)))
            return reading.ask(statement, **parameters)

        lines = lines_to_write(overtaken, CONFIG)
    assert freed
    assert lines is not None
    assert len(lines.value_ids) == len(past.maps[3])


def test_a_damaged_map_is_not_compacted(kept: Kept) -> None:
    """Nothing may go before it is certain that the rest is whole."""
    for number in range(3):
        commit(kept.store, {"x": number, "y": number})
    damage(kept.store, "DELETE FROM config_value WHERE version = 2 AND name = 'y'")
    damage(kept.store, "DELETE FROM config_value WHERE version = 1 AND name = 'y'")
    with pytest.raises(Exception, match="version 2"):
        kept.compact(Keep(versions=2))
    with kept.store.read() as reading:
        assert reading.oldest(CONFIG) == 1


def test_a_cut_with_a_damaged_keyframe_keeps_one_more_version(kept: Kept) -> None:
    past = Past()
    for number in range(1, 6):
        past.commit(kept.store, {"x": number, f"y{number}": number})
        if number == 4:
            kept.store.write_keyframe(CONFIG)
    damage(
        kept.store,
        "DELETE FROM config_value_association"
        " WHERE config_value_id = (SELECT max(config_value_id) FROM config_value_association)",
    )
    assert kept.compact(Keep(versions=2)).oldest == 3
    with kept.store.read() as reading:
        assert map_at(reading, 4) == past.maps[4]


def test_other_configs_stay(kept: Kept) -> None:
    for number in range(4):
        commit(kept.store, {"x": number})
        commit(kept.store, {"x": number}, config="other")
    freed = kept.compact(Keep(versions=1))
    assert (freed.values, freed.oldest) == (3, 4)
    with kept.store.read() as reading:
        assert map_at(reading, 1, config="other") == values({"x": 0})
    assert kept.findings() == []


def test_the_measure_is_what_goes(kept: Kept) -> None:
    random_past(kept.store, seeded(), 10)
    commit(kept.store, {"é": "é" * 100, "b": b"12"})
    commit(kept.store, {"é": 1, "b": 2})
    compaction = Compaction(kept.store._database, rows_at_once=3)
    (target,) = compaction.targets(lambda _: True, Keep(versions=1))
    done: list[int] = []
    measured = compaction.measure(target, done.append)
    assert sum(done) == target.cut - 1 == 11
    assert measured.size_bytes >= 202
    done.clear()
    assert kept.compact(Keep(versions=1)) == measured
    assert compaction.measure(target, done.append) == Freed(12)


# --- what the database itself refuses -----------------------------------------------------

POINT = (
    "INSERT INTO config_change_point SELECT config_name_id, version, name, deleted, {digest}, {by} FROM config_value"
    " WHERE name = '{key}' AND version = {version}"
)
VALUE = "DELETE FROM config_value WHERE name = '{key}' AND version = {version}"
LINES = "DELETE FROM config_value_association WHERE config_id = (SELECT id FROM config WHERE version = {version})"
CUT = "INSERT INTO config_cut SELECT id, {version}, 1, '' FROM config_name"


def point(key: str, version: int, by: int, digest: str = "digest") -> str:
    return POINT.format(key=key, version=version, by=by, digest=digest)


def gone(key: str, version: int) -> str:
    return VALUE.format(key=key, version=version)


REFUSED = {
    "a value that the cut shows": [point("y", 1, 2)],
    "a value of the cut": [point("x", 3, 4)],
    "a value after the cut": [point("x", 4, 5)],
    "superseded by itself": [point("x", 2, 2)],
    "superseded by an older one": [point("x", 2, 1)],
    "superseded by one that is not there": [point("y", 1, 3)],
    "a value without a point": [gone("x", 1)],
    "a value that the cut shows, without a point": [gone("y", 1)],
    "all values": [point("x", 1, 2), "DELETE FROM config_value"],
    "another digest": [point("x", 1, 2, "substr(config_value.digest, 2, 31) || substr(config_value.digest, 1, 1)")],
    "a point of no value": [
        "INSERT INTO config_change_point SELECT config_name_id, 1, 'z', false, hash, 2 FROM config WHERE version = 1"
    ],
    "a keyframe at the cut": [LINES.format(version=3)],
    "a keyframe after the cut": [LINES.format(version=5)],
    "an older cut": [CUT.format(version=2)],
    "the same cut": [CUT.format(version=3)],
    "a cut of no version": [CUT.format(version=6)],
    "a point taken back": [point("x", 1, 2), "DELETE FROM config_change_point"],
    "a cut taken back": ["DELETE FROM config_cut"],
    "a version": ["DELETE FROM config WHERE version = 1"],
}
LET_THROUGH = {
    "a superseded value": [point("x", 1, 2), gone("x", 1)],
    "by a later one": [point("x", 1, 3), gone("x", 1)],
    "a keyframe before the cut": [LINES.format(version=2)],
    "a newer cut": [CUT.format(version=4), point("x", 3, 4), gone("x", 3)],
}


@pytest.fixture
def cut_at_3(kept: Kept) -> Kept:
    """Versions 1 to 5 of x, y of version 1, keyframes at 2, 3 and 5, and a cut at 3, after which nothing has gone."""
    for number in range(1, 6):
        commit(kept.store, {"x": number} if number > 1 else {"x": 1, "y": 1})
        if number in {2, 3, 5}:
            kept.store.write_keyframe(CONFIG)
    with kept.store._database.writing() as connection:
        connection.execute(text(CUT.format(version=3)))
    return kept


@pytest.mark.crossed
def test_the_database_lets_nothing_go_that_the_history_needs(cut_at_3: Kept) -> None:
    """Whoever asks, with whatever program."""
    with cut_at_3.connection() as connection:
        for statements in REFUSED.values():
            *allowed, refused = statements
            for statement in allowed:
                connection.execute(text(statement))
            with pytest.raises(IntegrityError):
                connection.execute(text(refused))
            connection.rollback()


@pytest.mark.crossed
def test_the_database_lets_go_what_the_cut_supersedes(cut_at_3: Kept) -> None:
    with cut_at_3.connection() as connection:
        for statements in LET_THROUGH.values():
            assert all(connection.execute(text(statement)).rowcount for statement in statements)
            connection.rollback()
