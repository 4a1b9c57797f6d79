"""What does not work for a while: told to the operator once when it begins, and once when it is over.

Whatever tries again by itself every few seconds would fill the log otherwise. Knows
nothing else of ours.
"""

import structlog

_log = structlog.get_logger(__name__)


class Outage:
    """One thing that may be out: `broken` and `mended` are what the log says of it."""

    def __init__(self, broken: str, mended: str) -> None:
        self._broken = broken
        self._mended = mended
        self._is_on = False

    def goes_on(self, error: BaseException) -> None:
        """Say that it does not work, because of an error; only the first is told."""
        if not self._is_on:
            self._is_on = True
            _log.warning(self._broken, exc_info=error)

    def is_over(self) -> None:
        """Say that it works."""
        if self._is_on:
            self._is_on = False
            _log.info(self._mended)
