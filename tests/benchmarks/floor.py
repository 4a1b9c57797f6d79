"""The floor: what nobody who serves gRPC from Python, or writes to a disk, can do without.

`python -m tests.benchmarks.floor` is a server of the same kind as ours, with the same
options, whose handlers do nothing:

    Empty  returns no bytes
    Keep   keeps what it was sent
    Give   returns what was kept
"""

import asyncio
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from lamina_server.rpc import listening
from lamina_server.settings import Settings
from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import new_text
from tests.support.server import ServerProcess

_SERVICE = "/floor.Floor/"


@contextmanager
def serving() -> Iterator[str]:
    """Run the server as a process of its own; give its target."""
    with ServerProcess.of_program([sys.executable, "-m", "tests.benchmarks.floor"]) as server:
        yield server.target


def empty(channel: grpc.Channel, request: Any) -> Call:
    """Return a call that sends a request and gets nothing back."""
    method = channel.unary_unary(_SERVICE + "Empty", type(request).SerializeToString, _as_it_is)
    return lambda: method(request)


def constant(channel: grpc.Channel, request: Any, reply: Any) -> Call:
    """Return a call that sends a request and gets always the same reply back, which it parses."""
    channel.unary_unary(_SERVICE + "Keep")(reply.SerializeToString())
    give = channel.unary_unary(_SERVICE + "Give", type(request).SerializeToString, type(reply).FromString)
    return lambda: give(request)


def empty_callers(channel: grpc.aio.Channel, make: Callable[[], Any], number: int) -> Sequence[AsyncCall]:
    """Make callers that send requests and get nothing back."""
    method = channel.unary_unary(_SERVICE + "Empty", type(make()).SerializeToString, _as_it_is)

    async def call() -> None:
        await method(make())

    return [call] * number


@contextmanager
def synced_inserts(folder: Path) -> Iterator[Call]:
    """Give a call that inserts one row into a SQLite file in this process, and waits for the disk."""
    connection = sqlite3.connect(folder / "inserts.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE inserted(id INTEGER PRIMARY KEY, value TEXT NOT NULL)")
    try:
        yield lambda: connection.execute("INSERT INTO inserted(value) VALUES (?)", (new_text(),))
    finally:
        connection.close()


def _as_it_is(data: bytes) -> bytes:
    return data


class _Handlers(grpc.GenericRpcHandler):
    """The methods, on raw bytes as ours are."""

    def __init__(self) -> None:
        self._kept = b""
        methods = {"Empty": self._empty, "Keep": self._keep, "Give": self._give}
        self._handlers: dict[str, Any] = {
            _SERVICE + name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)

    async def _empty(self, data: bytes, _: Any) -> bytes:
        return b""

    async def _keep(self, data: bytes, _: Any) -> bytes:
        self._kept = data
        return b""

    async def _give(self, data: bytes, _: Any) -> bytes:
        return self._kept


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings()
    server = grpc.aio.server(options=listening.options(settings))
    server.add_generic_rpc_handlers((_Handlers(),))
    target = listening.bind(server, listening.parse("localhost:0"), None)
    await server.start()
    print(f"lamina-server ready on {target}, with nothing behind it", flush=True)  # what ServerProcess waits for
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
