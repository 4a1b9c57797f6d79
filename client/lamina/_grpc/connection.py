"""How to reach a server: addresses, TLS, channel options and metadata.

Channels of grpc and grpc.aio are alike as far as this module looks at them, so it serves both shells; it runs nothing.
"""

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import grpc

from lamina import _environment
from lamina._credentials import Credential, Token, credential
from lamina._flows.session import Session
from lamina._grpc.tls import TLS
from lamina._grpc.tracing import TracerProvider, Tracing
from lamina._mapping.values import check_text
from lamina._runtime.arguments import seconds
from lamina._wire.causes import Peer
from lamina._wire.status import error_of
from lamina.errors import CursorError, InvalidError, LaminaError, UnavailableError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


_DNS: Final = "dns:///"
DEFAULT_TARGET: Final = "localhost:7440"
DEFAULT_PORT: Final = 7440


class DefaultTimeout(float):
    """The default of `connect`'s `timeout`. Its type says that none was given, so that LAMINA_TIMEOUT counts.

    It is a number, because help shows it; None would look like "for ever".
    """

    __slots__ = ()


DEFAULT_TIMEOUT_SECONDS: Final = DefaultTimeout(10.0)
TOO_SLOW: Final = "TOO_SLOW"
"""The reason with which a server ends a watch if this client takes its messages too slowly."""
MEGABYTE: Final = 1 << 20

_PLAIN: Final = frozenset(range(ord(" "), ord("~") + 1)) - {ord("%")}
"""The characters that metadata takes as they are."""
_HOST_AND_PORT: Final = re.compile(r"(?:\[(?P<bracketed>[^]]+)\]|(?P<host>[^][:/\s]+))(?::(?P<port>[0-9]+))?")

OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # A peer that froze or was cut off is noticed within 15 s: a ping each 10 s, also while nothing is asked (a watch
    # waits in silence), and 5 s for its answer. keepalive_timeout_ms alone would take a minute longer.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # 0: no limit; otherwise a silent watch would stop sending pings
    # So that a server that restarts is found again soon, an attempt may hang for 5 s, not 20, before the next one.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 10_000),
    # The flows do the retrying: they keep the request id, the deadline and the random pauses.
    ("grpc.enable_retries", 0),
    # A page or a watch's message is near 1 MiB, or holds one value. A server may be set to larger ones.
    ("grpc.max_receive_message_length", 64 * MEGABYTE),
    # Each channel has its own connection. Otherwise all watches would share one, and its limit of streams.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True)
class Address:
    """One server's address as gRPC takes it; `tls` None is plaintext."""

    target: str
    local: bool
    tls: TLS | None

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The channel options; a connection to this machine never goes through a proxy of the environment."""
        return (*OPTIONS, ("grpc.enable_http_proxy", 0)) if self.local else OPTIONS

    @property
    def named(self) -> tuple[str, int] | None:
        """The host and the port, if the address is a name that is resolved here and reached without a proxy."""
        if not self.target.startswith(_DNS) or self.peer.proxy is not None:
            return None
        host, port = _host_and_port(self.target.removeprefix(_DNS))
        return None if _is_ip(host) else (host, port)

    @property
    def server(self) -> tuple[str, int | None]:
        """The host and the port, or the path of a socket."""
        if not self.target.startswith(_DNS):
            return self.target.removeprefix("unix:"), None
        return _host_and_port(self.target.removeprefix(_DNS))

    @property
    def peer(self) -> Peer:
        """The peer of a call, for error texts."""
        name = self.target.removeprefix(_DNS)
        return Peer(name, is_tls=self.tls is not None, proxy=None if self.local else _proxy(name))


_TIMEOUT_LIMIT_SECONDS: Final = 366 * 86400.0
"""Far above this limit, gRPC treats a deadline as already over, and a retry would go on for ever."""


@dataclass(frozen=True, slots=True)
class Connection:
    """All settings of a client's connection.

    metadata        what each call sends, without a token that is renewed
    credential      the token
    has_credential  whether there is a token or a client certificate
    tracing         makes the spans of calls, if they are wanted
    """

    target: str
    addresses: tuple[Address, ...]
    metadata: tuple[tuple[str, str], ...] = field(repr=False)
    timeout_seconds: float
    credential: Credential = field(default_factory=Credential)
    has_credential: bool = False
    tracing: Tracing | None = None

    def session(self) -> Session:
        """Make the state of a client of this connection."""
        return Session(
            self.timeout_seconds,
            servers=len(self.addresses),
            has_credential=self.has_credential,
            renews_token=self.credential.is_renewed,
        )

    def metadata_with(self, token: str) -> tuple[tuple[str, str], ...]:
        """Return the metadata of a call that has this token."""
        return (_bearer(token), *self.metadata)


def connection(
    target: str | None,
    *,
    token: Token | None,
    tls: TLS | bool | None,
    timeout: float,
    author: str | None,
    tracer_provider: TracerProvider | None = None,
    awaits: bool = False,
) -> Connection:
    """Check the arguments of `connect`, and complete them from the environment; InvalidError for a bad value.

    `awaits` says whether the function of `token=` may return an awaitable. It may read files, and sends nothing.
    """
    _environment.tell_unknown()
    for what, given in ((f"target, such as {DEFAULT_TARGET!r},", target), ("author=", author)):
        if given is not None:
            check_text(given, what)
    target = target if target is not None else _environment.text(_environment.TARGET) or DEFAULT_TARGET
    ours = credential(token, awaits=awaits)
    tls = _checked_tls(tls=tls)
    if isinstance(timeout, DefaultTimeout) and (of_environment := _environment.timeout()) is not None:
        timeout = of_environment
    timeout = seconds(timeout, "timeout=")
    author = author if author is not None else _environment.text(_environment.AUTHOR)
    for what, name in (("target", target), ("author", author)):
        if _environment.holds_token(name):
            raise InvalidError(f"{what}: {_environment.NOT_A_NAME}")
    if author is not None and not author.strip():
        raise InvalidError(f"author={author!r} names nobody: give a name, or leave it out")
    addresses = tuple(_address(part.strip(), tls=tls) for part in target.split(","))
    if not 0 < timeout <= _TIMEOUT_LIMIT_SECONDS:
        raise InvalidError(f"timeout={timeout!r}: a verb needs some seconds, and at most a year")
    has_certificate = isinstance(tls, TLS) and tls.cert is not None
    identified = ours.is_given or has_certificate
    if author is None and not identified:
        # A server that authenticates its callers refuses an author from the client, so it gets one only on demand.
        author = _os_user()
    metadata = [] if ours.fixed is None else [_bearer(ours.fixed)]
    metadata += [("lamina-author", quote_author(author))] if author else []
    ours = replace(ours, has_certificate=has_certificate)
    tracing = None if tracer_provider is None else Tracing(tracer_provider)
    return Connection(target, addresses, tuple(metadata), timeout, ours, identified, tracing)


def quote_author(author: str) -> str:
    """Encode an author's name for metadata: UTF-8, with percent signs for all but printable ASCII other than "%".

    The server decodes it, so "50%" is sent as "50%25" and "Zoë" as "Zo%C3%AB".
    """
    try:
        encoded = author.strip().encode()
    except UnicodeEncodeError:
        raise InvalidError("author holds a lone surrogate, which UTF-8 does not have") from None
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in encoded)


def call_error(error: grpc.RpcError, address: Address) -> LaminaError:
    """Make our error of gRPC's, sync or aio, for a call to that address."""
    ended: Any = error
    return error_of(ended.code().name, ended.details() or "", ended.trailing_metadata() or (), address.peer)


def another_may_do_better(error: LaminaError) -> bool:
    """Return whether another server may answer: this one did not answer, or lacks a version that was seen before."""
    if isinstance(error, CursorError):
        return error.reason == "CURSOR_AHEAD"
    return isinstance(error, UnavailableError) and error.reason != TOO_SLOW


def _address(text: str, *, tls: TLS | bool | None) -> Address:
    if text.startswith("unix:"):
        return Address(text, local=True, tls=_tls(tls=tls, local=True))
    host, port = _host_and_port(text)
    local = _is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    return Address(f"{_DNS}{shown}:{port}", local=local, tls=_tls(tls=tls, local=local))


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


def _proxy(name: str) -> str | None:
    """Return the proxy that gRPC takes from the environment, and its variable; never a password in its URL."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only for a server that cannot be reached

    host, _ = _host_and_port(name)
    # gRPC reads these names only in lower case.
    excluded = os.environ.get("no_grpc_proxy") or os.environ.get("no_proxy") or ""  # noqa: SIM112
    if any(part and host.endswith(part) for part in map(str.strip, excluded.split(","))):
        return None
    # The first variable that is set counts, even if it is empty; and gRPC supports only HTTP proxies.
    variable = next((name for name in ("grpc_proxy", "https_proxy", "http_proxy") if name in os.environ), None)
    if variable is None:
        return None
    try:
        proxy = urlsplit(os.environ[variable])
    except ValueError:
        return None
    return f"{proxy.netloc.rpartition('@')[2]} of {variable}" if proxy.scheme == "http" and proxy.netloc else None


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


def _checked_tls(*, tls: TLS | bool | None) -> TLS | bool | None:
    """Return the value of `tls=`, else the one of the environment."""
    if isinstance(tls, TLS | bool):
        return tls
    if tls is not None:
        raise TypeError(f"tls= is True, False or lamina.TLS(ca=..., cert=..., key=...), not {type(tls).__name__}")
    files = _environment.tls_files()
    if not _environment.is_plaintext():
        return TLS(**files) if files else None
    if files:
        raise InvalidError(
            f"{_environment.PLAINTEXT} and {_environment.TLS_FILES[next(iter(files))]} exclude each other"
        )
    return False


def _tls(*, tls: TLS | bool | None, local: bool) -> TLS | None:
    if isinstance(tls, TLS):
        return tls
    return TLS() if tls or (tls is None and not local) else None


def _bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


def _os_user() -> str | None:
    from getpass import getuser  # noqa: PLC0415 - only if no author is given

    try:
        return getuser()
    except (KeyError, OSError):  # a user id without a name, as in many containers
        return None
