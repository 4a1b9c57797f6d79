"""What makes a client survive a fork: a lock that a child finds free, and a gate that is closed while a process forks.

gRPC can be used in a forked child, by new channels, unless some thread of the parent was inside of gRPC at that very
moment: with a watch waiting, one child in ten crashed or hung. So all threads leave gRPC before a fork: all channels
are closed, which ends the calls that wait on them, and no thread enters until the fork is over. Calls are then made
again and watches resume, as after any cut.
"""

import os
import time
from collections.abc import Callable
from threading import Condition, Lock
from types import TracebackType
from typing import Final
from weakref import WeakSet

LEAVING_SECONDS: Final = 1.0
"""How long a fork waits for threads to leave: they notice the end of a channel within milliseconds."""

SETTLING_SECONDS: Final = 0.05
"""How long gRPC's own threads, which cannot be waited for, get to clear away what was closed."""


class ForkSafeLock:
    """A lock that is free in a forked child, even if another thread of the parent held it at that moment."""

    def __init__(self) -> None:
        self._lock = Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free, as in a child: it has none of the parent's threads, and no other has begun yet."""
        self._lock = Lock()


_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkGate:
    """Lets threads into gRPC (`with gate:`), but not while the process forks."""

    def __init__(
        self,
        interrupt: Callable[[], None],
        *,
        leaving_seconds: float = LEAVING_SECONDS,
        settling_seconds: float = SETTLING_SECONDS,
    ) -> None:
        """Take a function that ends the calls for which threads wait inside."""
        self._interrupt = interrupt
        self._leaving_seconds = leaving_seconds
        self._settling_seconds = settling_seconds
        self._changed = Condition()
        self._is_closed = False
        self._inside = 0
        _gates.add(self)

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_closed)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let no thread in any more, and wait until all are out. If none is inside, the channels stay as they are."""
        with self._changed:
            self._is_closed = True
            if not self._inside:
                return
        self._interrupt()
        with self._changed:
            self._changed.wait_for(lambda: not self._inside, self._leaving_seconds)
        time.sleep(self._settling_seconds)

    def open(self) -> None:
        """Let threads in again."""
        with self._changed:
            self._is_closed = False
            self._changed.notify_all()

    def renew(self) -> None:
        """Be open and empty, as in a child: it has none of the parent's threads."""
        self._changed = Condition()
        self._is_closed = False
        self._inside = 0


process = object()
"""Stands for this process: a forked child has another one. Comparing it costs less than asking for a process id."""

_gates: WeakSet[ForkGate] = WeakSet()


def _each(act: Callable[[ForkGate], None]) -> Callable[[], None]:
    def act_on_all() -> None:
        for gate in list(_gates):
            act(gate)

    return act_on_all


def _begin_process() -> None:
    global process  # noqa: PLW0603 - a module is what a whole process shares
    process = object()
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):  # not where there is no fork
    os.register_at_fork(after_in_child=_begin_process)
    os.register_at_fork(
        before=_each(ForkGate.close), after_in_parent=_each(ForkGate.open), after_in_child=_each(ForkGate.renew)
    )
