"""What the figures want of every peer, and how its process is run."""

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from tests.benchmarks.measuring import AsyncCall, Call

START_SECONDS = 30.0
HOST = "127.0.0.1"


class PeerAbsentError(Exception):
    """This machine or this environment has no such server. The text says how to get it."""


class Peer(Protocol):
    """A running server.

    name     of one of its writes, as a side of a figure
    durable  what its answer to a write promises
    version  of the server
    pid      of its process
    """

    name: str
    durable: str
    version: str
    pid: int

    def put(self) -> AbstractContextManager[Call]:
        """Give a call for one caller, which writes one value."""

    def callers(self, number: int) -> AbstractAsyncContextManager[Sequence[AsyncCall]]:
        """Give callers on this event loop, each of which writes to a key of its own."""


@runtime_checkable
class WatchedPeer(Peer, Protocol):
    """A server whose client calls a function after a change.

    watch_name  the name of the way that it does so, as a side of a figure
    """

    watch_name: str

    def until_called(self) -> AbstractContextManager[Call]:
        """Give a call that writes, and returns when the function that watches the key was called."""


Running: TypeAlias = Callable[[Path], AbstractContextManager[Peer]]
"""Runs a server with its data in a folder. Raises PeerAbsentError."""


def program(name: str, package: str) -> str:
    """Return where a program is, which a package of Debian brings."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PeerAbsentError(f"there is no {name} (Debian: apt install {package})")
    return found


def require(*modules: str) -> None:
    """Raise PeerAbsentError if a Python package is missing."""
    if missing := [name for name in modules if find_spec(name) is None]:
        raise PeerAbsentError(f"{' and '.join(missing)}: not installed; `make bench` does that")


@contextmanager
def process(command: Sequence[str], log: Path, *, port: int) -> Iterator[int]:
    """Run a server's program until it listens, give its process id, and stop it at the end."""
    with log.open("wb") as file:
        running = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_listens(running, port, log)
        yield running.pid
    finally:
        running.terminate()
        running.wait(START_SECONDS)


def free_ports(number: int) -> Sequence[int]:
    """Return ports on which nothing listens."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait_until_it_listens(running: subprocess.Popen[bytes], port: int, log: Path) -> None:
    last = time.monotonic() + START_SECONDS
    while running.poll() is None and time.monotonic() < last:
        with suppress(OSError), socket.create_connection((HOST, port), timeout=START_SECONDS):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{running.args!r} does not listen; it said:\n{log.read_text(errors='replace')}")
