"""How the server logs: JSON on stderr, and few lines even in a storm of errors. Knows nothing else of ours but errors.

Begin with `configure` below. `lines` makes a line of an event, `repeats` drops what repeats itself, and `uncaught`
brings what nobody has caught into the log.
"""

import logging
import sys

import structlog

from lamina_server.logs import lines, uncaught
from lamina_server.logs.fields import add_fields, with_fields
from lamina_server.logs.repeats import Repeats

__all__ = ["OutageLog", "configure", "with_fields"]


def configure() -> None:
    """Send our log, that of the libraries, warnings and uncaught exceptions to stderr."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        add_fields,
        lines.describe_exception,
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
            processors=[
                lines.add_repeated,
                lines.leave_out_hints,
                structlog.processors.TimeStamper(fmt="iso", utc=True),  # when it is written: so times rise in the log
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lines.render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [Repeats(handler)]
    root.setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells what it is before what it does
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns, in the database's words, of errors that we report
    logging.raiseExceptions = False  # a log that cannot be written is no reason to print a traceback
    uncaught.log_uncaught()


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
