"""The same thing a thousand times is one line of the log, and then one line an interval with the number since."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lamina_server.logs.lines import CAUSE, EVERY_SECONDS, REPEATED

INTERVAL_SECONDS = 10.0
CAUSES_LIMIT = 200
"""Causes that are told apart at the same time. Beyond this, all that one logger says at one level is one cause."""


@dataclass(slots=True)
class _Cause:
    """How often a cause has a line, when the next one is due, how often it has happened since, and its last record."""

    interval_seconds: float
    due: float
    last: logging.LogRecord
    count: int = 0


class Repeats(logging.Handler):
    """Hands on the first record of a cause at once, and later ones as one record an interval.

    target     the handler that writes
    monotonic  the clock, in seconds
    """

    def __init__(
        self,
        target: logging.Handler,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._target = target
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._mutex = threading.RLock()
        self._causes: dict[Hashable, _Cause] = {}
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a record, or count it."""
        key = _key(record)
        with self._mutex:
            if key not in self._causes and len(self._causes) >= CAUSES_LIMIT:
                key = (record.name, record.levelno)
            if cause := self._causes.get(key):
                cause.count += 1
                cause.last = record
            else:
                interval = self._interval_of(record)
                self._causes[key] = _Cause(interval, self._monotonic() + interval, record)
                self._target.handle(record)
            self._set_timer()

    def write_due(self) -> None:
        """Write the causes whose interval is over, and forget those that have not happened again."""
        with self._mutex:
            self._timer = None
            now = self._monotonic()
            for key, cause in [(key, cause) for key, cause in self._causes.items() if cause.due <= now]:
                if cause.count:
                    self._write(cause)
                    cause.due = now + cause.interval_seconds
                else:
                    del self._causes[key]
            self._set_timer()

    def close(self) -> None:
        """Write what was counted and not written. Python calls this at the end of a process."""
        with self._mutex:
            if self._timer:
                self._timer.cancel()
            for cause in self._causes.values():
                if cause.count:
                    self._write(cause)
            self._causes.clear()
        super().close()

    def _interval_of(self, record: logging.LogRecord) -> float:
        asked: float = record.msg.get(EVERY_SECONDS, 0) if isinstance(record.msg, dict) else 0
        return max(asked, self._interval_seconds)

    def _write(self, cause: _Cause) -> None:
        setattr(cause.last, REPEATED, cause.count)
        cause.count = 0
        self._target.handle(cause.last)

    def _set_timer(self) -> None:
        if self._timer or not self._causes:
            return
        wait = min(cause.due for cause in self._causes.values()) - self._monotonic()
        timer = threading.Timer(max(wait, 0), self.write_due)
        timer.daemon = True
        with suppress(RuntimeError):  # no thread is left: the next record tries again
            timer.start()
            self._timer = timer


def _key(record: logging.LogRecord) -> Hashable:
    """Return what makes two records the same: the event, its reason, its cause and where its exception comes from.

    Other names, numbers and the callers' own texts are no part of it.
    """
    event = record.msg
    if not isinstance(event, dict):  # a library's
        kind = record.exc_info[0] if record.exc_info else None
        return (record.name, record.levelno, str(event), kind)
    described: list[dict[str, Any]] = event.get("exception") or [{}]
    error, *causes = described
    words = [cause.get("text") for cause in causes if "text" in cause]  # those of the error itself may name a config
    places = [place for one in (error, *causes) for place in one.get("at", ())]
    named = (event.get("event"), event.get("reason"), event.get(CAUSE))
    return (record.name, record.levelno, *named, error.get("type"), *words, *places)
