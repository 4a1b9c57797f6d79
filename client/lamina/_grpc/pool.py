"""Which channel a call uses, and the change to another server."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeAlias, TypeVar

import grpc

from lamina._grpc.connection import Address
from lamina._runtime.forking import ForkSafeLock
from lamina._wire.rpcs import Rpc
from lamina.errors import InvalidError

STREAMS_LIMIT: Final = 100
"""The watches of a connection, by the server's default. It takes as many other streams."""

ChannelT = TypeVar("ChannelT", bound=grpc.Channel | grpc.aio.Channel)

Traced: TypeAlias = Callable[[Rpc[Any, Any], tuple[str, int | None], Callable[..., Any]], Callable[..., Any]]
"""Makes a function that makes a call one that also makes a span, with the server's address and port."""

Owner: TypeAlias = tuple[int, object]
"""A process id, and in asyncio an event loop."""


@dataclass(eq=False, slots=True)
class Link(Generic[ChannelT]):
    """One channel, its address, what makes spans of its calls, and the number of its streams."""

    channel: ChannelT
    address: Address
    traced: Traced | None = None
    streams: int = 0
    _methods: dict[str, Any] = field(default_factory=dict[str, Any])

    def method(self, rpc: Rpc[Any, Any]) -> Any:
        """Return the function that makes the call."""
        if rpc.name not in self._methods:
            make = self.channel.unary_stream if rpc.streaming else self.channel.unary_unary
            function = make(rpc.path, rpc.serialize, rpc.deserialize)
            self._methods[rpc.name] = self.traced(rpc, self.address.server, function) if self.traced else function
        return self._methods[rpc.name]


class Pool(Generic[ChannelT]):
    """The channels of one client, opened when they are first needed. Shared by threads.

    All unary calls use one channel. Watches have other channels, so that large reads do not delay them, each with
    as many streams as a connection carries. All use one address until that fails; then the next one, in turn.

    A channel belongs to the process, and in asyncio the event loop, that opened it: `owner` tells them apart. In a
    forked child the parent's channels are kept, unused, for ever: to close one could hang.
    """

    def __init__(
        self,
        addresses: Sequence[Address],
        open_channel: Callable[[Address], ChannelT],
        owner: Callable[[], Owner],
        traced: Traced | None = None,
    ) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        self._owner = owner
        self._traced = traced
        self._owned_by: Owner | None = None
        self._lock = ForkSafeLock()
        self._current = 0
        self._unary: Link[ChannelT] | None = None
        self._streams: list[Link[ChannelT]] = []
        self._inherited: list[Any] = []
        self._abandoned: deque[Link[ChannelT]] = deque()
        self._closed = False

    def unary(self) -> Link[ChannelT]:
        """Return the channel for a unary call."""
        with self._lock:
            self._claim()
            address = self._addresses[self._current]
            if self._unary is None or self._unary.address is not address:
                # The old channel may still carry calls of other threads: it closes with the last reference to it.
                self._unary = self._link(address)
            return self._unary

    def reserve(self) -> Link[ChannelT]:
        """Return a channel with room for one more stream, and count the stream; call `release` at its end."""
        with self._lock:
            self._claim()
            address = self._addresses[self._current]
            for link in self._streams:
                if link.address is address and link.streams < STREAMS_LIMIT:
                    break
            else:
                link = self._link(address)
                self._streams.append(link)
            link.streams += 1
            return link

    def release(self, link: Link[ChannelT]) -> ChannelT | None:
        """Release a stream; return its channel if that is to be closed now."""
        with self._lock:
            self._claim(even_closed=True)
            return link.channel if self._count_off(link) else None

    def abandon(self, link: Link[ChannelT]) -> None:
        """Release an abandoned stream on the pool's next use.

        Called by the garbage collector, which may run anywhere, even in the middle of the pool's own work. So this
        takes no lock and closes no channel. A channel that is no longer needed closes with the last reference to it.
        """
        self._abandoned.append(link)

    def failed(self, link: Link[ChannelT]) -> None:
        """Change to the next address, unless another call has done so already or the channel is no longer used."""
        with self._lock:
            self._claim(even_closed=True)
            ours = link is self._unary or link in self._streams
            if ours and self._addresses[self._current] is link.address:
                self._current = (self._current + 1) % len(self._addresses)

    def close(self) -> list[ChannelT]:
        """Refuse calls from now on; return the channels to close."""
        self._closed = True
        return self.clear()

    def clear(self) -> list[ChannelT]:
        """Forget all channels, and return them to the caller, who closes them; the next call opens a new one."""
        with self._lock:
            self._claim(even_closed=True)
            links = [*self._streams, *([self._unary] if self._unary else [])]
            self._streams, self._unary = [], None
            return [link.channel for link in links]

    def _claim(self, *, even_closed: bool = False) -> None:
        """Leave channels of another owner alone, and count off abandoned streams: each use begins with this."""
        if self._closed and not even_closed:
            raise InvalidError("this client is closed")
        owner = self._owner()
        if self._owned_by != owner:
            if self._owned_by is not None and self._owned_by[0] != owner[0]:
                self._inherited += [self._unary, *self._streams]
            self._owned_by, self._unary, self._streams = owner, None, []
        while self._abandoned:
            self._count_off(self._abandoned.popleft())

    def _count_off(self, link: Link[ChannelT]) -> bool:
        """Release a stream; return whether its channel is not needed any more."""
        link.streams -= 1
        if link.streams or link not in self._streams:
            return False
        self._streams.remove(link)
        return True

    def _link(self, address: Address) -> Link[ChannelT]:
        return Link(self._open_channel(address), address, self._traced)
