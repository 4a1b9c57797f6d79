"""Trials of servers and networks that fall silent: how long it takes until both ends notice.

Each trial returns its figures; its caller compares them with the limits.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

import lamina
from lamina._grpc.connection import OPTIONS
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc
from tests.faults.proxy import BOTH_WAYS, Mode, Proxy
from tests.support.server import ServerProcess

CONFIG = "torture/silence"
NOTICED_SECONDS, FREED_SECONDS = 20.0, 45.0
"""P14, and half-open TCP: when a client must have gone on, and when the server must have given up the stream."""
CEILING_SECONDS = 90.0
"""When the trial gives up."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """Seconds from SIGSTOP until each SDK's watch went on at the other server, and until a bare stream ended."""

    sdk_seconds: float
    aio_seconds: float
    stub_seconds: float


async def frozen(url: str) -> Frozen:
    """Freeze one of two servers over a PostgreSQL, and commit at the other."""
    with ServerProcess(url) as one, ServerProcess(url) as other, lamina.connect(other.target) as writer:
        both = f"{one.target},{other.target}"
        writing = writer.config(CONFIG, create=True)
        writing["x"] = 1
        writing.commit()
        channel = grpc.aio.insecure_channel(one.target, options=OPTIONS)
        with lamina.connect(both) as client:
            async with channel, lamina.aio.connect(both) as awaited:
                watch = client.config(CONFIG).watch(after=0)
                aio_watch = (await awaited.config(CONFIG)).watch(after=0)
                # Both watches are open now, at the first server.
                assert (next(watch).version, (await anext(aio_watch)).version) == (1, 1)
                stub = lamina_pb2_grpc.ConfigServiceStub(channel)
                stream: Any = stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG))
                assert (await stream.read()).bookmark.version == 1
                with _stopped(one):
                    began = time.monotonic()
                    writing["x"] = 2
                    writing.commit()
                    waits = (
                        _seconds_to_the_next(asyncio.to_thread(next, watch), began),
                        _seconds_to_the_next(anext(aio_watch), began),
                        _seconds_to_the_end(stream, began),
                    )
                    return Frozen(*await asyncio.wait_for(asyncio.gather(*waits), CEILING_SECONDS))


@contextmanager
def _stopped(server: ServerProcess) -> Iterator[None]:
    server.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.signal(signal.SIGCONT)


async def _seconds_to_the_next(change: Awaitable[lamina.KeyChange], began: float) -> float:
    assert (await change).version == 2
    return time.monotonic() - began


async def _seconds_to_the_end(stream: Any, began: float) -> float:
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.RpcError:
        pass
    return time.monotonic() - began


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """Seconds from the start of the silence until the client went on, and until the server closed its socket."""

    resumed_seconds: float
    freed_seconds: float


async def half_open(url: str) -> HalfOpen:
    """Make a connection silent in both directions while it stays open, and commit over another one."""
    with (
        ServerProcess(url) as server,
        Proxy(server.target) as proxy,
        lamina.connect(f"{proxy.target},{server.target}") as client,
        lamina.connect(server.target) as writer,
    ):
        writing = writer.config(CONFIG, create=True)
        writing["x"] = 1
        writing.commit()
        before = sockets(server.pid)
        with client.config(CONFIG).watch(after=0) as watch:
            assert next(watch).version == 1
            ours = sockets(server.pid) - before
            assert ours
            proxy.switch(Mode(blackholes=BOTH_WAYS))
            began = time.monotonic()
            writing["x"] = 2
            writing.commit()
            freed = asyncio.create_task(_seconds_to_close(server.pid, ours, began))
            change = await asyncio.wait_for(asyncio.to_thread(next, watch), CEILING_SECONDS)
            resumed_seconds = time.monotonic() - began
            freed_seconds = await asyncio.wait_for(freed, CEILING_SECONDS)
    assert change.version == 2
    return HalfOpen(resumed_seconds, freed_seconds)


def sockets(pid: int) -> frozenset[str]:
    """Return the sockets that a process has open."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:"):
            found.add(target)
    return frozenset(found)


async def _seconds_to_close(pid: int, ours: frozenset[str], began: float) -> float:
    while sockets(pid) & ours:  # noqa: ASYNC110 - of another process
        await asyncio.sleep(0.1)
    return time.monotonic() - began
