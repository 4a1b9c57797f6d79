"""The status of a call, as an error of the tree; it takes codes by their names and knows no gRPC.

The server sends its reason and its details as a google.rpc.Status in the trailing metadata. A status without
them is from gRPC itself or a proxy, and only its code counts.
"""

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lamina._wire.causes import Peer, cause
from lamina.errors import (
    CODES,
    REASONS,
    ConflictError,
    CursorError,
    LaminaError,
    LimitError,
    UnavailableError,
    VersionCompactedError,
)
from lamina_protos.v1 import lamina_pb2 as pb

_DOMAIN = "lamina"
_DETAILS_KEY = "grpc-status-details-bin"
_RETRY_LEAST_SECONDS: Final = 0.01
"""Whatever a server asks for: a client that does not pause at all would keep both busy."""
_RETRY_MOST_SECONDS: Final = 3600.0
"""A server that asks for more may have a wrong clock; and the longest pause of a system is not much longer."""


class ReportedConflictError(ConflictError):
    """A conflict as the server reported it: `conflicts` is empty. Not for users: flows complete it first."""

    def __init__(self, message: str, detail: pb.Conflict) -> None:
        super().__init__(message, head=detail.head_version)
        self.detail = detail


def error_of(code: str, text: str, trailers: Iterable[Any], peer: Peer | None = None) -> LaminaError:
    """Make the error from a status code's name, its text, and the (key, value) pairs of the trailing metadata.

    If the server itself has not answered, the error names the `peer`.
    """
    details = _details(trailers)
    info = ErrorInfo()
    if not _unpack(details, info) or info.domain != _DOMAIN:
        return cause(code, text, peer or Peer()) or _of_code(code, text)
    # If this client does not know the reason yet, it still knows the code.
    kind = REASONS.get(info.reason) or CODES.get(code, LaminaError)
    if kind is ConflictError:
        detail = pb.Conflict()
        _unpack(details, detail)
        return ReportedConflictError(text, detail)
    return _made(kind, text, info, details)


def _made(kind: type[LaminaError], text: str, info: ErrorInfo, details: Status) -> LaminaError:
    """Make an error of a kind, with what its details say."""
    reason, metadata = info.reason, info.metadata
    if kind is LimitError:
        limit, actual = _number(metadata.get("limit")), _number(metadata.get("actual"))
        return LimitError(text, reason=reason, limit=limit, actual=actual, retry_seconds=_retry_seconds(details))
    if kind is CursorError:
        return CursorError(text, reason=reason, head=_number(metadata.get("head_version")))
    if kind is VersionCompactedError:
        return VersionCompactedError(text, reason=reason, oldest_version=_number(metadata.get("oldest_version")) or 0)
    if issubclass(kind, UnavailableError):
        return kind(text, reason=reason, wrote_nothing=metadata.get("nothing_written") == "true")
    return kind(text, reason=reason)


def _details(trailers: Iterable[Any]) -> Status:
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                break  # not from our server: only the code counts
    return Status()


def _unpack(status: Status, message: Any) -> bool:
    return any(detail.Unpack(message) for detail in status.details)


def _retry_seconds(details: Status) -> float | None:
    retry = RetryInfo()
    if not _unpack(details, retry):
        return None
    asked: float = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return min(max(asked, _RETRY_LEAST_SECONDS), _RETRY_MOST_SECONDS)


def _of_code(code: str, text: str) -> LaminaError:
    name = code.lower().replace("_", " ")
    return CODES.get(code, LaminaError)(f"{name}: {text}" if text else name)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
