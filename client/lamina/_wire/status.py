"""The status that a call ended with, as an error of the tree; told of codes by their names, it knows no gRPC.

The server sends its reason and its details as a google.rpc.Status in the trailing metadata. What has none came from
gRPC itself or from something on the way, and is told apart by its code.
"""

import re
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from lamina._wire.messages import conflict_of
from lamina.errors import CODES, REASONS, ConflictError, CursorError, LaminaError, LimitError
from lamina_protos.v1 import lamina_pb2 as pb

_DOMAIN = "lamina"
_DETAILS_KEY = "grpc-status-details-bin"
_TOO_LARGE = re.compile(r"larger than max \((\d+) vs\.? (\d+)\)")
"""How gRPC says it of a message that it does not even take."""


class ReportedConflictError(ConflictError):
    """A conflict as the server reported it, some of it perhaps left out. Not for users: flows make it whole first."""

    def __init__(self, message: str, detail: pb.Conflict) -> None:
        conflicts = {conflict.key: conflict_of(conflict) for conflict in detail.conflicts}
        super().__init__(message, conflicts=conflicts, head=detail.head_version)
        self.detail = detail


def error_of(code: str, text: str, trailers: Iterable[Any]) -> LaminaError:
    """Make the error of a status code's name, its text, and the (key, value) pairs of the trailing metadata."""
    details = _details(trailers)
    info = ErrorInfo()
    if not _unpack(details, info) or info.domain != _DOMAIN:
        return _foreign(code, text)
    # A reason that this client does not know yet still has a code that it knows.
    kind = REASONS.get(info.reason) or CODES.get(code, LaminaError)
    if kind is ConflictError:
        detail = pb.Conflict()
        _unpack(details, detail)
        return ReportedConflictError(text, detail)
    if kind is LimitError:
        limit, actual = _number(info.metadata.get("limit")), _number(info.metadata.get("actual"))
        return LimitError(text, reason=info.reason, limit=limit, actual=actual)
    if kind is CursorError:
        return CursorError(text, reason=info.reason, head=_number(info.metadata.get("head_version")))
    return kind(text, reason=info.reason)


def _details(trailers: Iterable[Any]) -> Status:
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                return Status.FromString(value)
            except DecodeError:
                break  # not ours, then: the code alone decides
    return Status()


def _unpack(status: Status, message: Any) -> bool:
    return any(detail.Unpack(message) for detail in status.details)


def _foreign(code: str, text: str) -> LaminaError:
    too_large = _TOO_LARGE.search(text)
    if code == "RESOURCE_EXHAUSTED" and too_large:
        actual, limit = map(int, too_large.groups())
        return LimitError(f"a message: {actual:,} bytes, at most {limit:,} pass", limit=limit, actual=actual)
    return CODES.get(code, LaminaError)(_foreign_text(code, text))


def _foreign_text(code: str, text: str) -> str:
    if code == "UNIMPLEMENTED":
        return f"this is no Lamina server, or an older one: {text or code}"
    return f"{code.lower().replace('_', ' ')}: {text}" if text else code.lower().replace("_", " ")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
