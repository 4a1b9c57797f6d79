"""Watchers that could slow others down: the short forms of two trials of `make torture ARGS="--only watch"`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.watches.crowds import GROWTH_BYTES, many, slow_reader
from tests.support.server import ServerProcess

COMMITS = 300
WATCHES, CONNECTIONS = 1_000, 10


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that no other test uses, because its memory is measured."""
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server:
        yield server


async def test_a_watcher_that_does_not_read_slows_nobody_down(own_server: ServerProcess) -> None:
    """P9, P15: its messages wait in the store, not in memory; the others stay as fast; in the end it receives all."""
    slow = await slow_reader(own_server, commits=COMMITS, read_seconds=None)
    assert slow.behind == COMMITS // 2
    assert slow.missing == 0
    assert slow.more_bytes < GROWTH_BYTES, slow
    assert slow.is_bearable, slow


async def test_a_thousand_watches_opened_at_once_are_all_served(own_server: ServerProcess) -> None:
    """P15: none is dropped; each gets its first bookmark, and then what is committed."""
    served = await many(own_server, watches=WATCHES, connections=CONNECTIONS)
    assert served.bookmarked == WATCHES
    assert served.received == WATCHES
