"""How a client survives a fork: a lock that is free in the child, and a gate that is closed while the process forks.

A forked child can use gRPC with new channels, unless a thread of the parent was inside gRPC during the fork: with a
waiting watch, one child in ten crashed or hung. So all threads leave gRPC before a fork: all channels are closed, which
ends their waiting calls, and no thread enters until the fork is over. Then the calls are made again, and the watches
resume, as after any lost connection.
"""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final
from weakref import WeakSet

LEAVING_SECONDS: Final = 1.0
"""How long a fork waits for threads to leave: they notice the end of a channel within milliseconds."""

SETTLING_SECONDS: Final = 0.05
"""The time for gRPC's own threads to clean up closed channels; there is no way to wait for them."""


class ForkSafeLock:
    """A lock that is free in a forked child, even if another thread of the parent held it during the fork."""

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
        """Free the lock in a child, which has none of the parent's threads and no others yet."""
        self._lock = threading.Lock()


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
        self._changed = threading.Condition()
        self._is_closed = False
        self._inside = 0
        _gates.add(self)

    def __enter__(self) -> None:
        with self._changed:
            while self._is_closed:
                self._changed.wait()
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._changed:
            self._inside -= 1
            if self._is_closed:
                self._changed.notify_all()

    def close(self) -> None:
        """Close the gate, and wait until all threads are out. If none is inside, the channels stay open."""
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
        """Open and empty the gate in a child, which has none of the parent's threads."""
        self._changed = threading.Condition()
        self._is_closed = False
        self._inside = 0


process = object()
"""Identifies this process: a forked child has another object. Comparing it is cheaper than asking for a process id."""

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


if hasattr(os, "register_at_fork"):  # some systems have no fork
    os.register_at_fork(after_in_child=_begin_process)
    os.register_at_fork(
        before=_each(ForkGate.close), after_in_parent=_each(ForkGate.open), after_in_child=_each(ForkGate.renew)
    )
