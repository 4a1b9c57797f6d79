"""The clock that versions are dated by, and what the log says of it.

Nothing depends on the clock: versions have numbers, and a config's times rise whatever the
clock does. But people read times and ask for versions by them. If a clock was ahead once,
all newer versions of that config are dated later than that moment, until the clock has
reached it. So the log says when the clock has jumped, and which versions are dated ahead of it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from lamina_server.domain.records import Version

AHEAD_LIMIT_US: Final = 1_000_000
"""Times further ahead of the clock are logged. The clocks of several servers often differ by less."""
JUMP_LIMIT_US: Final = 5_000_000
"""A clock that has moved by more than this against a steady one was set, and was not merely adjusted."""
DRIFT_LIMIT: Final = 1_000
"""A clock that is being adjusted goes wrong by less than one part in so many."""
TOLD_EVERY_SECONDS: Final = 3_600
"""How often the log tells of a config that is ahead: it may stay so for years."""

_log = structlog.get_logger(__name__)


def wall_us() -> int:
    """Read the system's clock, in microseconds since 1970."""
    return time.time_ns() // 1000


def steady_us() -> int:
    """Read a clock that nobody can set, in microseconds; one that goes on while the machine sleeps, if it has that."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
    return time.monotonic_ns() // 1000


class SystemClock:
    """The system's clock, compared with a steady one each time it is read. Threads may share it."""

    def __init__(self, wall_us: Callable[[], int] = wall_us, steady_us: Callable[[], int] = steady_us) -> None:
        self._wall_us = wall_us
        self._steady_us = steady_us
        self._last: tuple[int, int] | None = None

    def now_us(self) -> int:
        """Return the time in microseconds since 1970. Logs a jump since the last call."""
        now, steady = self._wall_us(), self._steady_us()
        last, self._last = self._last, (now, steady)
        if last is not None:
            passed = steady - last[1]
            if abs(now - last[0] - passed) > JUMP_LIMIT_US + abs(passed) // DRIFT_LIMIT:
                _log.warning("the clock has jumped", expected=_shown(last[0] + passed), clock=_shown(now))
        return now


class FutureTimesLog:
    """Logs versions that are dated later than the clock."""

    def __init__(self) -> None:
        self._newest_us = 0

    def opened(self, newest_us: int, now_us: int) -> None:
        """Note when the newest version of the database was committed; 0 if there is none."""
        self._newest_us = newest_us
        self._check_database(now_us)

    def committed(self, version: Version, now_us: int) -> None:
        """Note a version that was committed by a clock."""
        self._newest_us = max(self._newest_us, version.commit_time_us)
        if not is_future(version.commit_time_us, now_us):
            self._check_database(now_us)
        else:
            _log.warning(
                "the clock is behind a config's newest version",
                cause=version.config,
                every_seconds=TOLD_EVERY_SECONDS,
                config=version.config,
                version=version.number,
                commit_time=_shown(version.commit_time_us),
                clock=_shown(now_us),
            )

    def _check_database(self, now_us: int) -> None:
        if is_future(self._newest_us, now_us):
            _log.warning(
                "the clock is behind the database's newest version",
                every_seconds=TOLD_EVERY_SECONDS,
                commit_time=_shown(self._newest_us),
                clock=_shown(now_us),
            )


def is_future(time_us: int, now_us: int) -> bool:
    """Return whether a version's time lies ahead of the clock, by more than the clocks of servers differ."""
    return time_us > now_us + AHEAD_LIMIT_US


def _shown(time_us: int) -> str:
    """Show a time that a clock may have, however wrong it is."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)).isoformat()
    except OverflowError:
        return f"{time_us} µs"


system_now_us = SystemClock().now_us
"""The clock of this process."""
