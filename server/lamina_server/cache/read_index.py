"""Which version is the head of a config now, on a database that other servers write to as well.

One question is under way at a time, for all the reads that waited when it was sent. A read
that comes while a question is under way waits for the next one, because the answer may be
older than the read. So a thousand reads cost a few questions, and no read gets an answer
that was true only before it asked.
"""

import asyncio
from functools import partial

from lamina_server.domain.records import HeadMark
from lamina_server.store.contract import Reading
from lamina_server.store.readers import Readers


class ReadIndex:
    """Asks the store for heads, for all reads that wait. Lives on the event loop.

    This is no SingleFlight: a caller never joins a question that was sent before it came.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._waiting: dict[str, asyncio.Future[HeadMark | None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def ask(self, config: str) -> HeadMark | None:
        """Return which version was a config's head at some moment after this call; None if there is no config."""
        if config not in self._waiting:
            self._waiting[config] = asyncio.get_running_loop().create_future()
        future = self._waiting[config]
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(future)

    async def _ask(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, {}
            try:
                marks = await self._readers.read(partial(_head_marks, configs=tuple(waiting)))
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                for future in waiting.values():
                    future.set_exception(error)
                    future.exception()  # retrieved here, because the callers may have left
            else:
                for config, future in waiting.items():
                    future.set_result(marks.get(config))
        self._asking = None


def _head_marks(reading: Reading, configs: tuple[str, ...]) -> dict[str, HeadMark]:
    return reading.head_marks(configs)
