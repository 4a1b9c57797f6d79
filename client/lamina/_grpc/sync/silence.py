"""A timer that interrupts a watch when its stream brings nothing."""

import threading
import time
from collections.abc import Callable
from weakref import WeakMethod

from lamina._runtime.forking import ForkSafeLock


class SilenceTimer:
    """Rings when a wait lasts longer than a number of seconds.

    grpc's streams cannot be waited for with a timeout; they can be cancelled by another thread. One thread serves all
    waits of a watch: it sleeps until the earliest moment at which it might have to ring, so a wait costs no switch. It
    ends with the watch, or soon after an abandoned watch.
    """

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self.rang = False
        self._seconds = seconds
        self._ring = WeakMethod(ring)
        self._lock = ForkSafeLock()
        self._due: float | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def set(self) -> None:
        """Begin a wait."""
        with self._lock:
            self.rang = False
            self._due = time.monotonic() + self._seconds
        if self._thread is None or not self._thread.is_alive():  # a forked child has no thread
            self._thread = threading.Thread(target=self._watch, name="lamina-watch-timeout", daemon=True)
            self._thread.start()

    def extend(self) -> None:
        """Begin the wait's seconds again, unless the timer has rung already."""
        with self._lock:
            if self._due is not None:
                self._due = time.monotonic() + self._seconds

    def unset(self) -> None:
        """End a wait."""
        with self._lock:
            self._due = None

    def left(self) -> float:
        """Return how many seconds of the wait are left."""
        return 0.0 if self._due is None else max(self._due - time.monotonic(), 0.0)

    def stop(self) -> None:
        """Stop the timer for good."""
        self._stopped.set()

    def _watch(self) -> None:
        pause = self._seconds
        while not self._stopped.wait(pause):
            with self._lock:
                pause = self._seconds if self._due is None else self._due - time.monotonic()
                if pause > 0 and self._ring() is not None:
                    continue
                self.rang, self._due, pause = True, None, self._seconds
            ring = self._ring()
            if ring is None:
                return
            ring()
