"""A watch for threads."""

from collections.abc import Iterator
from typing import Self

from lamina._grpc.sync.runner import StreamRunner
from lamina._grpc.sync.shell import Shell
from lamina._runtime.copies import Uncopyable
from lamina._runtime.public import public
from lamina._runtime.tracebacks import end_here
from lamina._streams.queue import WatchQueue, check_timeout
from lamina._streams.watch import WatchEnded
from lamina.errors import LaminaError
from lamina.records import KeyChange, VersionChanges


@public("lamina")
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

    def versions(self) -> Iterator[VersionChanges]:
        """Iterate over whole versions instead of single changes."""
        while True:
            try:
                version = self._runner.run(self._queue.next_version())
            except WatchEnded:
                return
            except LaminaError as error:
                end_here(error)
                raise
            yield version

    def close(self) -> None:
        """End the loop at once, from any thread."""
        self._runner.close()

    def __iter__(self) -> Iterator[KeyChange]:
        return self

    def __next__(self) -> KeyChange:
        try:
            return self._runner.run(self._queue.next_change())
        except WatchEnded:
            raise StopIteration from None
        except LaminaError as error:
            end_here(error)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Watch after {self.cursor!r}>"
