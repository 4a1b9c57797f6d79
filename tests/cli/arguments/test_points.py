"""Points in time as people type them."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import pytest

from lamina.cli.arguments.points import PointError, parse_point

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@contextmanager
def zone(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the terminal's time zone for the duration of the block."""
    monkeypatch.setenv("TZ", name)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the terminal's time zone to Berlin."""
    with zone("Europe/Berlin", monkeypatch):
        yield


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("0", 0),
        ("12", 12),
        ("007", 7),
        (str(2**63 - 1), 2**63 - 1),
        ("90s", NOW - timedelta(seconds=90)),
        ("15m", NOW - timedelta(minutes=15)),
        ("2h", NOW - timedelta(hours=2)),
        ("7d", NOW - timedelta(days=7)),
        ("3w", NOW - timedelta(weeks=3)),
        ("2026-11-23T09:30:00Z", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
        ("2026-11-23t09:30:00z", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
        ("2026-11-23T09:30:00.5Z", datetime(2026, 11, 23, 9, 30, 0, 500_000, tzinfo=UTC)),
        ("2026-11-23T09:30:00.123456789Z", datetime(2026, 11, 23, 9, 30, 0, 123_456, tzinfo=UTC)),
        ("2026-11-23 09:30:00+01:00", datetime(2026, 11, 23, 9, 30, tzinfo=timezone(timedelta(hours=1)))),
    ],
)
def test_a_point_is_parsed(text: str, point: int | datetime) -> None:
    assert parse_point(text, now=NOW) == point


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-23T09:30:00", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("2026-11-23 09:30", datetime(2026, 11, 23, 8, 30, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 22, 23, 0, tzinfo=UTC)),  # the beginning of that day
        ("2026-07-01T09:30:00", datetime(2026, 7, 1, 7, 30, tzinfo=UTC)),  # summer time
    ],
)
def test_a_time_without_a_zone_is_in_the_terminal_s_zone(text: str, utc: datetime) -> None:
    point = parse_point(text, now=NOW)
    assert isinstance(point, datetime)
    assert point.tzinfo is not None
    assert point == utc


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("text", "says", "first", "second"),
    [
        ("2026-03-29 02:30", "did not exist", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        ("2026-03-29T02:00:00", "did not exist", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("2026-10-25 02:30", "was twice", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:00:00", "was twice", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"),
    ],
)
def test_a_time_of_the_hour_that_daylight_saving_takes_or_gives(text: str, says: str, first: str, second: str) -> None:
    with pytest.raises(PointError) as refused:
        parse_point(text, now=NOW)
    assert says in str(refused.value)
    assert f"did you mean {first} or {second}?" in str(refused.value)
    moments = [parse_point(each, now=NOW) for each in (first, second)]
    assert moments[1] - moments[0] == timedelta(hours=1)  # type: ignore[operator]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    "text", ["2026-03-29 01:59:59.9", "2026-03-29 03:00", "2026-10-25 01:59", "2026-10-25 03:00", "2026-03-29 02:30Z"]
)
def test_a_time_beside_that_hour_is_taken(text: str) -> None:
    assert isinstance(parse_point(text, now=NOW), datetime)


def test_a_day_without_midnight_begins_at_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with zone("America/Sao_Paulo", monkeypatch):
        assert parse_point("2018-11-04", now=NOW) == datetime(2018, 11, 4, 3, 0, tzinfo=UTC)
        with pytest.raises(PointError, match="did not exist"):
            parse_point("2018-11-04 00:00", now=NOW)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "not a version (12)"),
        ("", "not a version"),
        ("-1", "not a version"),
        ("1.5", "not a version"),
        ("2 h", "not a version"),
        ("٣", "not a version"),
        ("9" * 19, "so high"),
        ("9" * 9999, "so high"),
        ("999999999999d", "before the calendar"),
        ("2026-02-30T00:00:00Z", "no time that exists"),
        ("2026-02-03T25:00:00Z", "no time that exists"),
    ],
)
def test_a_bad_point_is_refused(text: str, says: str) -> None:
    with pytest.raises(PointError, match=re.escape(says)):
        parse_point(text, now=NOW)
