"""The errors as one tree, and the error of each reason code; it knows neither gRPC nor configs.

    LaminaError                                SECRETS_UNAVAILABLE NOT_IMPLEMENTED    .reason .request_id
    ├ InvalidError (ValueError)                BAD_CONFIG_NAME BAD_KEY BAD_VALUE BAD_REQUEST REQUEST_ID_REUSED
    │ └ SettingsError                                                                 .version .problems
    ├ NotFoundError (LookupError)              CONFIG_NOT_FOUND VERSION_NOT_FOUND
    ├ VersionCompactedError (LookupError)      VERSION_COMPACTED                      .oldest_version
    ├ ConflictError                            CONFLICT                               .conflicts .head
    ├ UnavailableError (ConnectionError)       STORE_UNAVAILABLE STORE_UNUSABLE DRAINING TOO_SLOW BUG   .wrote_nothing
    │ └ DeadlineError (TimeoutError)
    ├ UnauthenticatedError                     NO_CREDENTIALS BAD_CREDENTIALS
    ├ PermissionDeniedError (PermissionError)  NOT_ALLOWED
    ├ LimitError                               TOO_LARGE TOO_MANY DISK_FULL           .limit .actual .retry_seconds
    ├ ExistsError                              CONFIG_EXISTS
    ├ CursorError                              CURSOR_AHEAD CURSOR_FORKED             .cursor .head
    └ DataLossError                            HASH_MISMATCH

Everything but an UnavailableError is definite: the attempt wrote nothing. After an UnavailableError a write may have
happened or not, unless `wrote_nothing` is true; the same verb called again with the same content finds out, and does
not write twice. Call again, too, if gRPC or a proxy refused a try after the connection of an earlier one was lost: the
earlier try may have written.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lamina._runtime.public import public
from lamina.records import Conflict


@public("lamina")
class LaminaError(Exception):
    """The base of all errors of this library.

    `reason` is the server's reason code, or "PROXY" if a proxy on the way to the server has refused the call; else
    None. `request_id` is the id of the write that failed, to be found in the server's logs. The text names keys,
    versions and authors, never values.
    """

    def __init__(self, message: str, *, reason: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.request_id = request_id


@public("lamina")
class InvalidError(LaminaError, ValueError):
    """A name, key, value or request that no server would accept."""


@public("lamina")
class SettingsError(InvalidError):
    """A version of a config does not fit the settings that are bound to it.

    `problems` has, for each key, the kind of problem and the type that the class expects, such as
    "missing (expected str)". An empty key, or the bound prefix, stands for the object as a whole. Neither
    `problems` nor the text holds a value.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        request_id: str | None = None,
        version: int = 0,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.version = version
        self.problems: dict[str, str] = dict(problems or {})


@public("lamina")
class NotFoundError(LaminaError, LookupError):
    """There is no such config, or no such version of it."""


@public("lamina")
class VersionCompactedError(LaminaError, LookupError):
    """The values of this version are no longer kept, because the operator has compacted the config.

    `oldest_version` is the oldest version that can be read, compared, reverted to and watched from; 0 if the server did
    not name it. The log and the history of each key still go back to version 1. If a commit was refused because the
    config's own version is compacted by now: `config.refresh()`, and commit again.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = "VERSION_COMPACTED",
        request_id: str | None = None,
        oldest_version: int = 0,
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.oldest_version = oldest_version


@public("lamina")
class ConflictError(LaminaError):
    """Others have changed keys that this draft changes or depends on. Nothing was written; the draft is unchanged.

    `conflicts` has, for each key, its value before, its value at version `head`, and the value that you wanted. Go on
    with `config.refresh(resolve=...)` and commit again, or with `config.discard()`.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = "CONFLICT",
        request_id: str | None = None,
        conflicts: Mapping[str, Conflict] | None = None,
        head: int = 0,
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.conflicts: dict[str, Conflict] = dict(conflicts or {})
        self.head = head


@public("lamina")
class UnavailableError(LaminaError, ConnectionError):
    """No server could be reached, or none could answer. A write may have happened or not.

    `wrote_nothing` is True if the server has said of each try of a write that it wrote nothing.
    """

    def __init__(
        self, message: str, *, reason: str | None = None, request_id: str | None = None, wrote_nothing: bool = False
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.wrote_nothing = wrote_nothing


@public("lamina")
class DeadlineError(UnavailableError, TimeoutError):
    """The client's `timeout` has passed without an answer."""


@public("lamina")
class UnauthenticatedError(LaminaError):
    """The server demands a token or a certificate, or does not know this one; or `token=` brings none.

    The text says what to do next, and where the token came from. It never has a token in it.
    """


@public("lamina")
class PermissionDeniedError(LaminaError, PermissionError):
    """The caller may not do this. The text says which role is missing on which config, and who can grant it.

    A config that the caller may not read looks as if it did not exist: that is a NotFoundError.
    """


@public("lamina")
class LimitError(LaminaError):
    """A size or a number is above the server's limit. `limit` and `actual` are None if the server did not name them.

    `retry_seconds` is set if the server will take the same call again after a pause, because this caller makes too many
    calls. A client waits that long by itself, within its `timeout`.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        request_id: str | None = None,
        limit: int | None = None,
        actual: int | None = None,
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.limit = limit
        self.actual = actual
        self.retry_seconds = retry_seconds


@public("lamina")
class ExistsError(LaminaError):
    """A config with that name exists already."""


@public("lamina")
class CursorError(LaminaError):
    """The server's past is not the one that this client has seen, for instance after a backup was restored.

    `cursor` is this client's position; `head` is the server's newest version, None if the server did not name it.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        request_id: str | None = None,
        cursor: str | None = None,
        head: int | None = None,
    ) -> None:
        super().__init__(message, reason=reason, request_id=request_id)
        self.cursor = cursor
        self.head = head


@public("lamina")
class DataLossError(LaminaError):
    """The data is not what was committed: the server or `verify` has found this, or an answer cannot be right."""


REASONS: Final[Mapping[str, type[LaminaError]]] = MappingProxyType(
    {
        "BAD_CONFIG_NAME": InvalidError,
        "BAD_KEY": InvalidError,
        "BAD_VALUE": InvalidError,
        "BAD_REQUEST": InvalidError,
        "REQUEST_ID_REUSED": InvalidError,
        "CONFIG_NOT_FOUND": NotFoundError,
        "VERSION_NOT_FOUND": NotFoundError,
        "VERSION_COMPACTED": VersionCompactedError,
        "CONFLICT": ConflictError,
        "CONFIG_EXISTS": ExistsError,
        "CURSOR_AHEAD": CursorError,
        "CURSOR_FORKED": CursorError,
        "HASH_MISMATCH": DataLossError,
        "TOO_LARGE": LimitError,
        "TOO_MANY": LimitError,
        "DISK_FULL": LimitError,
        "STORE_UNAVAILABLE": UnavailableError,
        "STORE_UNUSABLE": UnavailableError,
        "DRAINING": UnavailableError,
        "TOO_SLOW": UnavailableError,
        "BUG": UnavailableError,
        "NO_CREDENTIALS": UnauthenticatedError,
        "BAD_CREDENTIALS": UnauthenticatedError,
        "NOT_ALLOWED": PermissionDeniedError,
        "SECRETS_UNAVAILABLE": LaminaError,
        "NOT_IMPLEMENTED": LaminaError,
    }
)
"""The error of each reason code of the wire contract."""

CODES: Final[Mapping[str, type[LaminaError]]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": InvalidError,
        "NOT_FOUND": NotFoundError,
        "ALREADY_EXISTS": ExistsError,
        "FAILED_PRECONDITION": InvalidError,
        "OUT_OF_RANGE": CursorError,
        "DATA_LOSS": DataLossError,
        "RESOURCE_EXHAUSTED": LimitError,
        "UNAUTHENTICATED": UnauthenticatedError,
        "PERMISSION_DENIED": PermissionDeniedError,
        "UNIMPLEMENTED": LaminaError,
        "DEADLINE_EXCEEDED": DeadlineError,
        "UNAVAILABLE": UnavailableError,
        "CANCELLED": UnavailableError,
        "UNKNOWN": UnavailableError,
        "INTERNAL": UnavailableError,
        "ABORTED": UnavailableError,
    }
)
"""The error of each status code without a reason: from gRPC itself, or from a proxy on the way."""
