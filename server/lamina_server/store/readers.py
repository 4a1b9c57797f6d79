"""The threads that read the store, so that the event loop never waits for a database."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lamina_server.domain.errors import CompactedError
from lamina_server.store.background import in_background
from lamina_server.store.contract import Reading, Store
from lamina_server.store.silence import Silence

T = TypeVar("T")


class Readers:
    """A small pool of threads. The calls that wait for one are bounded by the limit of calls per connection.

    If the database is silent, the threads wait for it, and no call waits for a thread: all raise SilentError.
    """

    def __init__(self, store: Store, *, threads: int, silence: Silence) -> None:
        self._store = store
        self._silence = silence
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="reader")

    async def read(self, question: Callable[[Reading], T]) -> T:
        """Ask the store a question in a reading block of its own."""
        return await self.run(lambda: self._read(question))

    async def read_apart(self, question: Callable[[Reading], T]) -> T:
        """Ask as `read` does, on a thread of its own, for which `close` does not wait."""
        self._silence.refuse()
        return await self._silence.wait_for(in_background(lambda: self._read(question), name="reader"))

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function that would block the event loop."""
        self._silence.refuse()
        return await self._silence.wait_for(asyncio.get_running_loop().run_in_executor(self._threads, function))

    async def close(self) -> None:
        """Wait for the reads under way, and end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _read(self, question: Callable[[Reading], T]) -> T:
        try:
            answer = self._answer(question)
        except CompactedError:  # perhaps of a version that was the head when it was found: now another one is
            answer = self._answer(question)
        self._silence.answered()
        return answer

    def _answer(self, question: Callable[[Reading], T]) -> T:
        with self._store.read() as reading:
            return question(reading)
