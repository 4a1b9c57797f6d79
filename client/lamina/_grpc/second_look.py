"""Why no connection to a name with several addresses succeeded: gRPC reports only the last address.

Often that is "connection refused" by an address where nothing listens, while another one has an untrusted certificate
or speaks another protocol. So each address is tried alone, with gRPC too, and the most helpful reason is kept. Only
verbs do so: a stream that finds no server is opened again, and its error is shown nowhere.

Worked example: "config.example" has two addresses. At the first a server has a certificate for another name; the second
one refuses. gRPC says "connection refused". After the second look the error says that the certificate is not for this
name.
"""

import socket
import time
from typing import Final

import grpc

from lamina._grpc.connection import Address, call_error
from lamina._wire.causes import UNREACHABLE, rank
from lamina.errors import LaminaError

LOOK_SECONDS: Final = 0.8
"""How long all addresses together may take: less than a fork waits until threads have left gRPC (forking.py)."""
ADDRESSES: Final = 4
AGAIN_SECONDS: Final = 5.0
"""A verb tries again and again: for this long, the reason is assumed to be the same."""

_PROBE: Final = "/grpc.health.v1.Health/Check"
"""The call that is tried: any server answers it, and it carries no token."""


class SecondLook:
    """The reasons that were found for one client, by address. Threads may share it."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[float, grpc.RpcError | None]] = {}

    def is_needed(self, error: grpc.RpcError, address: Address) -> bool:
        """Return whether gRPC's reason may hide another one."""
        return address.named is not None and _text(error).startswith(UNREACHABLE)

    def explain(self, error: grpc.RpcError, address: Address) -> LaminaError:
        """Make our error from the most helpful reason. Blocks for some milliseconds, or for LOOK_SECONDS at most."""
        at, found = self._found.get(address.target, (0.0, None))
        if time.monotonic() - at > AGAIN_SECONDS:
            found = _most_telling(address)
            self._found[address.target] = time.monotonic(), found
        if found is None or rank(_text(error)) <= rank(_text(found)):
            found = error
        return call_error(found, address)


def _most_telling(address: Address) -> grpc.RpcError | None:
    targets = _targets(address)
    asked = (_ask(address, target, LOOK_SECONDS / len(targets)) for target in targets)
    errors = [error for error in asked if error is not None]
    return min(errors, key=lambda error: rank(_text(error)), default=None)


def _targets(address: Address) -> list[str]:
    """Return gRPC's form of each address of a name.

    For "localhost", gRPC has its own addresses, which may differ from the system's.
    """
    assert address.named is not None
    host, port = address.named
    try:
        found = dict.fromkeys(info[4][0] for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError:
        return []
    targets = [f"ipv6:[{ip}]:{port}" if ":" in str(ip) else f"ipv4:{ip}:{port}" for ip in found]
    return targets[:ADDRESSES]


def _ask(address: Address, target: str, seconds: float) -> grpc.RpcError | None:
    """Return why the connection to one address fails; None if it succeeds, or if there is no answer."""
    assert address.named is not None
    host, port = address.named
    options = (*address.options, ("grpc.default_authority", f"{host}:{port}"), ("grpc.ssl_target_name_override", host))
    if address.tls is None:
        channel = grpc.insecure_channel(target, options)
    else:
        channel = grpc.secure_channel(target, address.tls.credentials(), options)
    with channel:
        try:
            ask = channel.unary_unary(_PROBE, bytes, bytes)
            ask(b"", timeout=seconds)
        except grpc.RpcError as error:
            return error if _text(error).startswith(UNREACHABLE) else None
    return None


def _text(error: grpc.RpcError) -> str:
    return error.details() or ""
