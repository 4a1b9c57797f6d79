"""The server's errors, each with a reason code and its details.

    ServerError
    ├ InvalidError            BAD_CONFIG_NAME BAD_KEY BAD_VALUE BAD_REQUEST
    ├ LimitError              TOO_LARGE TOO_MANY
    │ └ RateError             TOO_MANY
    ├ DiskFullError           DISK_FULL
    ├ NotFoundError           CONFIG_NOT_FOUND VERSION_NOT_FOUND
    ├ CompactedError          VERSION_COMPACTED
    ├ ExistsError             CONFIG_EXISTS
    ├ RequestIdReusedError    REQUEST_ID_REUSED
    ├ ConflictError           CONFLICT
    ├ CursorError             CURSOR_AHEAD CURSOR_FORKED
    ├ HashMismatchError       HASH_MISMATCH
    ├ UnavailableError        STORE_UNAVAILABLE STORE_UNUSABLE DRAINING TOO_SLOW
    ├ SecretsUnavailableError SECRETS_UNAVAILABLE
    └ UnimplementedError      NOT_IMPLEMENTED

The text is for people. It names keys, versions, limits and sizes, and never a value.
rpc/status.py maps the reasons to status codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lamina_server.domain.records import HeadMark, Version
from lamina_server.domain.values import Value


class Reason(StrEnum):
    """The reason codes of the public contract."""

    BAD_CONFIG_NAME = "BAD_CONFIG_NAME"
    BAD_KEY = "BAD_KEY"
    BAD_VALUE = "BAD_VALUE"
    BAD_REQUEST = "BAD_REQUEST"
    CONFIG_NOT_FOUND = "CONFIG_NOT_FOUND"
    VERSION_NOT_FOUND = "VERSION_NOT_FOUND"
    VERSION_COMPACTED = "VERSION_COMPACTED"
    CONFLICT = "CONFLICT"
    CONFIG_EXISTS = "CONFIG_EXISTS"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    CURSOR_AHEAD = "CURSOR_AHEAD"
    CURSOR_FORKED = "CURSOR_FORKED"
    HASH_MISMATCH = "HASH_MISMATCH"
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY = "TOO_MANY"
    DISK_FULL = "DISK_FULL"
    SECRETS_UNAVAILABLE = "SECRETS_UNAVAILABLE"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_UNUSABLE = "STORE_UNUSABLE"
    DRAINING = "DRAINING"
    TOO_SLOW = "TOO_SLOW"
    NO_CREDENTIALS = "NO_CREDENTIALS"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    NOT_ALLOWED = "NOT_ALLOWED"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    BUG = "BUG"


class ServerError(Exception):
    """The base of every error that a caller gets to see."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OperatorError(Exception):
    """An error whose text is for the operator. Like a ServerError's, it quotes no value, password or token."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request and what is wrong with it."""

    field: str
    description: str


class InvalidError(ServerError):
    """The request breaks a rule that does not depend on the state of a config."""

    def __init__(self, reason: Reason, violations: Sequence[Violation]) -> None:
        first = violations[0]
        super().__init__(reason, f"{first.field}: {first.description}")
        self.violations = tuple(violations)


_SINGULAR = {"bytes": "byte", "calls": "call", "changes": "change", "groups": "group", "keys": "key"}
_SINGULAR |= {"keys and prefixes": "key or prefix", "read keys": "read key", "watches": "watch"}


def _counted(number: int, unit: str) -> str:
    return f"{number:,} {_SINGULAR.get(unit, unit) if number == 1 else unit}"


class LimitError(ServerError):
    """Something exceeds a limit, in size or in number."""

    def __init__(self, reason: Reason, what: str, *, limit: int, actual: int, unit: str) -> None:
        super().__init__(reason, f"{what}: {_counted(actual, unit)}, the limit is {_counted(limit, unit)}")
        self.limit = limit
        self.actual = actual
        self.unit = unit


class RateError(LimitError):
    """A principal did too much within a second.

    retry_seconds  after this time it may go on
    """

    def __init__(self, what: str, *, limit: int, unit: str, retry_seconds: float) -> None:
        super().__init__(Reason.TOO_MANY, what, limit=limit, actual=limit + 1, unit=unit)
        self.args = (f"{what}: the limit is {_counted(limit, unit)}; try again in {retry_seconds:g} s",)
        self.retry_seconds = retry_seconds


class DiskFullError(ServerError):
    """The database has no room left; nothing was written."""

    def __init__(self) -> None:
        super().__init__(Reason.DISK_FULL, "the server's disk is full; nothing was written")


class NotFoundError(ServerError):
    """There is no such config, or no such version of it."""

    @classmethod
    def config(cls, config: str) -> "NotFoundError":
        """Return the error for a config that does not exist."""
        return cls(Reason.CONFIG_NOT_FOUND, f"there is no config {config!r}")

    @classmethod
    def version(cls, config: str, number: int, head: int) -> "NotFoundError":
        """Return the error for a version that a config does not have."""
        text = f"{config!r} has no version {number}; its head is {head}"
        return cls(Reason.VERSION_NOT_FOUND, text)


class CompactedError(ServerError):
    """The map of a version, or its changes, are no longer kept: the config was compacted.

    oldest  the oldest version whose map can be read
    """

    def __init__(self, config: str, number: int, oldest: int) -> None:
        text = (
            f"the values of version {number} of {config!r} are no longer kept, because the config was compacted: the"
            f" oldest version that can be read is {oldest}"
        )
        super().__init__(Reason.VERSION_COMPACTED, text)
        self.oldest = oldest


class ExistsError(ServerError):
    """There is already a config of this name."""

    def __init__(self, config: str) -> None:
        super().__init__(Reason.CONFIG_EXISTS, f"the config {config!r} already exists")


class RequestIdReusedError(ServerError):
    """The request id was used before, for another request."""

    def __init__(self, request_id: str) -> None:
        text = f"request id {request_id!r} was used before for another request"
        super().__init__(Reason.REQUEST_ID_REUSED, text)


@dataclass(frozen=True, slots=True)
class KeyConflict:
    """One key in conflict: its three values, None where it has none, and the version and author of theirs."""

    key: str
    base: Value | None
    theirs: Value | None
    their_version: int
    their_author: str
    yours: Value | None


class ConflictError(ServerError):
    """The changes conflict with those of newer versions; nothing was written."""

    def __init__(self, head: Version, conflicts: Sequence[KeyConflict]) -> None:
        super().__init__(Reason.CONFLICT, _describe(head, conflicts))
        self.head = head
        self.conflicts = tuple(conflicts)


def _describe(head: Version, conflicts: Sequence[KeyConflict]) -> str:
    at = f"{head.config!r} is at version {head.number}"
    if not conflicts:  # the base was required to be the head, and all changes since were changed back
        return f"{at}, which is not the base"
    first = conflicts[0]
    others = f", and {len(conflicts) - 1} more" if len(conflicts) > 1 else ""
    return f"{at}: {first.key!r} was changed by {first.their_author!r} in version {first.their_version}{others}"


class CursorError(ServerError):
    """The caller knows a version or a hash that is not in this database."""

    def __init__(self, reason: Reason, message: str, *, head: Version | HeadMark | None) -> None:
        super().__init__(reason, message)
        self.head = head

    @classmethod
    def ahead(cls, config: str, number: int, head: Version | HeadMark | None) -> "CursorError":
        """Return the error for a version after the head."""
        at = head.number if head else 0
        text = f"version {number} of {config!r} is ahead of its head, version {at}"
        if not at:
            text += ": there is no such config any more, or you may no longer read it"
        return cls(Reason.CURSOR_AHEAD, text, head=head)

    @classmethod
    def forked(cls, config: str, number: int, head: Version | HeadMark | None) -> "CursorError":
        """Return the error for a version whose hash is not the one that the caller knows."""
        text = f"version {number} of {config!r} has another hash here: its past is not the caller's"
        return cls(Reason.CURSOR_FORKED, text, head=head)


class HashMismatchError(ServerError):
    """The database has returned something else than was written to it."""

    def __init__(self, what: str) -> None:
        super().__init__(Reason.HASH_MISMATCH, f"{what} does not match its digest")


class DamagedError(HashMismatchError):
    """The database has found damage itself. The text says what to do."""

    def __init__(self, text: str) -> None:
        ServerError.__init__(self, Reason.HASH_MISMATCH, text)


def cursor_lost(config: str, number: int, head: Version | HeadMark | None) -> ServerError:
    """Return the error for a version that a cursor stands at and that was not found; `head` was read after that.

    A version below the head is not ahead of it: then the database has lost a row in between.
    """
    if head is None or head.number < number:
        return CursorError.ahead(config, number, head)
    return HashMismatchError(f"the header of version {number} of {config!r}")


class UnavailableError(ServerError):
    """The server cannot answer now.

    wrote_nothing  whether this call has certainly written nothing; otherwise a write may have happened
    """

    def __init__(self, reason: Reason, message: str, *, wrote_nothing: bool = False) -> None:
        super().__init__(reason, message)
        self.wrote_nothing = wrote_nothing


class SecretsUnavailableError(ServerError):
    """The server cannot seal or unseal: it has no outer key, or cannot use it. The text says why."""

    def __init__(self, why: str) -> None:
        super().__init__(Reason.SECRETS_UNAVAILABLE, f"this server cannot seal or reveal secrets: {why}")


class UnimplementedError(ServerError):
    """The contract has this, but this server does not do it yet."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.NOT_IMPLEMENTED, message)
