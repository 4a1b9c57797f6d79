"""What the audit says of each call, and what becomes of a call that it cannot tell.

A write has two lines of one `call`: "write" before it is carried out, with its config and keys, and "written" with
the version, or "refused" with the reason, after it. So no write is carried out whose line could not be written.
The second line cannot undo what is done: if it cannot be written, the caller gets its answer, and the log says so.
The first line and the history of the config tell of the write in any case: its version has the author and the time.
A secret is revealed only after the line that says so, and a dry run compares a secret with what its caller gives only
after such a line: its answer says whether they are equal. A refusal is a refusal, whether or not its line can be
written.

Before each line, and once a second, the server looks whether its file is still the one under its path. If it was moved
away, removed or replaced, the server opens the path anew. If that fails, lines go on into the old file, as long as it
has a name somewhere. After a line that could not be written, the next one that can says how many were lost; if no call
writes one, the server does, as soon as it is possible.
"""

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from errno import ENOENT
from typing import Any, Final

import structlog

from lamina_server.audit.file import AuditFile
from lamina_server.audit.line import line_of
from lamina_server.domain.access import Caller
from lamina_server.domain.errors import Reason, ServerError, UnavailableError

REFUSALS_A_SECOND: Final = 100
"""Refusals of one principal, or of all callers without one, that are listed within a second; the others are counted.
So a flood of calls cannot fill the disk."""

_TOLD: Final = {
    Reason.NO_CREDENTIALS,
    Reason.BAD_CREDENTIALS,
    Reason.NOT_ALLOWED,
    Reason.TOO_MANY,
    Reason.TOO_LARGE,
    Reason.BAD_CONFIG_NAME,
    Reason.BAD_KEY,
    Reason.BAD_VALUE,
    Reason.BAD_REQUEST,
}
"""The refusals of all calls that are told; those of a write that has begun are told with any reason."""
_UNKNOWN: Final = {Reason.STORE_UNAVAILABLE, Reason.BUG}
"""After these a write may have happened."""

_log = structlog.get_logger(__name__)


class CallAudit:
    """What is told of one call. This one tells nothing: it is that of a server without an audit."""

    __slots__ = ()

    def known(self, caller: Caller) -> None:
        """Take who calls."""

    def about(self, config: str) -> None:
        """Take which config the call is about."""

    def write(self, config: str, keys: Sequence[str], request_id: str) -> None:
        """Tell of a write before it is carried out. Raise UnavailableError if that is impossible."""

    def written(self, version: int, *, created: bool) -> None:
        """Tell which version holds the write, and whether it is a new one."""

    def reveal(self, config: str, version: int, keys: Sequence[str]) -> None:
        """Tell of secrets before the caller gets them. Raise UnavailableError if that is impossible."""

    def compare(self, config: str, keys: Sequence[str]) -> None:
        """Tell of secrets before a dry run compares them. Raise UnavailableError if that is impossible."""

    def refused(self, reason: Reason, config: str) -> None:
        """Tell of a refusal that the caller sees as something else, such as a config that looks absent."""

    def failed(self, error: Exception) -> None:
        """Tell of the error that has ended the call, if it is a refusal or has ended a write."""

    def end(self) -> None:
        """Tell of a write whose caller has left before its end."""


NO_CALL: Final = CallAudit()


class Audit:
    """The audit of a server. Lives on the event loop.

    file            where it goes; None: nowhere
    is_best_effort  whether what cannot be told is carried out nevertheless
    """

    def __init__(self, file: AuditFile | None, *, now_us: Callable[[], int], is_best_effort: bool = False) -> None:
        self._file = file
        self._now_us = now_us
        self._is_best_effort = is_best_effort
        self._server = secrets.token_hex(4)
        self._calls = itertools.count(1)
        self._second = 0
        self._listed: Counter[str] = Counter()
        self._not_listed = 0
        self._lost = 0
        self._is_failing = False

    @property
    def is_on(self) -> bool:
        """Return whether the server has an audit."""
        return self._file is not None

    @property
    def is_sound(self) -> bool:
        """Return whether the last line was written, and the next one goes into the file under its path."""
        return not self._is_failing and (self._file is None or self._file.is_in_place)

    def of_call(self, method: str, peer: str) -> CallAudit:
        """Return what will tell of a call."""
        return NO_CALL if self._file is None else _CallAudit(self, method, peer)

    def reopen(self) -> None:
        """Open the file anew, after it was moved away. If that fails, the old one goes on, and the log says so."""
        if self._file is None:
            return
        try:
            self._file.reopen()
        except OSError as error:
            _log.error("audit file not reopened", reason=error.strerror)
        else:
            _log.info("audit file reopened")

    def look(self) -> UnavailableError | None:
        """See whether lines can be written. Return why nothing is written and revealed now; None if it is.

        Call it again and again: if a line was lost, this writes one that says so, as soon as it is possible.
        """
        if self._file is None:
            return None
        if self._is_failing:
            self.tell("resumed", {})
        elif not self._file.is_in_place:
            self.reopen()
            self._is_failing = self._file.is_removed
        return _refusal(wrote_nothing=True) if self._is_failing and not self._is_best_effort else None

    def new_call(self) -> str:
        """Return what the lines of one call have in common, on all servers."""
        return f"{self._server}-{next(self._calls)}"

    def tell(self, event: str, fields: dict[str, Any], keys: Sequence[str] | None = None) -> bool:
        """Write a line; return whether it was written."""
        left_out = {"refusals_not_listed": self._not_listed or None, "lines_lost": self._lost or None}
        try:
            self._write(line_of(self._now_us(), event, fields | left_out, keys))
        except OSError as error:
            _log.error("audit not written", reason=error.strerror, audited=event)
            self._is_failing = True
            self._lost += event != "resumed"
            return False
        if self._is_failing:
            _log.info("audit written again", lines_lost=self._lost)
        self._is_failing, self._not_listed, self._lost = False, 0, 0
        return True

    def _write(self, line: bytes) -> None:
        """Write a line into the file under its path. Raise OSError if nobody could find the line."""
        assert self._file is not None
        if not self._file.is_in_place:
            self.reopen()
            if self._file.is_removed:
                raise OSError(ENOENT, "the file was removed, and cannot be made anew")
        self._file.write(line)

    def tell_first(self, event: str, fields: dict[str, Any], keys: Sequence[str], *, wrote_nothing: bool) -> None:
        """Write a line about what has not happened yet. Raise UnavailableError if it must not happen without it."""
        if not self.tell(event, fields, keys) and not self._is_best_effort:
            raise _refusal(wrote_nothing=wrote_nothing)

    def tell_refusal(self, principal: str, fields: dict[str, Any]) -> None:
        """Write a line about a refusal, unless there are too many."""
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._listed.clear()
        self._listed[principal] += 1
        if self._listed[principal] > REFUSALS_A_SECOND:
            self._not_listed += 1
        else:
            self.tell("refused", fields)


def _refusal(*, wrote_nothing: bool) -> UnavailableError:
    text = "the server cannot write its audit, so it writes and reveals nothing; its log says why"
    return UnavailableError(Reason.STORE_UNAVAILABLE, text, wrote_nothing=wrote_nothing)


class _CallAudit(CallAudit):
    __slots__ = ("_audit", "_call", "_config", "_fields", "_principal", "_told", "_writes")

    def __init__(self, audit: Audit, method: str, peer: str) -> None:
        self._audit = audit
        self._principal = ""
        self._fields: dict[str, Any] = {"method": method, "address": peer}
        self._call = self._config = ""
        self._writes = False
        self._told = False

    def known(self, caller: Caller) -> None:
        self._principal = caller.principal
        if caller.principal:
            self._fields["principal"] = caller.principal
        else:  # an open server, which believes each name
            self._fields["author"] = caller.author.name

    def about(self, config: str) -> None:
        self._config = config

    def write(self, config: str, keys: Sequence[str], request_id: str) -> None:
        self._call = self._audit.new_call()
        fields = {"call": self._call, **self._fields, "config": config, "request_id": request_id}
        self._audit.tell_first("write", fields, keys, wrote_nothing=True)
        self._writes = True

    def written(self, version: int, *, created: bool) -> None:
        self._writes = False
        self._audit.tell("written", {"call": self._call, "version": version, "created": created})

    def reveal(self, config: str, version: int, keys: Sequence[str]) -> None:
        fields = {**self._fields, "config": config, "version": version or None}
        self._audit.tell_first("revealed", fields, keys, wrote_nothing=False)  # the answer may be that of a write

    def compare(self, config: str, keys: Sequence[str]) -> None:
        if keys:
            self._audit.tell_first("compared", {**self._fields, "config": config}, keys, wrote_nothing=True)

    def refused(self, reason: Reason, config: str) -> None:
        self._told = True
        self._audit.tell_refusal(self._principal, {**self._fields, "config": config, "reason": str(reason)})

    def failed(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, ServerError) else Reason.BUG
        if self._writes:
            self._writes = False
            is_open = reason in _UNKNOWN and not getattr(error, "wrote_nothing", False)
            self._audit.tell("unknown" if is_open else "refused", {"call": self._call, "reason": str(reason)})
        elif reason in _TOLD and not self._told:
            self.refused(reason, self._config)

    def end(self) -> None:
        if self._writes:
            self._writes = False
            self._audit.tell("unknown", {"call": self._call, "reason": "the caller has left"})
