"""How to reach a server: addresses, TLS, channel options, metadata, and which channel a call goes by.

Channels of grpc and grpc.aio are alike as far as this module looks at them, so it serves both shells; it runs nothing.
"""

import os
import re
import ssl
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import grpc

from lamina.errors import InvalidError, LaminaError
from lamina.forking import ForkedLock
from lamina.rpcs import Rpc
from lamina.status import error_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

DEFAULT_TARGET: Final = "localhost:7440"
DEFAULT_PORT: Final = 7440
DEFAULT_TIMEOUT_SECONDS: Final = 10.0
STREAMS_LIMIT: Final = 100
"""Streams a connection carries, by the server's default: one more would wait, silently, until another ends."""
TOO_SLOW: Final = "TOO_SLOW"
"""The reason that a watch ends for when this end did not take from it: a server that is well says so."""
MEGABYTE: Final = 1 << 20

_PLAIN: Final = frozenset(range(ord(" "), ord("~") + 1)) - {ord("%")}
"""What metadata takes as it is."""
_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<host>[^][:/\s]+))(?::(?P<port>[0-9]+))?")

ChannelT = TypeVar("ChannelT", bound=grpc.Channel | grpc.aio.Channel)
Owner: TypeAlias = tuple[int, object]
"""A process id, and in asyncio an event loop."""
Pem: TypeAlias = str | os.PathLike[str] | bytes

OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # A peer that froze or was cut off is noticed within 15 s: a ping each 10 s, also while nothing is asked (a watch
    # waits in silence), and 5 s for its answer. keepalive_timeout_ms alone would take a minute longer.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # 0: no limit; else the pings of a silent watch would be held back
    # A server that restarts is found again soon. An attempt may hang for 5 s, not 20, before the next one.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # Retrying is the flows' business: they keep the request id, the deadline and the dice.
    ("grpc.enable_retries", 0),
    # A page or a watch's message is near 1 MiB, or holds one value. A server may be set to larger ones.
    ("grpc.max_receive_message_length", 64 * MEGABYTE),
    # Each channel has a connection of its own, or all watches would share one, and its limit of streams.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class TLS:
    """How to speak TLS: whom to trust, and who this client is. Each is a file's path, or PEM as bytes.

    Without `ca` the system's roots are trusted. `cert` and `key` belong together.
    """

    ca: Pem | None = field(default=None, repr=False)
    cert: Pem | None = field(default=None, repr=False)
    key: Pem | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise InvalidError("TLS takes cert= and key= together, or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files."""
        roots = _system_roots() if self.ca is None else _pem(self.ca)
        return grpc.ssl_channel_credentials(roots, _pem(self.key), _pem(self.cert))


@dataclass(frozen=True, slots=True)
class Address:
    """One server's address as gRPC takes it; `tls` None is plaintext."""

    target: str
    local: bool
    tls: TLS | None

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The channel options; no proxy leads to this very machine, whatever the environment says."""
        return (*OPTIONS, ("grpc.enable_http_proxy", 0)) if self.local else OPTIONS


_TIMEOUT_LIMIT_SECONDS: Final = 366 * 86400.0
"""Far beyond it, gRPC takes a deadline for one that is over, and what tries again would do so for ever."""


@dataclass(frozen=True, slots=True)
class Connection:
    """All that a client was told about how to connect."""

    target: str
    addresses: tuple[Address, ...]
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    timeout_seconds: float


def connection(
    target: str | None, *, token: str | None, tls: TLS | bool | None, timeout: float, author: str | None
) -> Connection:
    """Check and complete what `connect` was given; InvalidError for what cannot be meant. No I/O."""
    target = target if target is not None else os.environ.get("LAMINA_TARGET") or DEFAULT_TARGET
    addresses = tuple(_address(part.strip(), tls=tls) for part in target.split(","))
    if not 0 < timeout <= _TIMEOUT_LIMIT_SECONDS:
        raise InvalidError(f"timeout={timeout!r}: a verb needs some seconds, and at most a year")
    identified = token is not None or (isinstance(tls, TLS) and tls.cert is not None)
    if author is None and not identified:
        # A server that knows its callers refuses to be told an author, so none is told it unasked.
        author = _os_user()
    metadata = [("authorization", f"Bearer {_token(token)}")] if token is not None else []
    metadata += [("lamina-author", quote_author(author))] if author else []
    return Connection(target, addresses, tuple(metadata), float(timeout))


def quote_author(author: str) -> str:
    """Write an author's name as metadata takes it: UTF-8, percent-encoded but for printable ASCII other than "%".

    The server decodes it, so "50%" travels as "50%25" and "Zoë" as "Zo%C3%AB".
    """
    try:
        encoded = author.strip().encode()
    except UnicodeEncodeError:
        raise InvalidError("author holds a lone surrogate, which UTF-8 does not have") from None
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in encoded)


def call_error(error: grpc.RpcError) -> LaminaError:
    """Make our error of gRPC's, sync or aio."""
    ended: Any = error
    return error_of(ended.code().name, ended.details() or "", ended.trailing_metadata() or ())


@dataclass(eq=False, slots=True)
class Link(Generic[ChannelT]):
    """One channel, the address it leads to, and how many streams it carries."""

    channel: ChannelT
    address: Address
    streams: int = 0
    _methods: dict[str, Any] = field(default_factory=dict[str, Any])

    def method(self, rpc: Rpc[Any, Any]) -> Any:
        """Give the function that makes the call."""
        if rpc.name not in self._methods:
            make = self.channel.unary_stream if rpc.streaming else self.channel.unary_unary
            self._methods[rpc.name] = make(rpc.path, rpc.serialize, rpc.deserialize)
        return self._methods[rpc.name]


class Pool(Generic[ChannelT]):
    """The channels of one client, opened when they are first needed. Shared by threads.

    All unary calls go by one channel. Watches have channels apart, so that large reads do not hold them up, each with
    as many streams as a connection carries. All lead to one address until that fails; then to the next, in turn.

    A channel belongs to the process, and in asyncio the event loop, that opened it: `owner` tells them apart. In a
    forked child the parent's channels are kept, unused, for ever: to close one could hang.
    """

    def __init__(
        self, addresses: Sequence[Address], open_channel: Callable[[Address], ChannelT], owner: Callable[[], Owner]
    ) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        self._owner = owner
        self._owned_by: Owner | None = None
        self._lock = ForkedLock()
        self._current = 0
        self._unary: Link[ChannelT] | None = None
        self._streams: list[Link[ChannelT]] = []
        self._inherited: list[Any] = []
        self._abandoned: deque[Link[ChannelT]] = deque()
        self._closed = False

    def unary(self) -> Link[ChannelT]:
        """Give the channel for a unary call."""
        with self._mine():
            address = self._addresses[self._current]
            if self._unary is None or self._unary.address is not address:
                # The old channel may still carry calls of other threads: it closes with the last reference to it.
                self._unary = self._link(address)
            return self._unary

    def reserve(self) -> Link[ChannelT]:
        """Give a channel with room for one more stream, and count it; `release` it after."""
        with self._mine():
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
        """Count a stream off; give the channel if it is to be closed now."""
        with self._mine(even_closed=True):
            return link.channel if self._count_off(link) else None

    def abandon(self, link: Link[ChannelT]) -> None:
        """Count off a stream that was left lying, the next time that somebody uses the pool.

        Called where garbage is collected, which may be anywhere, in the middle of the pool's own work too: so this
        takes no lock and closes no channel. One that is not needed any more closes with the last reference to it.
        """
        self._abandoned.append(link)

    def failed(self, link: Link[ChannelT]) -> None:
        """Go on with the next address, unless somebody has done so already, or the channel was given up."""
        with self._mine(even_closed=True):
            ours = link is self._unary or link in self._streams
            if ours and self._addresses[self._current] is link.address:
                self._current = (self._current + 1) % len(self._addresses)

    def close(self) -> list[ChannelT]:
        """Refuse calls from now on, and give the channels to be closed."""
        self._closed = True
        return self.clear()

    def clear(self) -> list[ChannelT]:
        """Give up all channels, and give them to be closed; the next call opens a new one."""
        with self._mine(even_closed=True):
            links = [*self._streams, *([self._unary] if self._unary else [])]
            self._streams, self._unary = [], None
            return [link.channel for link in links]

    @contextmanager
    def _mine(self, *, even_closed: bool = False) -> Generator[None, None, None]:
        with self._lock:
            if self._closed and not even_closed:
                raise InvalidError("this client is closed")
            owner = self._owner()
            if self._owned_by != owner:
                if self._owned_by is not None and self._owned_by[0] != owner[0]:
                    self._inherited += [self._unary, *self._streams]
                self._owned_by, self._unary, self._streams = owner, None, []
            while self._abandoned:
                self._count_off(self._abandoned.popleft())
            yield

    def _count_off(self, link: Link[ChannelT]) -> bool:
        """Count a stream off; say whether its channel is not needed any more."""
        link.streams -= 1
        if link.streams or link not in self._streams:
            return False
        self._streams.remove(link)
        return True

    def _link(self, address: Address) -> Link[ChannelT]:
        return Link(self._open_channel(address), address)


def _address(text: str, *, tls: TLS | bool | None) -> Address:
    if text.startswith("unix:"):
        return Address(text, local=True, tls=_tls(tls=tls, local=True))
    host, port = _host_and_port(text)
    local = _is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    return Address(f"dns:///{shown}:{port}", local=local, tls=_tls(tls=tls, local=local))


def _host_and_port(text: str) -> tuple[str, int]:
    match = _HOST_AND_PORT.fullmatch(text)
    if match is None:
        if not _is_ip(text):  # IPv6 without brackets
            raise InvalidError(f"{text!r} is no address: host:port, [IPv6]:port or unix:path")
        return text, DEFAULT_PORT
    port = int(match["port"] or DEFAULT_PORT)
    if not 0 < port < 1 << 16:
        raise InvalidError(f"{text!r} is no address: ports go from 1 to 65535")
    return match["bracketed"] or match["host"], port


def _is_ip(text: str) -> bool:
    return _ip(text) is not None


def _is_loopback(host: str) -> bool:
    ip = None if host.lower() == "localhost" else _ip(host)
    return host.lower() == "localhost" or (ip is not None and ip.is_loopback)


def _ip(text: str) -> "IPv4Address | IPv6Address | None":
    from ipaddress import ip_address  # noqa: PLC0415 - for other hosts than localhost

    try:
        return ip_address(text)
    except ValueError:
        return None


def _tls(*, tls: TLS | bool | None, local: bool) -> TLS | None:
    if isinstance(tls, TLS):
        return tls
    return TLS() if tls or (tls is None and not local) else None


def _system_roots() -> bytes | None:
    """Give the system's roots, because gRPC would trust its own copy of Mozilla's; that one where there are none."""
    certificates = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, certificates)).encode() or None


def _pem(source: Pem | None) -> bytes | None:
    if source is None or isinstance(source, bytes):
        return source
    from pathlib import Path  # noqa: PLC0415 - for TLS files alone

    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InvalidError(f"cannot read the TLS file {os.fspath(source)}: {error.strerror}") from error


def _token(token: str) -> str:
    if not token or not token.isascii() or not token.isprintable():
        raise InvalidError("token= is not the text of a token: printable ASCII, without a line's end")
    return token


def _os_user() -> str | None:
    from getpass import getuser  # noqa: PLC0415 - for who does not say an author

    try:
        return getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return None
