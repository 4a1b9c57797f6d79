"""Points in time as people type them: a version, an RFC 3339 time or an age; it knows no config and no clock.

12                          version 12, and 0 the empty map before version 1
2026-11-23T09:30:00+01:00   the newest version not later than that
2026-11-23 09:30            the same in the terminal's time zone
2026-11-23                  that day's beginning, in the terminal's time zone
90s  15m  2h  7d  3w        this long ago

Where the terminal's clocks are set forward, an hour does not exist. Where they are set back, an hour exists twice. A
time in such an hour is refused.
"""

import re
from datetime import datetime, timedelta
from typing import Final

_VERSION_LIMIT: Final = 2**63
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_AGE: Final = re.compile(r"(\d{1,12})([smhdw])", re.ASCII)
_TIME: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)(?:[Tt ](?P<minute>\d\d:\d\d)(?P<second>:\d\d)?(?P<fraction>\.\d+)?"
    r"(?P<zone>[Zz]|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
FORMS: Final = "a version (12), a time (2026-11-23T09:30:00Z, without a zone: this terminal's) or an age (90s, 2h, 7d)"


class PointError(ValueError):
    """A text that is no point in time."""


def parse_point(text: str, *, now: datetime) -> int | datetime:
    """Return the version number, or the time with its zone, that a text means at the moment `now`. Raise PointError."""
    if text.isascii() and text.isdigit():
        return _version(text)
    if age := _AGE.fullmatch(text):
        return _before(now, text, int(age[1]) * _UNIT_SECONDS[age[2]])
    if time := _TIME.fullmatch(text):
        return _time(time)
    raise PointError(f"{text!r} is not {FORMS}")


def parse_end(text: str, *, now: datetime) -> datetime:
    """Return the future time that a text means at the moment `now`: a time, or an age from then. Raise PointError."""
    if age := _AGE.fullmatch(text):
        return _after(now, text, int(age[1]) * _UNIT_SECONDS[age[2]])
    if not (time := _TIME.fullmatch(text)):
        raise PointError(f"{text!r} is neither an age from now (90d, 12h) nor a time (2027-01-01T00:00:00Z)")
    end = _time(time)
    if end <= now:
        raise PointError(f"{text!r} is not in the future")
    return end


def _version(text: str) -> int:
    # The length is checked first: Python refuses to read an integer of thousands of digits.
    if len(text) > len(str(_VERSION_LIMIT)) or int(text) >= _VERSION_LIMIT:
        raise PointError("no version has so high a number")
    return int(text)


def _before(now: datetime, text: str, seconds: int) -> datetime:
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        raise PointError(f"{text!r} ago is before the calendar began") from None


def _after(now: datetime, text: str, seconds: int) -> datetime:
    if not seconds:
        raise PointError(f"{text!r} is no time at all: it takes 1s or more")
    try:
        return now.replace(microsecond=0) + timedelta(seconds=seconds)
    except OverflowError:
        raise PointError(f"{text!r} from now is after the calendar ends") from None


def _time(parts: re.Match[str]) -> datetime:
    """Read the parts that the pattern found, in microseconds: versions have no finer times."""
    fraction = (parts["fraction"] or ".0")[1:7].ljust(6, "0")
    zone = (parts["zone"] or "").upper()
    try:
        # In this one form fromisoformat reads all times alike.
        time = datetime.fromisoformat(
            f"{parts['date']}T{parts['minute'] or '00:00'}{parts['second'] or ':00'}.{fraction}{zone}"
        )
        return time if time.tzinfo else _local(time, parts)
    except (ValueError, OverflowError) as error:
        raise PointError(f"{parts[0]!r} is no time that exists: {error}") from None


def _local(time: datetime, parts: re.Match[str]) -> datetime:
    """Give a time the terminal's zone. Raise PointError if its clocks never showed it, or showed it twice."""
    first, second = sorted(time.replace(fold=fold).astimezone() for fold in (0, 1))
    is_skipped = first.replace(tzinfo=None) != time
    if first == second:
        return first
    if not parts["minute"]:  # a day, which begins with the first moment that it has
        return second if is_skipped else first
    why = (
        "did not exist, because the clocks were set forward"
        if is_skipped
        else "was twice, because the clocks were set back"
    )
    alike = f"did you mean {first.isoformat()} or {second.isoformat()}?"
    raise PointError(f"in this terminal's time zone {parts[0]!r} {why}; {alike}")
