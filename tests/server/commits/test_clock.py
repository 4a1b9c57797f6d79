"""What the log says of a clock: that it has jumped, and that versions are dated later than it."""

from typing import Any

from structlog.testing import capture_logs

from lamina_server.commits.clock import FutureTimesLog, SystemClock, steady_us, wall_us
from lamina_server.domain.records import Version

SECOND = 1_000_000
NOW = 1_790_000_000 * SECOND
AHEAD = NOW + 5 * 365 * 86_400 * SECOND


class Hands:
    """Two clocks that a test sets: the one that people read, and the steady one."""

    def __init__(self) -> None:
        self.wall, self.steady = NOW, 7 * SECOND
        self.clock = SystemClock(lambda: self.wall, lambda: self.steady)

    def after(self, seconds: float, set_by: float = 0.0) -> list[Any]:
        """Let time pass, set the clock by some seconds, read it, and return what was logged."""
        self.steady += round(seconds * SECOND)
        self.wall += round((seconds + set_by) * SECOND)
        with capture_logs() as log:
            assert self.clock.now_us() == self.wall
        return log


def test_a_jump_of_the_clock_is_logged_with_both_times() -> None:
    hands = Hands()
    assert not hands.after(0)
    assert not hands.after(10)
    (forward,) = hands.after(1, set_by=157_680_000)
    assert (forward["log_level"], forward["event"]) == ("warning", "the clock has jumped")
    assert (forward["expected"], forward["clock"]) == ("2026-09-21T14:13:31+00:00", "2031-09-20T14:13:31+00:00")
    assert not hands.after(1)
    (back,) = hands.after(1, set_by=-157_680_000)
    assert (back["expected"], back["clock"]) == ("2031-09-20T14:13:33+00:00", "2026-09-21T14:13:33+00:00")


def test_a_clock_that_is_adjusted_has_not_jumped() -> None:
    hands = Hands()
    assert not hands.after(0)
    assert not hands.after(1, set_by=4)
    assert not hands.after(1, set_by=-4)
    assert not hands.after(30 * 86_400, set_by=30 * 86_400 * 0.0005)
    assert hands.after(60, set_by=6)


def test_the_clocks_of_this_machine() -> None:
    """They are compared in the same unit."""
    wall, steady = wall_us(), steady_us()
    assert abs((wall_us() - wall) - (steady_us() - steady)) < SECOND
    with capture_logs() as log:
        clock = SystemClock()
        assert abs(clock.now_us() - clock.now_us()) < SECOND
    assert not log


def version(config: str, time_us: int) -> Version:
    return Version(config, 7, b"", "ann", False, "", time_us, 1, 1, 1)


def test_a_version_ahead_of_the_clock_is_logged_with_its_config_as_the_cause() -> None:
    times = FutureTimesLog()
    with capture_logs() as log:
        times.committed(version("a", AHEAD), NOW)
        times.committed(version("b", AHEAD), NOW)
    assert [(each["config"], each["cause"], each["version"]) for each in log] == [("a", "a", 7), ("b", "b", 7)]
    assert {(each["commit_time"], each["clock"]) for each in log} == {
        ("2031-09-20T14:13:20+00:00", "2026-09-21T14:13:20+00:00")
    }
    assert {each["log_level"] for each in log} == {"warning"}


def test_a_clock_behind_the_database_is_logged_at_the_start_and_at_commits() -> None:
    for newest, now in ((0, NOW), (NOW + SECOND, NOW), (AHEAD, AHEAD)):
        times = FutureTimesLog()
        with capture_logs() as log:
            times.opened(newest, now)
            times.committed(version("a", now), now)
        assert not log
    times = FutureTimesLog()
    with capture_logs() as log:
        times.opened(NOW, AHEAD)
        times.committed(version("a", AHEAD), AHEAD)
        times.committed(version("b", NOW), NOW)  # the clock was set right again
    assert [(each["event"], each["commit_time"]) for each in log] == [
        ("the clock is behind the database's newest version", "2031-09-20T14:13:20+00:00")
    ]
