"""Walk a config's hash chain over a watch's stream."""

from lamina._grpc.sync.shell import Shell
from lamina._grpc.sync.watch import Watch
from lamina._mapping.entries import Entries
from lamina._streams.verify import Verifying
from lamina._streams.watch import WatchEnded
from lamina.errors import DeadlineError
from lamina.records import Version


def verified(shell: Shell, base: Entries) -> Version:
    """Walk a config's hash chain up to the version that it stands on, and return that version's header."""
    return walked(shell, Verifying(shell.session, base))


def walked(shell: Shell, verifying: Verifying) -> Version:
    """Walk to the end of a hash chain, and return the last version's header."""
    with _Walk(shell, verifying, shell.session.timeout_seconds) as walk:
        return walk.end()


class _Walk(Watch):
    """A watch that takes digests instead of changes, and has an end.

    Long chains take longer than a verb's `timeout`: here that is how long the server may be silent.
    """

    def __init__(self, shell: Shell, verifying: Verifying, timeout: float) -> None:
        super().__init__(shell, verifying, timeout)
        self._verifying = verifying

    def end(self) -> Version:
        """Walk to the end."""
        try:
            while (version := self._next(self._verifying.step())) is None:
                pass
        except WatchEnded:
            raise DeadlineError(f"{self._verifying.place}; the server was silent for too long") from None
        return version
