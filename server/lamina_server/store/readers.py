"""The threads that read the store, so that the event loop never waits for a database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lamina_server.store.contract import Reading, Store

T = TypeVar("T")


class Readers:
    """A small pool of threads. The calls that wait for one are bounded by the limit of calls per connection."""

    def __init__(self, store: Store, *, threads: int) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reader")

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Ask the store a question in a reading block of its own."""
        return await self.run(lambda: self._read(question))

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function that would block the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function)

    async def close(self) -> None:
        """Wait for the reads under way, and end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _read(self, question: Callable[[Reading], T]) -> T:
        with self._store.read() as reading:
            return question(reading)
