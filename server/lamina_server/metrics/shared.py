"""What several workers share, so that one address has the metrics of all."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory


@dataclass(frozen=True, slots=True)
class Shared:
    """The address that Prometheus asks, whose sockets all workers have, and where they ask each other.

    shown    the address
    sockets  listen on it; the worker that is first answers
    folder   where each worker has a Unix socket of its own; only this account may enter it
    count    how many workers there are
    number   of this worker, from 0 on; a worker that replaces another has its number
    """

    shown: str
    sockets: Sequence[socket.socket]
    folder: Path
    count: int
    number: int = 0

    def path(self, number: int) -> Path:
        """Return the path of a worker's own socket."""
        return self.folder / str(number)


@contextmanager
def shared(shown: str, sockets: Sequence[socket.socket], path: Path | None, count: int) -> Iterator[Shared]:
    """Share sockets while the block lasts, and close them then. `path` is where they are, if they are Unix sockets.

    Raises OSError if no folder can be made.
    """
    with ExitStack() as stack:
        if path is not None:
            stack.callback(path.unlink, missing_ok=True)
        for each in sockets:
            each.settimeout(0)  # or workers that are not the first would wait for the next scrape
            stack.enter_context(each)
        folder = stack.enter_context(TemporaryDirectory(prefix="lamina-", ignore_cleanup_errors=True))
        yield Shared(shown, sockets, Path(folder), count)
