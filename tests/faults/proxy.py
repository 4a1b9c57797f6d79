"""A TCP proxy in front of one server that misbehaves on command, also on open connections. Knows bytes alone.

It runs in a thread of its own, on asyncio, so that both threads and coroutines can use it:

    with Proxy(server.target) as proxy:
        client = lamina.connect(proxy.target)
        proxy.switch(Mode(blackholes={Way.UP, Way.DOWN}))    # half-open: nothing comes through, without an error
        proxy.switch(PASS)                                   # ... and now everything held back arrives
        proxy.reset()
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Collection, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Self, TypeVar

CHUNK_BYTES = 1 << 16
CHUNKS = 16
"""How much one way of a connection holds: little, so that the sender soon notices when its receiver stops."""
CALL_SECONDS = 10.0
_NO_LINGER = struct.pack("ii", 1, 0)
"""With it, a socket that is closed sends RST and not FIN."""

Result = TypeVar("Result")


class Way(Enum):
    """The direction of bytes."""

    UP = "to the server"
    DOWN = "to the client"


BOTH_WAYS = frozenset(Way)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How a proxy treats all its connections.

    latency_seconds   how long every byte is delayed, and up to `jitter_seconds` more; the order stays
    blackholes        the ways on which no bytes are taken any more, while the connection stays
    bytes_per_second  how fast bytes come through on each way of a connection; 0: without a limit
    cut_after_bytes   after how many bytes each connection is cut, by way, counted from the switch
    refuses           whether new connections are refused
    """

    latency_seconds: float = 0.0
    jitter_seconds: float = 0.0
    bytes_per_second: float = 0.0
    blackholes: Collection[Way] = frozenset()
    cut_after_bytes: Mapping[Way, int] = field(default_factory=dict)
    refuses: bool = False


PASS = Mode()


class Proxy:
    """One proxy: clients connect to `target`; the server at `upstream` (HOST:PORT) may go down and come back."""

    def __init__(self, upstream: str, *, seed: int = 0) -> None:
        port = int(upstream.rpartition(":")[2])
        self.upstream = ("127.0.0.1", port)
        self.mode = PASS
        self.dice = random.Random(seed)
        self.gates = {way: asyncio.Event() for way in Way}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._listens = False
        self._listener = _bound(0)
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.switch(PASS)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def switch(self, mode: Mode) -> None:
        """Treat all connections in this mode from now on."""
        self._call(self._switch(mode))

    def reset(self) -> int:
        """End all connections with RST, in both directions; return how many."""
        return self._call(self._reset(1.0))

    def reset_some(self, share: float) -> int:
        """End some connections with RST, each with this probability; return how many."""
        return self._call(self._reset(share))

    def _call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(CALL_SECONDS)

    async def _switch(self, mode: Mode) -> None:
        self.mode = mode
        for link in self._links:
            link.passed = dict.fromkeys(Way, 0)
        for way, gate in self.gates.items():
            if way in mode.blackholes:
                gate.clear()
            else:
                gate.set()
        if mode.refuses and self._listens:
            self._refuse()
        elif not mode.refuses and not self._listens:
            self._listen()

    def _listen(self) -> None:
        self._listener.listen(socket.SOMAXCONN)
        self._loop.add_reader(self._listener, self._accept)
        self._listens = True

    def _refuse(self) -> None:
        """Stop listening, but keep the port: bound and not listened on, it refuses."""
        port = self._listener.getsockname()[1]
        self._loop.remove_reader(self._listener)
        self._listener.close()
        self._listener = _bound(port)
        self._listens = False

    def _accept(self) -> None:
        # Not in a task: if it were cancelled, a connection that it has just accepted would be lost.
        with suppress(BlockingIOError, ConnectionAbortedError):
            client, _ = self._listener.accept()
            link = _Link(self, client)
            task = self._links[link] = self._loop.create_task(link.run())
            task.add_done_callback(partial(self._ended, link))

    def _ended(self, link: "_Link", _: asyncio.Task[None]) -> None:
        del self._links[link]
        link.close()  # here, because a task that is cancelled before it began has no `finally`

    async def _reset(self, share: float) -> int:
        chosen = [task for task in self._links.values() if self.dice.random() < share]
        await _cancelled(*chosen)
        return len(chosen)

    async def _close(self) -> None:
        if self._listens:
            self._refuse()
        self._listener.close()
        await self._reset(1.0)


class _CutError(Exception):
    """As many bytes have passed as the mode allows."""


class _Link:
    """A client's connection to the proxy, and the one from there to the server.

    passed  how many bytes went each way since the mode was switched
    resets  whether it ends with RST
    """

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.passed = dict.fromkeys(Way, 0)
        self.resets = True

    async def run(self) -> None:
        """Pass bytes until both sides have sent all, or it is cut. Any other end sends RST to both."""
        try:
            for end in (self._client, self._server):
                end.setblocking(False)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(self._server, self._proxy.upstream)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(Way.UP, self._client, self._server))
                group.create_task(self._pump(Way.DOWN, self._server, self._client))
            self.resets = False
        except* _CutError:
            self.resets = False
        except* OSError:
            pass  # one of them is gone: `close` sends RST to the other

    def close(self) -> None:
        """Close both sockets."""
        for end in (self._client, self._server):
            if self.resets:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            end.close()

    async def _pump(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take(way, source, chunks))
            group.create_task(self._give(way, sink, chunks))

    async def _take(self, way: Way, source: socket.socket, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        data = b"."
        while data:
            await self._proxy.gates[way].wait()
            data = await loop.sock_recv(source, CHUNK_BYTES)
            mode = self._proxy.mode
            delay = mode.latency_seconds + self._proxy.dice.uniform(0, mode.jitter_seconds)
            due = max(due, loop.time() + delay)
            await chunks.put((due, data))

    async def _give(self, way: Way, sink: socket.socket, chunks: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await chunks.get()
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            await self._proxy.gates[way].wait()
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            limit = self._proxy.mode.cut_after_bytes.get(way)
            left = len(data) if limit is None else limit - self.passed[way]
            await loop.sock_sendall(sink, data[:left])
            self.passed[way] += len(data[:left])
            if rate := self._proxy.mode.bytes_per_second:
                await asyncio.sleep(len(data) / rate)
            if limit is not None and self.passed[way] >= limit:
                raise _CutError


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    listener.bind(("127.0.0.1", port))
    return listener
