"""A lock for what threads share and a fork copies; it knows not what it guards."""

import os
from threading import Lock
from types import TracebackType


class ForkedLock:
    """A lock that is free in a forked child, even if another thread of the parent held it at that moment."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = Lock()

    def __enter__(self) -> None:
        if self._process != os.getpid():
            # A child begins with one thread, so nobody else can be here.
            self.__init__()  # type: ignore[misc]
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()
