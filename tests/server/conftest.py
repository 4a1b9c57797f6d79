"""Stores and servers for the tests of the server."""

from collections.abc import AsyncIterator, Iterator

import pytest

from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from tests.server.wire import Wire, running


@pytest.fixture
def store() -> Iterator[Store]:
    """An empty store."""
    store = MemoryStore()
    yield store
    store.close()


@pytest.fixture
async def wire(store: Store) -> AsyncIterator[Wire]:
    """A connection to a server over the store, with default settings."""
    async with running(store) as wire:
        yield wire
