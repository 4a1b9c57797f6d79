"""What nobody has caught gets into the log, like any other bug: without its words, which may quote a value."""

import asyncio
import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


def log_uncaught() -> None:
    """Log uncaught exceptions, of the main thread and of others, and Python's warnings."""
    sys.excepthook = _of_process
    sys.unraisablehook = lambda found: _bug("clean up", found.exc_value)
    threading.excepthook = _of_thread
    logging.captureWarnings(capture=True)


def of_event_loop(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what an event loop reports. The loop's own handler would write the words of the exception."""
    _log.error("bug", doing=context["message"], exc_info=context.get("exception"))


def _of_process(kind: type[BaseException], error: BaseException, places: TracebackType | None) -> None:
    if isinstance(error, Exception):
        _bug("run the command", error)
    else:  # Ctrl-C
        sys.__excepthook__(kind, error, places)


def _of_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_type is not SystemExit:
        _bug("run a thread", found.exc_value)


def _bug(doing: str, error: BaseException | None) -> None:
    _log.critical("bug", doing=doing, exc_info=error)
