"""Runs flows over grpc, for threads: makes the calls, waits, and holds the channels. aio/shell.py is for asyncio."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar
from weakref import WeakSet, finalize

import grpc

from lamina._flows.effects import Call, Effect, Flow, Invoke, Open, Receive, Sleep
from lamina._flows.reads import Listing
from lamina._flows.run import run
from lamina._grpc import gevent
from lamina._grpc.connection import Address, Connection, another_may_do_better, call_error
from lamina._grpc.pool import Link, Owner, Pool
from lamina._grpc.second_look import SecondLook
from lamina._runtime.arguments import finished
from lamina._runtime.forking import ForkGate, ForkSafeLock
from lamina._runtime.tracebacks import call_users, short
from lamina._wire.rpcs import Rpc
from lamina.errors import LaminaError, UnavailableError

Result = TypeVar("Result")
Item = TypeVar("Item")

# grpc.experimental.ChannelOptions.SingleThreadedUnaryStream: a stream is read by the thread that waits for it. If gRPC
# read it on its own thread, we could not know before a fork whether that thread has left gRPC.
_SINGLE_THREADED: Final = ("SingleThreadedUnaryStream", 1)


class Closable(Protocol):
    """A watch, as far as a client needs it."""

    def close(self) -> None:
        """End it."""
        ...


@dataclass(eq=False, slots=True, weakref_slot=True)
class Stream:
    """A watch's stream, which is the `call`, and its channel, the `link`; both are None after it was closed."""

    link: Any
    call: Any
    process: int = field(default_factory=os.getpid)
    is_closed: bool = False
    finalizer: Any = None


class Shell:
    """Runs the flows of a client, its configs and its watches. Shared by threads."""

    def __init__(self, connection: Connection) -> None:
        self.target = connection.target
        self.session = connection.session()
        self._connection = connection
        self._metadata = connection.metadata
        traced = connection.tracing.sync if connection.tracing else None
        self._pool = Pool[grpc.Channel](connection.addresses, gevent.guarded(_open_channel), _owner, traced)
        self._second_look = SecondLook()
        self._gate = ForkGate(self._clear)
        self._lock = ForkSafeLock()
        self._watches: WeakSet[Closable] = WeakSet()

    @short
    def run(self, flow: Flow[Result]) -> Result:
        """Perform the effects of a verb's flow until it returns."""
        return run(flow, self.perform)

    def iterate(self, listing: Listing[Item]) -> Iterator[Item]:
        """Read a listing as it is iterated over."""
        while (page := self.run(listing.next_page())) is not None:
            yield from page

    def perform(self, effect: Effect) -> Any:
        """Perform one effect of a flow."""
        match effect:
            case Call():
                return self._call(effect)
            case Sleep(seconds):
                return time.sleep(seconds)
            case Invoke(function, argument):
                return finished(call_users(function, argument))
            case Open() | Receive():
                raise AssertionError("only a watch has a stream")

    def open_stream(self, rpc: Rpc[Any, Any], request: Any) -> "Stream":
        """Begin a stream on a channel that has room for it; close it with `close_stream`."""
        metadata = self._present_metadata()
        with self._gate:
            link = self._pool.reserve()
            try:
                stream = Stream(link, link.method(rpc)(request, metadata=metadata))
            except ValueError:  # a fork has just closed it
                self._pool.release(link)
            else:
                # If a watch is collected without a close, its stream ends too: gRPC cancels a call that is collected.
                stream.finalizer = finalize(stream, self._pool.abandon, link)
                stream.finalizer.atexit = False
                return stream
        raise UnavailableError("the connection was closed")

    def receive(self, stream: "Stream") -> Any:
        """Wait for a stream's next message; the stream's end is an UnavailableError too."""
        with self._gate:
            link, call = stream.link, stream.call
            if stream.process != os.getpid():
                call = None  # it is the parent's: a forked child opens its own
            try:
                return next(call or iter(()))
            except StopIteration:
                failure: LaminaError = UnavailableError("the server ended the watch")
            except grpc.RpcError as error:
                # A stream that this client closed says nothing about the server.
                failure = self._told(error, link) if stream.is_closed else self._failed(link, error)
            finally:
                del link, call
        # Raised out here, so that it does not hold gRPC's error, which is the call: that must go within the gate.
        raise failure

    def close_stream(self, stream: "Stream") -> None:
        """Cancel a stream, and close its channel if it was the channel's last stream."""
        if stream.process != os.getpid():
            return
        stream.is_closed = True
        stream.finalizer.detach()
        with self._gate:
            stream.call.cancel()
            channel = self._pool.release(stream.link)
            if channel is not None:
                channel.close()
            stream.link = stream.call = channel = None

    def adopt(self, watch: Closable) -> None:
        """Remember a watch, to close it with the client if it still exists."""
        with self._lock:
            self._watches.add(watch)

    def close(self) -> None:
        """End the watches and close all channels, which ends their calls."""
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.close()
        for channel in self._pool.close():
            channel.close()

    def _present_metadata(self) -> Any:
        """Return the metadata of the next call. Asking for a token that is renewed may run a user's function."""
        if not self.session.renews_token:
            return self._metadata
        return self._connection.metadata_with(self._connection.credential.present())

    def _call(self, call: Call) -> Any:
        ends = time.monotonic() + call.timeout_seconds
        metadata = self._present_metadata()
        with self._gate:
            link = self._pool.unary()
            try:
                left = max(ends - time.monotonic(), 0.0)
                return link.method(call.rpc)(call.request, timeout=left, metadata=metadata)
            except grpc.RpcError as error:
                failure = self._failed(link, error)
                if self._second_look.is_needed(error, link.address):
                    failure = self._second_look.explain(error, link.address)
            except ValueError:  # a fork or another thread has just closed it
                failure = UnavailableError("the connection was closed")
        raise failure

    def _failed(self, link: Link[grpc.Channel], error: grpc.RpcError) -> LaminaError:
        """Return our error for gRPC's, and change to another server if that may help."""
        mapped = self._told(error, link)
        if another_may_do_better(mapped):
            self._pool.failed(link)
        return mapped

    def _told(self, error: grpc.RpcError, link: Link[grpc.Channel]) -> LaminaError:
        return self._connection.credential.explained(call_error(error, link.address))

    def _clear(self) -> None:
        for channel in self._pool.clear():
            channel.close()


def _open_channel(address: Address) -> grpc.Channel:
    options = (*address.options, _SINGLE_THREADED)
    if address.tls is None:
        return grpc.insecure_channel(address.target, options)
    return grpc.secure_channel(address.target, address.tls.credentials(), options)


def _owner() -> Owner:
    return os.getpid(), None
