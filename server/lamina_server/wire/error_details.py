"""An error -> its text and the bytes of a google.rpc.Status: its code, its text and its typed details.

Both are sent in trailers: the text percent-encoded, the status in base64. Proxies limit all
trailers of an answer together, nginx to 4 KiB unless it is told otherwise, and a client behind
it never learns of an error that is larger. So the two have one budget, TRAILERS_LIMIT_BYTES, as
they are encoded. Details that do not fit are left out, and the status says so.
"""

from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import (
    CompactedError,
    ConflictError,
    CursorError,
    InvalidError,
    KeyConflict,
    LimitError,
    RateError,
    ServerError,
    UnavailableError,
)
from lamina_server.wire.values import to_message

DOMAIN = "lamina"
TEXT_KEY = "grpc-message"
STATUS_KEY = "grpc-status-details-bin"

TRAILERS_LIMIT_BYTES = 3 * 1024
"""Of nginx's 4 KiB, this leaves 1 KiB to the headers of gRPC and of the proxies, and to the frames of HTTP/2."""
TEXT_LIMIT_BYTES = 512
"""As percent-encoded, which makes three bytes of each byte that is not printable ASCII. The status holds it again."""
VIOLATION_LIMIT_BYTES = 256
"""The field of a violation, and its description: the first violation always fits."""
VALUE_LIMIT_BYTES = 256
"""A larger value is left out of a conflict; GetVersion returns it."""

_FRAMING_BYTES = 4
"""The size of a detail's tag and length in a status, for a detail of up to 16 KiB."""
_PLAIN = frozenset(range(ord(" "), ord("~") + 1)) - {ord("%")}
"""The bytes of a text that gRPC does not percent-encode."""


def text(error: ServerError) -> str:
    """Return the text of an error: cut between two characters, and ended with "…", if it is over TEXT_LIMIT_BYTES."""
    whole = str(error)
    if text_size_bytes(whole) <= TEXT_LIMIT_BYTES:
        return whole
    room = TEXT_LIMIT_BYTES - text_size_bytes("…")
    end = 0
    while (room := room - text_size_bytes(whole[end])) >= 0:
        end += 1
    return whole[:end] + "…"


def status(error: ServerError, code: int, text: str) -> bytes:
    """Encode an error as a google.rpc.Status, with as many of its details as fit into the trailers beside its text."""
    message = Status(code=code, message=text)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    message.details.append(_pack(info))
    room = _limit_bytes(text) - message.ByteSize() - _FRAMING_BYTES
    match error:
        case InvalidError():
            message.details.append(_violations(error, room))
        case ConflictError():
            message.details.append(_conflicts(error, room))
        case RateError():
            message.details.append(_retry(error))
        case _:
            pass
    encoded: bytes = message.SerializeToString()
    return encoded


def text_size_bytes(text: str) -> int:
    """Return the size of a text as gRPC sends it, percent-encoded."""
    return sum(1 if byte in _PLAIN else 3 for byte in text.encode())


def _limit_bytes(text: str) -> int:
    """Return the largest size of a status that, in base64, fits into the trailers beside its text."""
    return (TRAILERS_LIMIT_BYTES - len(TEXT_KEY) - text_size_bytes(text) - len(STATUS_KEY)) // 4 * 3


def _metadata(error: ServerError) -> Mapping[str, str]:
    match error:
        case LimitError():
            return {"limit": str(error.limit), "actual": str(error.actual)}
        case CursorError() if error.head:
            return {"head_version": str(error.head.number), "head_hash": error.head.hash.hex()}
        case CursorError():
            return {"head_version": "0", "head_hash": ""}
        case CompactedError():
            return {"oldest_version": str(error.oldest)}
        case UnavailableError() if error.wrote_nothing:
            return {"nothing_written": "true"}
        case _:
            return {}


def _retry(error: RateError) -> Any:
    info = RetryInfo()
    info.retry_delay.FromTimedelta(timedelta(seconds=error.retry_seconds))
    return _pack(info)


def _violations(error: InvalidError, room: int) -> Any:
    details = BadRequest()
    for violation in error.violations:
        field, description = _cut(violation.field), _cut(violation.description)
        details.field_violations.add(field=field, description=description)
        if _pack(details).ByteSize() > room:
            del details.field_violations[-1]
            break
    return _pack(details)


def _conflicts(error: ConflictError, room: int) -> Any:
    """Return all conflicts, else as many as fit without their values: the keys are what nothing else can tell."""
    details = _listed(error, room, with_values=True)
    return _pack(_listed(error, room, with_values=False) if details.truncated else details)


def _listed(error: ConflictError, room: int, *, with_values: bool) -> pb.Conflict:
    details = pb.Conflict(head_version=error.head.number, conflict_count=len(error.conflicts))
    for conflict in error.conflicts:
        details.conflicts.append(_conflict(conflict, with_values=with_values))
        details.truncated = len(details.conflicts) < len(error.conflicts)
        if _pack(details).ByteSize() > room:
            del details.conflicts[-1]
            details.truncated = True
            break
    return details


def _conflict(conflict: KeyConflict, *, with_values: bool) -> pb.KeyConflict:
    message = pb.KeyConflict(key=conflict.key, their_version=conflict.their_version, their_author=conflict.their_author)
    for field, value in (("base", conflict.base), ("theirs", conflict.theirs), ("yours", conflict.yours)):
        if value is None:
            continue
        if with_values and value.size_bytes <= VALUE_LIMIT_BYTES:
            getattr(message, field).CopyFrom(to_message(value))
        else:
            message.values_omitted = True
    return message


def _cut(text: str) -> str:
    """Cut the text of a violation between two characters, and end it with "…" if it was cut."""
    encoded = text.encode()
    if len(encoded) <= VIOLATION_LIMIT_BYTES:
        return text
    return encoded[: VIOLATION_LIMIT_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
