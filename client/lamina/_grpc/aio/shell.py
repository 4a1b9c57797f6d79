"""Runs flows over grpc.aio: makes the calls, waits, and holds the channels. sync/shell.py is for threads."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from weakref import WeakSet, finalize

import grpc

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._flows.reads import Listing
from lamina._grpc import gevent
from lamina._grpc.connection import Address, Connection, another_may_do_better, call_error
from lamina._grpc.pool import Link, Owner, Pool
from lamina._grpc.second_look import SecondLook
from lamina._runtime.tracebacks import await_users, short
from lamina._wire.rpcs import Rpc
from lamina.errors import DeadlineError, LaminaError, UnavailableError

Result = TypeVar("Result")
Item = TypeVar("Item")


class Closable(Protocol):
    """A watch, as far as a client needs it."""

    async def close(self) -> None:
        """End it."""
        ...


@dataclass(eq=False, slots=True, weakref_slot=True)
class Stream:
    """A watch's stream and its channel."""

    link: Link[grpc.aio.Channel]
    call: Any
    finalizer: Any = None


class Shell:
    """Runs the flows of a client, its configs and its watches. Shared by tasks."""

    def __init__(self, connection: Connection) -> None:
        self.target = connection.target
        self.session = connection.session()
        self._connection = connection
        self._metadata = grpc.aio.Metadata(*connection.metadata)  # once: gRPC would make it for each call
        traced = connection.tracing.aio if connection.tracing else None
        self._pool = Pool[grpc.aio.Channel](connection.addresses, _open_channel, _owner, traced)
        self._second_look = SecondLook()
        self._watches: WeakSet[Closable] = WeakSet()

    @short
    async def run(self, flow: Flow[Result]) -> Result:
        """Perform the effects of a verb's flow until it returns."""
        return await run(flow, self.perform)

    async def iterate(self, listing: Listing[Item]) -> AsyncIterator[Item]:
        """Read a listing as it is iterated over."""
        while (page := await self.run(listing.next_page())) is not None:
            for item in page:
                yield item

    async def perform(self, effect: Effect) -> Any:
        """Perform one effect of a flow."""
        match effect:
            case Call():
                return await self._call(effect)
            case Sleep(seconds):
                return await asyncio.sleep(seconds)
            case Invoke(function, argument):
                return await await_users(function, argument)
            case Open() | Receive():
                raise AssertionError("only a watch has a stream")

    async def open_stream(self, rpc: Rpc[Any, Any], request: Any) -> "Stream":
        """Begin a stream on a channel that has room for it; close it with `close_stream`."""
        metadata = await self._present_metadata(self.session.timeout_seconds)
        link = self._pool.reserve()
        stream = Stream(link, link.method(rpc)(request, metadata=metadata))
        stream.finalizer = finalize(stream, self._left_lying, asyncio.get_running_loop(), link, stream.call)
        stream.finalizer.atexit = False
        return stream

    async def close_stream(self, stream: "Stream") -> None:
        """Cancel a stream, and close its channel if it was the channel's last stream."""
        stream.finalizer.detach()
        stream.call.cancel()
        channel = self._pool.release(stream.link)
        if channel is not None:
            await channel.close()

    def _left_lying(self, loop: asyncio.AbstractEventLoop, link: Link[grpc.aio.Channel], call: Any) -> None:
        """Release the stream of a watch that nobody closed. Called on any thread, by the garbage collector."""
        self._pool.abandon(link)
        with suppress(RuntimeError):  # the loop is closed, and so are its streams
            loop.call_soon_threadsafe(call.cancel)

    def failed(self, link: Link[grpc.aio.Channel], error: grpc.RpcError) -> LaminaError:
        """Return our error for gRPC's, and change to another server if that may help."""
        mapped = self._connection.credential.explained(call_error(error, link.address))
        if another_may_do_better(mapped):
            self._pool.failed(link)
        return mapped

    def adopt(self, watch: Closable) -> None:
        """Remember a watch, to close it with the client if it still exists."""
        self._watches.add(watch)

    async def close(self) -> None:
        """End the watches and close all channels, which ends their calls."""
        for watch in list(self._watches):
            await watch.close()
        for channel in self._pool.close():
            await channel.close()

    async def _present_metadata(self, seconds: float) -> grpc.aio.Metadata:
        """Return the metadata of the next call. Asking for a token that is renewed may run a user's function."""
        if not self.session.renews_token:
            return self._metadata
        credential = self._connection.credential
        try:
            async with asyncio.timeout(seconds):
                token = await credential.awaited()
        except TimeoutError:
            text = f"no token: {credential.origin} has not returned within {seconds:g} s"
            raise DeadlineError(text, wrote_nothing=True) from None
        return grpc.aio.Metadata(*self._connection.metadata_with(token))

    async def _call(self, call: Call) -> Any:
        ends = time.monotonic() + call.timeout_seconds
        metadata = await self._present_metadata(call.timeout_seconds)
        link = self._pool.unary()
        try:
            left = max(ends - time.monotonic(), 0.0)
            return await link.method(call.rpc)(call.request, timeout=left, metadata=metadata)
        except grpc.RpcError as error:
            failure = self.failed(link, error)
            if self._second_look.is_needed(error, link.address):
                failure = await asyncio.to_thread(self._second_look.explain, error, link.address)
            raise failure from None
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise UnavailableError("the connection was closed") from None


async def run(flow: Flow[Result], perform: Callable[[Effect], Awaitable[Any]]) -> Result:
    """Perform a flow's effects until it returns; errors are thrown into the flow."""
    try:
        effect = next(flow)
        while True:
            try:
                result = await perform(effect)
            except BaseException as error:  # noqa: BLE001 - it is raised in the flow
                effect = flow.throw(error)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        result_of_flow: Result = stop.value
        return result_of_flow


def is_cancelled() -> bool:
    """Return whether the running task was cancelled: grpc.aio also raises CancelledError for a call that it closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _open_channel(address: Address) -> grpc.aio.Channel:
    gevent.refuse_asyncio()
    if address.tls is None:
        return grpc.aio.insecure_channel(address.target, address.options)
    return grpc.aio.secure_channel(address.target, address.tls.credentials(), address.options)


def _owner() -> Owner:
    return os.getpid(), asyncio.get_running_loop()
