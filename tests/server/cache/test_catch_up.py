"""The versions that follow a known one, and a watch's next batch: nothing of another past goes together with it."""

import pytest

from lamina_server.cache import catch_up
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
def test_all_that_follows(store: MemoryStore, after: int) -> None:
    with store.read() as reading:
        made = catch_up.read(reading, CONFIG, known=marks(store)[after], through=3)
        encoded = catch_up.read_encoded(reading, CONFIG, after=after, through=3, codec=WireCodec())
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
        pytest.param(HeadMark(1, b"another"), 3, id="another past"),
        pytest.param(HeadMark(3, b""), 4, id="not all there"),
        pytest.param(HeadMark(9, b"ahead"), 9, id="not there at all"),
    ],
)
def test_what_does_not_follow(store: MemoryStore, known: HeadMark, through: int) -> None:
    with store.read() as reading:
        assert catch_up.read(reading, CONFIG, known=known, through=through) is None


@pytest.mark.parametrize("limit", ["LIMIT_VERSIONS", "LIMIT_CHANGES"])
def test_too_much_is_not_read_at_all(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    first = marks(store)[1]
    with store.read() as reading:
        for enough in (2, 1):
            monkeypatch.setattr(catch_up, limit, enough)
            found = catch_up.read(reading, CONFIG, known=first, through=3)
            assert (found is not None) == (enough == 2)


def test_a_batch_is_not_read_after_a_cursor_of_another_past(store: MemoryStore) -> None:
    """P10: whatever was checked when the watch began, the database may have been put back meanwhile."""
    where = ReplayKey(CONFIG, EVERYTHING, ReplayPoint(2), Cursor(1, b"another"), 0, 1 << 20)
    with store.read() as reading, pytest.raises(CursorError) as caught:
        read_batch(reading, where=where, through=3, limit_versions=10)
    assert caught.value.reason is Reason.CURSOR_FORKED
