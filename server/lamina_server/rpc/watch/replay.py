"""The reading of older versions for watches that are behind: once for all watches that continue at the same point.

A thousand watches that replay a config with the same filter ask the same questions. The first
of them reads; the others wait for it, or find what it has read as long as there is room for
it. The next batch is read while the messages of this one are being sent.
"""

import asyncio
from dataclasses import replace
from functools import partial

from lamina_server.cache.budget import ByteBudget
from lamina_server.cache.heads import Heads
from lamina_server.cache.single_flight import SingleFlight
from lamina_server.rpc.watch.batches import ReplayBatch, ReplayKey, read_batch
from lamina_server.store.readers import Readers

_BATCH_OVERHEAD_BYTES = 1_000
"""Memory that a batch takes besides its messages and its filter."""
_TEXT_OVERHEAD_BYTES = 60
"""Memory that each key or prefix of the filter takes besides its characters."""


class ReplayCache:
    """Reads batches of versions, and keeps those that were used last. Lives on the event loop.

    turns                limits how many reader threads watches may occupy
    limit_bytes          of all batches kept
    read_limit_versions  versions that one reading looks through at most
    """

    def __init__(
        self,
        heads: Heads,
        readers: Readers,
        turns: asyncio.Semaphore,
        *,
        limit_bytes: int,
        read_limit_versions: int,
    ) -> None:
        self._heads = heads
        self._readers = readers
        self._turns = turns
        self._read_limit_versions = read_limit_versions
        self._batches: ByteBudget[ReplayKey, ReplayBatch] = ByteBudget(limit_bytes)
        self._flights = SingleFlight()

    @property
    def held_bytes(self) -> int:
        """Return the memory that all batches take, by estimate."""
        return self._batches.held_bytes

    async def read(self, key: ReplayKey, through: int) -> ReplayBatch:
        """Return about one message of what follows a point; `through` is the last version to read, which must exist.

        Raises CursorError if the cursor is no longer part of the history.
        """
        batch = self._batches.get(key)
        if batch is None:
            batch = await self._flights.join(key, partial(self._read, key, through))
        if batch.point.number <= through:
            following = replace(key, point=batch.point, cursor=batch.cursor)
            if following not in self._batches:
                self._flights.begin(following, partial(self._read, following, through))
        return batch

    async def _read(self, key: ReplayKey, through: int) -> ReplayBatch:
        question = partial(read_batch, key=key, through=through, limit_versions=self._read_limit_versions)
        async with self._turns:
            batch = await self._readers.read(question)
        await self._heads.wait_until_current(key.config)
        self._batches.put(key, batch, _measure(key, batch))
        return batch


def _measure(key: ReplayKey, batch: ReplayBatch) -> int:
    texts = (*key.wanted.keys, *key.wanted.prefixes)
    filter_bytes = sum(_TEXT_OVERHEAD_BYTES + len(text) for text in texts)
    return _BATCH_OVERHEAD_BYTES + filter_bytes + sum(map(len, batch.messages))
