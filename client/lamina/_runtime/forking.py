"""What makes a client survive a fork: a lock that a child finds free, and a gate that is shut while a process forks.

gRPC can be used in a forked child, by new channels, unless some thread of the parent was inside of gRPC at that very
moment: tried with a watch waiting, one child in ten crashed, or hung. So before a fork everybody is asked out: all
channels are closed, which ends whatever waits on them, and nobody gets in until the fork is over. Calls are then made
again and watches resume, as after any cut.
"""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final
from weakref import WeakSet

LEAVING_SECONDS: Final = 1.0
"""A fork waits no longer for threads to come out: a channel's end takes milliseconds to be seen."""

SETTLING_SECONDS: Final = 0.05
"""gRPC's own threads still clear away what was closed, and cannot be waited for."""


class ForkSafeLock:
    """A lock that is free in a forked child, even if another thread of the parent held it at that moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Be free, as in a child: none of the parent's threads came along, and no other has begun yet."""
        self._lock = threading.Lock()


_locks: WeakSet[ForkSafeLock] = WeakSet()


class ForkGate:
    """Lets threads into gRPC (`with gate:`), but not while the process forks."""

    def __init__(self, ask_out: Callable[[], None]) -> None:
        """Take what ends all that threads wait for inside."""
        self._ask_out = ask_out
        self._changed = threading.Condition()
        self._shut = False
        self._inside = 0
        _gates.add(self)

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def shut(self) -> None:
        """Let nobody in any more, and wait until all are out. Where nobody is in, channels stay as they are."""
        with self._changed:
            self._shut = True
            if not self._inside:
                return
        self._ask_out()
        with self._changed:
            self._changed.wait_for(lambda: not self._inside, LEAVING_SECONDS)
        time.sleep(SETTLING_SECONDS)

    def open(self) -> None:
        """Let threads in again."""
        with self._changed:
            self._shut = False
            self._changed.notify_all()

    def renew(self) -> None:
        """Be open and empty, as in a child: none of the parent's threads came along."""
        self._changed = threading.Condition()
        self._shut = False
        self._inside = 0


process = object()
"""Stands for this process: another one in a forked child. Looking at it costs less than asking for a process id."""

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
        before=_each(ForkGate.shut), after_in_parent=_each(ForkGate.open), after_in_child=_each(ForkGate.renew)
    )
