"""Walk a config's hash chain over a watch's stream."""

from lamina._grpc.aio.shell import Shell
from lamina._grpc.aio.watch import Watch
from lamina._mapping.entries import Entries
from lamina._streams.verify import Verifying
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError
from lamina.records import Version


async def verified(shell: Shell, base: Entries) -> Version:
    """Walk a config's hash chain up to the version that it stands on, and return that version's header."""
    async with _Walk(shell, Verifying(shell.session, base), shell.session.timeout_seconds) as walk:
        return await walk.end()


class _Walk(Watch):
    """A watch that takes digests instead of changes, and has an end.

    Long chains take longer than a verb's `timeout`: here that is how long the server may be silent.
    """

    def __init__(self, shell: Shell, verifying: Verifying, timeout: float) -> None:
        super().__init__(shell, verifying, timeout)
        self._verifying = verifying

    async def end(self) -> Version:
        """Walk to the end."""
        try:
            while (version := await self._next(self._verifying.step())) is None:
                pass
        except WatchEnded:
            raise DeadlineError(f"{self._verifying.place}; the server was silent for too long") from None
        return version
