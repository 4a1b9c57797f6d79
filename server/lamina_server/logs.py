"""How the server logs: one JSON object a line on stderr, safe to read in a terminal. Knows nothing else of ours.

No value, token or password gets into a log. An exception's own words may quote them (a
driver names the row, `int()` the text). So only a ServerError's or an OperatorError's words are
logged; of any other exception its type, its numbers and the places it came through.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

import structlog

from lamina_server.domain.errors import OperatorError, ServerError

CAUSES_LIMIT = 8
"""Exceptions of one chain that are logged: what went wrong first is rarely further down."""
_NUMBERS = ("errno", "sqlstate", "sqlite_errorname")
"""What operating system and databases call an error, without quoting anything."""


def configure() -> None:
    """Send our log and that of the libraries to stderr."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells what it is before what it does


def _describe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = [_describe(one) for one in _chain(error)]
    return event


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, then what it came from, and so on."""
    current: BaseException | None = error
    for _ in range(CAUSES_LIMIT):
        if current is None:
            return
        yield current
        original = getattr(current, "orig", None)  # SQLAlchemy's name for the driver's own exception
        following = current.__cause__ or current.__context__ or original
        current = following if isinstance(following, BaseException) else None


def _describe(error: BaseException) -> dict[str, Any]:
    described: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, ServerError | OperatorError):  # our own words quote nothing
        described["text"] = str(error)
    described |= {name: number for name in _NUMBERS if (number := getattr(error, name, None)) is not None}
    frames = traceback.extract_tb(error.__traceback__)
    described["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return described


def _render(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    # JSON escapes newlines and ASCII's control characters, and with ensure_ascii all others too; only DEL is left.
    return json.dumps(event, ensure_ascii=True, default=_name).replace("\x7f", "\\u007f")


def _name(thing: object) -> str:
    """Return the type of an object that JSON cannot hold, and nothing of its content."""
    return f"<{type(thing).__name__}>"


_log = structlog.get_logger(__name__)


class OutageLog:
    """Logs the beginning and the end of an outage, and not each failure in between.

    broken  what the log says when the outage begins
    mended  what it says when the outage ends
    """

    def __init__(self, broken: str, mended: str) -> None:
        self._broken = broken
        self._mended = mended
        self._is_on = False

    def failed(self, error: BaseException) -> None:
        """Note a failure; only the first one of an outage is logged."""
        if not self._is_on:
            self._is_on = True
            _log.warning(self._broken, exc_info=error)

    def recovered(self) -> None:
        """Note a success, which ends an outage."""
        if self._is_on:
            self._is_on = False
            _log.info(self._mended)
