"""An error -> the bytes of a google.rpc.Status: its code, its text and its typed details.

They are sent in trailers, in base64. gRPC peers limit all trailers together to 8 KiB. So a
status has at most STATUS_LIMIT_BYTES. Details that do not fit are left out, and the status
says so.
"""

from collections.abc import Mapping

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import ConflictError, CursorError, InvalidError, KeyConflict, LimitError, ServerError
from lamina_server.wire.values import to_message

DOMAIN = "lamina"
STATUS_LIMIT_BYTES = 4 * 1024
TEXT_LIMIT_BYTES = 768
"""The text is sent twice, once percent-encoded, which makes three bytes of each that is not ASCII."""
VALUE_LIMIT_BYTES = 256
"""A larger value is left out of a conflict; GetVersion returns it."""

_FRAMING_BYTES = 4
"""The size of a detail's tag and length in a status, for a detail of up to 16 KiB."""


def status(error: ServerError, code: int, text: str) -> bytes:
    """Encode an error as a google.rpc.Status, with as many of its details as fit."""
    message = Status(code=code, message=text)
    info = ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    message.details.append(_pack(info))
    match error:
        case InvalidError():
            _append_violations(message, error)
        case ConflictError():
            _append_conflicts(message, error)
        case _:
            pass
    encoded: bytes = message.SerializeToString()
    return encoded


def shorten(text: str, limit_bytes: int = TEXT_LIMIT_BYTES) -> str:
    """Cut a text to a size between two characters, and end it with "…" if it was cut."""
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len("…".encode())].decode(errors="ignore") + "…"


def _metadata(error: ServerError) -> Mapping[str, str]:
    match error:
        case LimitError():
            return {"limit": str(error.limit), "actual": str(error.actual)}
        case CursorError() if error.head:
            return {"head_version": str(error.head.number), "head_hash": error.head.hash.hex()}
        case CursorError():
            return {"head_version": "0", "head_hash": ""}
        case _:
            return {}


def _append_violations(status: Status, error: InvalidError) -> None:
    room = STATUS_LIMIT_BYTES - status.ByteSize()
    details = BadRequest()
    for violation in error.violations:
        field = shorten(violation.field)
        details.field_violations.add(field=field, description=shorten(violation.description))
        if _pack(details).ByteSize() + _FRAMING_BYTES > room:
            del details.field_violations[-1]
            break
    status.details.append(_pack(details))


def _append_conflicts(status: Status, error: ConflictError) -> None:
    room = STATUS_LIMIT_BYTES - status.ByteSize()
    details = pb.Conflict(head_version=error.head.number, conflict_count=len(error.conflicts))
    for conflict in error.conflicts:
        details.conflicts.append(_conflict(conflict))
        details.truncated = len(details.conflicts) < len(error.conflicts)
        if _pack(details).ByteSize() + _FRAMING_BYTES > room:
            del details.conflicts[-1]
            details.truncated = True
            break
    status.details.append(_pack(details))


def _conflict(conflict: KeyConflict) -> pb.KeyConflict:
    message = pb.KeyConflict(key=conflict.key, their_version=conflict.their_version, their_author=conflict.their_author)
    for field, value in (("base", conflict.base), ("theirs", conflict.theirs), ("yours", conflict.yours)):
        if value is None:
            continue
        if value.size_bytes <= VALUE_LIMIT_BYTES:
            getattr(message, field).CopyFrom(to_message(value))
        else:
            message.values_omitted = True
    return message


def _pack(message: Message) -> Any:
    packed = Any()
    packed.Pack(message)
    return packed
