"""One event of the log as one line of JSON, safe to read in a terminal. Knows no handler.

No value, token or password gets into a log. An exception's own words may quote them (a
driver names the row, `int()` the text). So only a ServerError's or an OperatorError's words are
logged; of any other exception its type, its numbers and the places it came through.

`describe_exception`, `add_repeated`, `leave_out_hints` and `render` are processors of structlog.
"""

import json
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from typing import Any

from lamina_server.domain.errors import OperatorError, ServerError

CAUSES_LIMIT = 8
"""Exceptions of one chain that are logged: what went wrong first is rarely further down."""
REPEATED = "repeated"
CAUSE = "cause"
"""What an event may say to be told apart from others with the same words, such as the config that it is about."""
EVERY_SECONDS = "every_seconds"
"""How often an event may ask to be logged, if this is less often than usual."""
_NUMBERS = ("errno", "sqlstate", "sqlite_errorname")
"""What operating system and databases call an error, without quoting anything."""


def describe_exception(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put the exception of an event, and what it came from, in place of `exc_info`.

    The places are left out where the exception is no bug, but an answer of ours: the store is away, the disk is full.
    """
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        is_ours = isinstance(error, ServerError | OperatorError)
        event["exception"] = [_describe(one, with_places=not is_ours) for one in _chain(error)]
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


def _describe(error: BaseException, *, with_places: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, ServerError | OperatorError):  # our own words quote nothing
        described["text"] = str(error)
    described |= {name: number for name in _NUMBERS if (number := getattr(error, name, None)) is not None}
    if with_places:
        frames = traceback.extract_tb(error.__traceback__)
        described["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return described


def add_repeated(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add how often the event has happened since its last line."""
    if repeated := getattr(event["_record"], REPEATED, 0):
        event[REPEATED] = repeated
    return event


def leave_out_hints(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Remove what only `repeats` needs."""
    event.pop(CAUSE, None)
    event.pop(EVERY_SECONDS, None)
    return event


def render(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """Return the line."""
    # JSON escapes newlines and ASCII's control characters, and with ensure_ascii all others too; only DEL is left.
    return json.dumps(event, ensure_ascii=True, default=_name).replace("\x7f", "\\u007f")


def _name(thing: object) -> str:
    """Return the type of an object that JSON cannot hold, and nothing of its content."""
    return f"<{type(thing).__name__}>"
