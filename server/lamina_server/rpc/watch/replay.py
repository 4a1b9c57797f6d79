"""The reading of what is not in memory any more, for watches that are behind: once for all that stand at one place.

A thousand watchers that replay a config with the same filter ask the same questions: the
first of them reads, the others wait for it or find what it has read, as long as there is
room for it. What follows is read while a message is being sent.
"""

import asyncio
from collections import OrderedDict
from dataclasses import replace
from functools import partial

from lamina_server.cache.heads import Heads
from lamina_server.rpc.watch.batches import ReplayBatch, ReplayKey, read_batch
from lamina_server.settings import Settings
from lamina_server.store.readers import Readers

_BATCH_OVERHEAD_BYTES = 1_000
"""What is kept of a batch besides its messages and its filter."""
_TEXT_OVERHEAD_BYTES = 60
"""What each key or prefix of that costs besides its characters."""


class ReplayCache:
    """Reads batches of versions, and keeps the latest. Lives on the event loop."""

    def __init__(self, heads: Heads, readers: Readers, settings: Settings, turns: asyncio.Semaphore) -> None:
        """Take what lets in as many readings for watches as leave some of the readers to others."""
        self._heads = heads
        self._readers = readers
        self._settings = settings
        self._turns = turns
        self._kept: OrderedDict[ReplayKey, ReplayBatch] = OrderedDict()
        self._kept_bytes = 0
        self._under_way: dict[ReplayKey, asyncio.Task[ReplayBatch]] = {}

    async def read(self, where: ReplayKey, through: int) -> ReplayBatch:
        """Read what follows a place, as much as makes about one message, at most through a version that is there.

        Raises CursorError where the cursor is not part of the past any more.
        """
        batch = self._kept.get(where)
        if batch is None:
            self._begin(where, through)
            batch = await asyncio.shield(self._under_way[where])
        if batch.place.number <= through:
            self._begin(replace(where, place=batch.place, cursor=batch.cursor), through)
        return batch

    def _begin(self, where: ReplayKey, through: int) -> None:
        if where in self._kept or where in self._under_way:
            return
        self._under_way[where] = task = asyncio.create_task(self._read(where, through))
        task.add_done_callback(partial(self._ended, where))

    async def _read(self, where: ReplayKey, through: int) -> ReplayBatch:
        limit_versions = self._settings.watch_read_limit_versions
        async with self._turns:
            batch = await self._readers.read(
                partial(read_batch, where=where, through=through, limit_versions=limit_versions)
            )
        await self._heads.settled(where.config)
        return batch

    def _ended(self, where: ReplayKey, task: "asyncio.Task[ReplayBatch]") -> None:
        del self._under_way[where]
        # An error is looked at here, because those who waited may all have left; who comes next reads again.
        if task.cancelled() or task.exception():
            return
        self._kept[where] = batch = task.result()
        self._kept_bytes += _weigh(where, batch)
        while self._kept_bytes > self._settings.replay_limit_bytes:
            self._kept_bytes -= _weigh(*self._kept.popitem(last=False))


def _weigh(where: ReplayKey, batch: ReplayBatch) -> int:
    texts = (*where.wanted.keys, *where.wanted.prefixes)
    return (
        _BATCH_OVERHEAD_BYTES + sum(_TEXT_OVERHEAD_BYTES + len(text) for text in texts) + sum(map(len, batch.messages))
    )
