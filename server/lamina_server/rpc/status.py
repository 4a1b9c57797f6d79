"""The status code and the trailers of an error.

One table maps each reason to a code; clients decide by the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from grpc import StatusCode

from lamina_server.domain.errors import Reason, ServerError
from lamina_server.wire import error_details

CODES: Mapping[Reason, StatusCode] = {
    Reason.BAD_CONFIG_NAME: StatusCode.INVALID_ARGUMENT,
    Reason.BAD_KEY: StatusCode.INVALID_ARGUMENT,
    Reason.BAD_VALUE: StatusCode.INVALID_ARGUMENT,
    Reason.BAD_REQUEST: StatusCode.INVALID_ARGUMENT,
    Reason.CONFIG_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.VERSION_NOT_FOUND: StatusCode.NOT_FOUND,
    Reason.VERSION_COMPACTED: StatusCode.OUT_OF_RANGE,
    Reason.CONFLICT: StatusCode.ABORTED,
    Reason.CONFIG_EXISTS: StatusCode.ALREADY_EXISTS,
    Reason.REQUEST_ID_REUSED: StatusCode.FAILED_PRECONDITION,
    Reason.SECRETS_UNAVAILABLE: StatusCode.FAILED_PRECONDITION,
    Reason.CURSOR_AHEAD: StatusCode.OUT_OF_RANGE,
    Reason.CURSOR_FORKED: StatusCode.DATA_LOSS,
    Reason.HASH_MISMATCH: StatusCode.DATA_LOSS,
    Reason.TOO_LARGE: StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY: StatusCode.RESOURCE_EXHAUSTED,
    Reason.DISK_FULL: StatusCode.RESOURCE_EXHAUSTED,
    Reason.STORE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    Reason.STORE_UNUSABLE: StatusCode.FAILED_PRECONDITION,
    Reason.DRAINING: StatusCode.UNAVAILABLE,
    Reason.TOO_SLOW: StatusCode.UNAVAILABLE,
    Reason.NO_CREDENTIALS: StatusCode.UNAUTHENTICATED,
    Reason.BAD_CREDENTIALS: StatusCode.UNAUTHENTICATED,
    Reason.NOT_ALLOWED: StatusCode.PERMISSION_DENIED,
    Reason.NOT_IMPLEMENTED: StatusCode.UNIMPLEMENTED,
    Reason.BUG: StatusCode.INTERNAL,
}


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ends: what `grpc.aio.ServicerContext.abort` takes."""

    code: StatusCode
    details: str
    trailing_metadata: tuple[tuple[str, bytes], ...]


def of(error: ServerError) -> Status:
    """Return the status of a call that an error ended."""
    code = CODES[error.reason]
    text = error_details.text(error)
    number: int = code.value[0]
    return Status(code, text, ((error_details.STATUS_KEY, error_details.status(error, number, text)),))
