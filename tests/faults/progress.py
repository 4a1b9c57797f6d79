"""How many commits were acknowledged so far, and how to wait for more. Knows neither clients nor faults."""

import threading

PROGRESS_SECONDS = 40.0
"""Longer than any server takes to come back: after such a time without a commit, there will be none."""


class StalledError(Exception):
    """No commit was acknowledged for PROGRESS_SECONDS, so none will be."""


class Progress:
    """Counts acknowledged commits, for threads that wait for them. Shared by threads."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._counted = threading.Condition()
        self._error: BaseException | None = None

    def add(self, count: int = 1) -> None:
        """Count acknowledged commits."""
        with self._counted:
            self.acknowledged += count
            self._counted.notify_all()

    def fail(self, error: BaseException) -> None:
        """Make `wait_for` and `check` raise this error."""
        with self._counted:
            self._error = error
            self._counted.notify_all()

    def check(self) -> None:
        """Raise the error of `fail`, if there is one."""
        if self._error is not None:
            raise self._error

    def wait_for(self, more: int) -> None:
        """Wait until so many more commits are acknowledged.

        Raise StalledError if none is for long, or the error of `fail`.
        """
        with self._counted:
            goal = self.acknowledged + more
            while (before := self.acknowledged) < goal:
                moved = self._counted.wait_for(lambda: self._error or self.acknowledged > before, PROGRESS_SECONDS)
                self.check()
                if not moved:
                    raise StalledError(f"no commit was acknowledged for {PROGRESS_SECONDS:.0f} s")
