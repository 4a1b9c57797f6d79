"""The address where the server listens, whether it is safe, and the options of gRPC's connections.

An address that other machines can reach needs TLS, or an explicit `--insecure-plaintext`. It is
closed to callers without a credential, unless there is an explicit `--insecure-open`. Each address is
tried with a socket of our own first: gRPC reports every failure only as "could not bind", and it
replaces another server's Unix socket.
"""

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import grpc

from lamina_server.rpc import open_files
from lamina_server.settings import Settings

if TYPE_CHECKING:
    from lamina_server.rpc.tls import TlsFiles

_PORT_ATTEMPTS = 16
"""How many free ports are tried until one is free in every address family."""
_PORT_MAX = 65_535
_UNIX = "unix:"
_UNIX_PATH_MAX_BYTES = 107
"""Linux has room for 108 bytes, the last of which is 0."""

Hosts: TypeAlias = tuple[tuple[socket.AddressFamily, str], ...]

_LOCALHOST: Hosts = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
"""As RFC 6761 defines it, and as many clients resolve it, whatever this machine's hosts file says."""


class UnsafeError(Exception):
    """A setting cannot be used, or not safely; the text says why and what to do.

    setting  the setting's name; empty if the text is about the installation
    """

    def __init__(self, text: str, setting: str = "") -> None:
        super().__init__(text)
        self.setting = setting


class AddressError(Exception):
    """The server cannot listen on the address now; the text says why."""

    setting = "listen"


@dataclass(frozen=True, slots=True)
class Address:
    """A host's addresses and a port, or the path of a Unix socket."""

    shown: str
    hosts: Hosts = ()
    port: int = 0
    path: Path | None = None

    @property
    def count(self) -> int:
        """Return how many addresses it stands for: localhost has two."""
        return max(len(self.hosts), 1)

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach it."""
        return all(ipaddress.ip_address(host.partition("%")[0]).is_loopback for _, host in self.hosts)


def parse(listen: str) -> Address:
    """Parse HOST:PORT or unix:PATH, and resolve the host. A malformed text may be a password: no error repeats it."""
    if not listen.isprintable():
        raise _malformed("the address has a line break or another character that cannot be printed")
    if listen.startswith(_UNIX):
        return Address(listen, path=_parse_path(listen.removeprefix(_UNIX)))
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or "@" in host or port.endswith("]"):  # perhaps a database's address, or an IPv6 address alone
        raise _malformed("the address is neither HOST:PORT nor unix:PATH")
    if not host or host == "*":
        raise _malformed("the address has no host: write localhost:PORT for this machine, or [::]:PORT for all")
    if not (port.isascii() and port.isdigit()):
        raise _malformed("the port is not a number; port 0 takes any free one")
    if len(port) > len(str(_PORT_MAX)) or int(port) > _PORT_MAX:
        raise _malformed(f"the port is out of range: it must be from 0 to {_PORT_MAX}")
    return Address(host, _resolve(host), int(port))


def _parse_path(path: str) -> Path:
    if not path:
        raise _malformed("the address has no path: write unix:PATH")
    if path.startswith("//"):  # those of a URL, and not a part of the path
        raise _malformed("the address has slashes before the path: write unix:PATH, or unix:/PATH for an absolute path")
    if len(os.fsencode(path)) > _UNIX_PATH_MAX_BYTES:
        raise _malformed(f"the path of a Unix socket has at most {_UNIX_PATH_MAX_BYTES} bytes")
    return Path(path)


def _malformed(text: str) -> UnsafeError:
    return UnsafeError(text, "listen")


def tls_files(settings: Settings, address: Address) -> "TlsFiles | None":
    """Return the TLS files to listen with; None for plaintext, if that is safe or explicitly allowed."""
    if settings.tls_cert is None or settings.tls_key is None:
        if address.is_local or settings.insecure_plaintext:
            return None
        raise UnsafeError(
            f"other machines can reach {settings.listen}, and without TLS every value can be read on the way: "
            "give --tls-cert and --tls-key, or allow it with --insecure-plaintext",
            "listen",
        )
    from lamina_server.rpc.tls import TlsFiles  # noqa: PLC0415 - slow to import, and needed with TLS alone

    return TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def client_certificate(context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
    """Return the client certificate of a call in PEM, which TLS has verified; empty without one."""
    return b"".join(context.auth_context().get("x509_pem_cert", ()))


def is_open(settings: Settings, address: Address) -> bool:
    """Return whether everybody may do everything. Raise UnsafeError if that is asked for and not safe."""
    may_be_open = address.is_local or settings.insecure_open
    if settings.access == "open" and not may_be_open:
        raise UnsafeError(
            f"other machines can reach {settings.listen}, and would read and change everything without a credential: "
            "leave this out, or allow it with --insecure-open",
            "access",
        )
    return may_be_open and settings.access != "closed"


def bind(server: grpc.aio.Server, address: Address, tls: "TlsFiles | None", *, is_shared: bool = False) -> str:
    """Make a server listen on an address; return the target by which clients reach it.

    is_shared  whether the port is `reserved` for several processes
    """
    if address.path:
        _check_unix(address.path)
        _add(server, address.shown, tls)
        return address.shown
    hosts, port = _find_port(address, is_shared=is_shared)
    for family, host in hosts:
        _add(server, f"{_in_brackets(family, host)}:{port}", tls)
    return _shown(address, port)


@contextmanager
def reserved(address: Address) -> Iterator[str]:
    """Keep a free port for several processes of this program while the block lasts; give their common target.

    Raises AddressError if another program has the port, UnsafeError if processes cannot share the address.
    """
    if address.path or not hasattr(socket, "SO_REUSEPORT"):
        raise UnsafeError(
            "several workers share a TCP port, no Unix socket: write HOST:PORT, or no --workers", "listen"
        )
    hosts, port = _find_port(address)  # not shared: so nobody else has it
    with ExitStack() as stack:
        for family, host in hosts:
            # It does not listen, so it gets no connection; but no other program can take the port.
            kept = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            _bind(kept, host, port, is_shared=True)
        yield _shown(address, port)


def _shown(address: Address, port: int) -> str:
    shown = f"[{address.shown}]" if ":" in address.shown else address.shown
    return f"{shown}:{port}"


@contextmanager
def _concerning(setting: str) -> Iterator[None]:
    """Make the errors of an address errors of this setting."""
    try:
        yield
    except (UnsafeError, AddressError) as error:
        error.setting = setting
        raise


def parse_metrics(settings: Settings) -> Address | None:
    """Return the address for metrics; None without one. Raise UnsafeError or AddressError as `parse` does."""
    if settings.metrics_listen is None:
        return None
    with _concerning("metrics_listen"):
        address = parse(settings.metrics_listen)
        if not address.is_local and not settings.insecure_metrics:
            raise UnsafeError(
                "other machines can reach this address, and metrics are in plaintext and for everybody: choose one "
                "that only this machine can reach, or allow it with --insecure-metrics"
            )
    return address


def open_for_metrics(address: Address) -> tuple[str, list[socket.socket]]:
    """Return how the address is shown, and sockets that listen on it: one for each address family.

    Raises AddressError.
    """
    with _concerning("metrics_listen"):
        if address.path:
            _check_unix(address.path)
            address.path.unlink(missing_ok=True)  # left behind by a server that was killed
            return address.shown, [_open(socket.AF_UNIX, str(address.path))]
        hosts, port = _find_port(address)
        return _shown(address, port), [_open(family, (host, port)) for family, host in hosts]


def _open(family: socket.AddressFamily, place: str | tuple[str, int]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        opened.listen()
    except OSError as error:
        opened.close()
        raise AddressError(f"cannot listen on {place}: {error.strerror}") from None
    return opened


def options(settings: Settings, address: Address) -> Sequence[tuple[str, int]]:
    """Return the options of gRPC for connections and calls."""
    milliseconds = 1_000
    return (
        # Two servers on one port would each get some of the connections, and neither would say so. Workers do so.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.max_receive_message_length", settings.receive_limit_bytes),
        # The limits of connections.
        # gRPC counts them for each address, those in the handshake included.
        ("grpc.max_allowed_incoming_connections", open_files.connections(settings, address.count)),
        ("grpc.max_concurrent_streams", settings.connection_limit_streams),
        # This holds against rapid resets: a stream that was cancelled counts until its call has been cleared away, so
        # no peer can line up more calls than this. A good client has half as many streams, and never notices.
        ("grpc.http.overload_protection", 1),
        ("grpc.max_metadata_size", settings.metadata_limit_bytes),
        ("grpc.server_handshake_timeout_ms", settings.handshake_timeout_seconds * milliseconds),
        ("grpc.max_connection_age_ms", settings.connection_age_seconds * milliseconds),
        ("grpc.max_connection_age_grace_ms", settings.connection_age_grace_seconds * milliseconds),
        # Pings find a peer that has vanished. ping_timeout decides how soon: keepalive_timeout alone waits for a
        # minute more.
        ("grpc.keepalive_time_ms", settings.keepalive_seconds * milliseconds),
        ("grpc.keepalive_timeout_ms", settings.keepalive_timeout_seconds * milliseconds),
        ("grpc.http2.ping_timeout_ms", settings.keepalive_timeout_seconds * milliseconds),
        ("grpc.keepalive_permit_without_calls", 1),
        # Clients may ping too. (gRPC does not read the similar option with `min_recv_ping` in its name.)
        ("grpc.http2.min_ping_interval_without_data_ms", settings.ping_interval_limit_seconds * milliseconds),
        # Thousands of watches may resume within a second.
        ("grpc.server.max_pending_requests", settings.pending_limit_calls),
        ("grpc.server.max_pending_requests_hard_limit", 2 * settings.pending_limit_calls),
        # A small compressed request may expand to a huge one, so only uncompressed ones are accepted (bit 0).
        ("grpc.compression_enabled_algorithms_bitset", 1),
        # Statistics that we do not read, and that every call would pay for.
        ("grpc.enable_channelz", 0),
    )


def _resolve(host: str) -> Hosts:
    if host == "localhost":
        return _LOCALHOST
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressError(f"cannot resolve {host!r}: {error.strerror}") from None
    except UnicodeError:  # a part of the name is empty or too long
        raise AddressError(f"cannot resolve {host!r}: no host can have this name") from None
    return tuple(sorted({(family, str(address[0])) for family, _, _, _, address in found}))


def _add(server: grpc.aio.Server, target: str, tls: "TlsFiles | None") -> None:
    try:
        port = server.add_secure_port(target, tls.credentials()) if tls else server.add_insecure_port(target)
    except RuntimeError:
        port = 0
    if not port:
        hint = "; does gRPC know the kind of key in the TLS files?" if tls else ""
        raise AddressError(f"cannot listen on {target}{hint}")


def _find_port(address: Address, *, is_shared: bool = False) -> tuple[Hosts, int]:
    """Return the addresses that this machine has, and a port that is free in all of them."""
    for _ in range(_PORT_ATTEMPTS):
        hosts, port = [], address.port
        try:
            for family, host in address.hosts:
                if found := _try(family, host, port, is_shared=is_shared):
                    hosts.append((family, host))
                    port = found
        except AddressError:
            if address.port:
                raise
            continue
        if hosts:
            return tuple(hosts), port
        break
    raise AddressError(f"this machine has no address {address.shown}")


def _try(family: socket.AddressFamily, host: str, port: int, *, is_shared: bool) -> int | None:
    """Return the port if it is free; None if the machine lacks the address, as one without IPv6 lacks ::1."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            _bind(probe, host, port, is_shared=is_shared)
            return int(probe.getsockname()[1])
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return None
        why = "it is in use by another program" if error.errno == errno.EADDRINUSE else error.strerror
        raise AddressError(f"cannot listen on {_in_brackets(family, host)}:{port}: {why}") from None


def _bind(probe: socket.socket, host: str, port: int, *, is_shared: bool) -> None:
    # As gRPC does: a port whose last connections are still closing is free.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    probe.bind((host, port))


def _check_unix(path: Path) -> None:
    """Raise AddressError if the path is not a socket, or a socket on which another program listens."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        if path.parent.is_dir():
            return
        raise AddressError(f"cannot listen on {path}: there is no folder {path.parent}") from None
    except OSError as error:
        raise AddressError(f"cannot listen on {path}: {error.strerror}") from None
    if not is_socket:
        raise AddressError(f"cannot listen on {path}: a file that is not a socket is there already")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return  # left behind by a server that was killed; gRPC replaces it
        except OSError as error:
            raise AddressError(f"cannot listen on {path}: {error.strerror}") from None
        raise AddressError(f"cannot listen on {path}: it is in use by another program")


def _in_brackets(family: socket.AddressFamily, host: str) -> str:
    return f"[{host}]" if family == socket.AF_INET6 else host
