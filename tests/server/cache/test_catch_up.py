"""The versions that follow a known one, and a watch's next batch: versions of another epoch never follow it."""

import pytest

from lamina_server.cache.catch_up import read_changes, read_encoded_changes
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.domain.errors import CursorError, Reason
from lamina_server.domain.records import NO_VERSION, HeadMark
from lamina_server.domain.selection import EVERYTHING
from lamina_server.rpc.watch.batches import ReplayKey, ReplayPoint, read_batch
from lamina_server.store.memory import MemoryStore
from lamina_server.wire.codec import WireCodec
from lamina_server.wire.requests import Cursor
from tests.conformance.commits import CONFIG, commit


@pytest.fixture
def store() -> MemoryStore:
    """A config of three versions."""
    made = MemoryStore()
    for changes in ({"x": 1, "y": 1}, {"x": 2}, {"x": 3}):
        commit(made, changes)
    return made


def marks(store: MemoryStore) -> list[HeadMark]:
    with store.read() as reading:
        versions = reading.versions(CONFIG, [1, 2, 3])
    return [NO_VERSION, *(HeadMark(number, versions[number].hash) for number in (1, 2, 3))]


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_the_versions_that_follow_are_read_in_order(store: MemoryStore, after: int) -> None:
    with store.read() as reading:
        made = read_changes(reading, CONFIG, known=marks(store)[after], through=3, limits=DEFAULT_LIMITS)
        encoded = read_encoded_changes(
            reading, CONFIG, after=after, through=3, codec=WireCodec(), limits=DEFAULT_LIMITS
        )
    assert made is not None
    assert [[one.version.number, *(change.key for change in one.changes)] for one in made] == [
        [number, "x", "y"] if number == 1 else [number, "x"] for number in range(after + 1, 4)
    ]
    assert encoded is not None
    assert encoded[0] == marks(store)[after]
    assert [one.version for one in encoded[1]] == [one.version for one in made]


@pytest.mark.parametrize(
    ("known", "through"),
    [
        pytest.param(HeadMark(1, b"another"), 3, id="another epoch"),
        pytest.param(HeadMark(3, b""), 4, id="ahead of the head"),
        pytest.param(HeadMark(9, b"ahead"), 9, id="far ahead of the head"),
    ],
)
def test_nothing_follows_a_version_that_the_store_lacks(store: MemoryStore, known: HeadMark, through: int) -> None:
    with store.read() as reading:
        assert read_changes(reading, CONFIG, known=known, through=through, limits=DEFAULT_LIMITS) is None


@pytest.mark.parametrize(
    ("limits", "is_enough"),
    [
        (CacheLimits(catch_up_versions=2, catch_up_changes=2), True),
        (CacheLimits(catch_up_versions=1), False),
        (CacheLimits(catch_up_changes=1), False),
    ],
)
def test_a_reading_beyond_a_limit_returns_nothing(store: MemoryStore, limits: CacheLimits, is_enough: bool) -> None:
    with store.read() as reading:
        found = read_changes(reading, CONFIG, known=marks(store)[1], through=3, limits=limits)
    assert (found is not None) == is_enough


@pytest.mark.parametrize("is_enough", [True, False])
def test_encoded_changes_are_limited_in_bytes(store: MemoryStore, is_enough: bool) -> None:
    codec = WireCodec()
    with store.read() as reading:
        whole = read_encoded_changes(reading, CONFIG, after=1, through=3, codec=codec, limits=DEFAULT_LIMITS)
        assert whole is not None
        size_bytes = sum(made.size_bytes + len(made.header) for made in whole[1])
        limits = CacheLimits(catch_up_bytes=size_bytes if is_enough else size_bytes - 1)
        found = read_encoded_changes(reading, CONFIG, after=1, through=3, codec=codec, limits=limits)
    assert found == (whole if is_enough else None)


def test_a_batch_is_not_read_after_a_cursor_of_another_epoch(store: MemoryStore) -> None:
    """P10: the database may have been restored since the watch checked its cursor."""
    key = ReplayKey(CONFIG, EVERYTHING, ReplayPoint(2), Cursor(1, b"another"), 0, 1 << 20)
    with store.read() as reading, pytest.raises(CursorError) as caught:
        read_batch(reading, key=key, through=3, limit_versions=10)
    assert caught.value.reason is Reason.CURSOR_FORKED
