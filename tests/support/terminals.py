"""A server in a terminal of its own, which can be closed."""

import os
import pty
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def in_terminal(program: Sequence[str], log: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], None]]]:
    """Start a server, and wait for its ready line. Give the process, and what closes its terminal.

    log  where its standard error goes
    """
    terminal, line = pty.openpty()
    # The shell leads a session without a terminal, so the one that it opens becomes the session's.
    opening = ["sh", "-c", 'exec "$@" <"$TTY" >"$TTY" 2>"$LOG"', "sh", *program]
    environment = {**os.environ, "TTY": os.ttyname(line), "LOG": str(log)}

    def close() -> None:
        os.close(line)
        os.close(terminal)

    with subprocess.Popen(opening, env=environment, start_new_session=True) as process:
        printed = b""
        while b"ready on" not in printed:
            printed += os.read(terminal, 4096)
        try:
            yield process, close
        finally:
            process.kill()
