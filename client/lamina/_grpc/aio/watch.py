"""A watch for asyncio."""

from collections.abc import AsyncIterator
from typing import Self

from lamina._grpc.aio.runner import StreamRunner
from lamina._grpc.aio.shell import Shell
from lamina._runtime.copies import Uncopyable
from lamina._runtime.public import public
from lamina._runtime.tracebacks import end_here
from lamina._streams.queue import WatchQueue, check_timeout
from lamina._streams.watch import WatchEnded
from lamina.errors import LaminaError
from lamina.records import KeyChange, VersionChanges


@public("lamina.aio")
class Watch(Uncopyable):
    """Changes as they are committed: iterate over it, or over `versions()`. It resumes by itself until it is closed.

    Only a definite error ends it, such as a CursorError if the server has another past than the watch has seen.
    """

    _instead = "begin another one where it is needed, with after=watch.cursor"

    def __init__(self, shell: Shell, queue: WatchQueue, timeout: float | None) -> None:
        self._queue = queue
        self._runner = StreamRunner(shell, queue.stream, check_timeout(timeout))

    @property
    def cursor(self) -> str:
        """The watch's position, as text: pass it as `after=`, on any server, to continue from here.

        Moves with the last change of a version. Empty until a watch after a time has found its version.
        """
        return self._queue.cursor

    async def versions(self) -> AsyncIterator[VersionChanges]:
        """Iterate over whole versions instead of single changes."""
        while True:
            try:
                version = await self._runner.run(self._queue.next_version())
            except WatchEnded:
                return
            except LaminaError as error:
                end_here(error)
                raise
            yield version

    async def close(self) -> None:
        """End the loop at once, from any task."""
        await self._runner.close()

    def __aiter__(self) -> AsyncIterator[KeyChange]:
        return self

    async def __anext__(self) -> KeyChange:
        try:
            return await self._runner.run(self._queue.next_change())
        except WatchEnded:
            raise StopAsyncIteration from None
        except LaminaError as error:
            end_here(error)
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Watch after {self.cursor!r}>"
