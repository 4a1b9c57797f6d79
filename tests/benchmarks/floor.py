"""The floor: the cost that every gRPC server in Python, and every write to a disk, has at least.

`python -m tests.benchmarks.floor` is a server of the same kind as ours, with the same
options, whose handlers do nothing:

    Empty  returns no bytes
    Keep   keeps its request
    Give   returns the kept bytes
    Watch  a stream that stays open: an empty message at once, and then each request of Send. With a number of seconds
           as its request, 48 bytes in each such interval instead, as many as a bookmark has
    Send   sends its request to all these streams
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

from lamina_server.rpc import transport
from lamina_server.settings import Settings
from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import new_text
from tests.support.server import ServerProcess

_SERVICE = "/floor.Floor/"
_WATCH = _SERVICE + "Watch"
_BOOKMARK = bytes(48)


def server() -> ServerProcess:
    """Return the server, which is a process of its own."""
    return ServerProcess.of_program([sys.executable, "-m", "tests.benchmarks.floor"])


def empty(channel: grpc.Channel, request: Any) -> Call:
    """Return a call that sends a request and gets nothing back."""
    method = channel.unary_unary(_SERVICE + "Empty", type(request).SerializeToString, _as_it_is)
    return lambda: method(request)


def constant(channel: grpc.Channel, request: Any, reply: Any) -> Call:
    """Return a call that sends a request, and parses the reply, which is always the same."""
    channel.unary_unary(_SERVICE + "Keep")(reply.SerializeToString())
    give = channel.unary_unary(_SERVICE + "Give", type(request).SerializeToString, type(reply).FromString)
    return lambda: give(request)


def empty_callers(channel: grpc.aio.Channel, make: Callable[[], Any], number: int) -> Sequence[AsyncCall]:
    """Make callers that send requests and get nothing back."""
    method = channel.unary_unary(_SERVICE + "Empty", type(make()).SerializeToString, _as_it_is)

    async def call() -> None:
        await method(make())

    return [call] * number


def open_stream(channel: grpc.aio.Channel, interval_seconds: int | None = None) -> Any:
    """Open a stream: an empty message, and then bookmarks at this interval, or without one the requests of Send."""
    return channel.unary_stream(_WATCH, _as_it_is, _as_it_is)(str(interval_seconds or "").encode())


async def watch(channel: grpc.aio.Channel) -> Any:
    """Open a stream that brings the requests of Send; return it when the server has answered."""
    stream = open_stream(channel)
    assert await stream.read() == b""
    return stream


def sending(channel: grpc.aio.Channel, data: bytes) -> AsyncCall:
    """Return a call that sends the same bytes to all streams."""
    method = channel.unary_unary(_SERVICE + "Send", _as_it_is, _as_it_is)

    async def call() -> None:
        await method(data)

    return call


@contextmanager
def synced_inserts(folder: Path) -> Iterator[Call]:
    """Yield a call that inserts one row into a SQLite file in this process, and waits for the disk."""
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
        self._sent = b""
        self._sends = 0
        self._waiting: list[asyncio.Future[None]] = []
        methods = {"Empty": self._empty, "Keep": self._keep, "Give": self._give, "Send": self._send}
        self._handlers: dict[str, Any] = {
            _SERVICE + name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()
        }
        self._handlers[_WATCH] = grpc.unary_stream_rpc_method_handler(self._watch)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)

    async def _empty(self, data: bytes, _: Any) -> bytes:
        return b""

    async def _keep(self, data: bytes, _: Any) -> bytes:
        self._kept = data
        return b""

    async def _give(self, data: bytes, _: Any) -> bytes:
        return self._kept

    async def _watch(self, data: bytes, context: Any) -> None:
        seen = self._sends
        await context.write(b"")
        while data:
            await asyncio.sleep(float(data))
            await context.write(_BOOKMARK)
        while True:
            while self._sends == seen:
                waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(waiting)
                await waiting
            seen += 1
            await context.write(self._sent)

    async def _send(self, data: bytes, _: Any) -> bytes:
        self._sent = data
        self._sends += 1
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
        return b""


async def _serve() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = Settings()
    server = grpc.aio.server(options=transport.options(settings, transport.parse(settings.listen)))
    server.add_generic_rpc_handlers((_Handlers(),))
    target = transport.bind(server, transport.parse("localhost:0"), None)
    await server.start()
    print(f"lamina-server ready on {target}, with nothing behind it", flush=True)  # what ServerProcess waits for
    await stop.wait()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(_serve())
