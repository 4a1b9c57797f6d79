"""Times functions from outside: what each takes itself, without the timed functions that it calls.

To time a function takes time, too: some of it is within the time that is measured, and some within that of the
caller. Both are measured with a function that does nothing, and subtracted.
"""

import inspect
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

_TRIES = 5_000


class Took(NamedTuple):
    """Nanoseconds, as the clock on the wall and the thread's CPU have them."""

    wall: float
    cpu: float


class Within(threading.local):
    """What the timed functions that the present one has called have taken so far."""

    wall = 0.0
    cpu = 0.0


class Stages:
    """The times of functions, by the name of the stage that each belongs to."""

    def __init__(self) -> None:
        self.times: dict[str, list[Took]] = defaultdict(list)
        self._within = Within()
        self._own_cost = self._callers_cost = Took(0, 0)
        self._measure_cost()

    @property
    def cost(self) -> Took:
        """What it takes to time a function once; it is subtracted from all times."""
        inner, outer = self._own_cost, self._callers_cost
        return Took(inner.wall + outer.wall, inner.cpu + outer.cpu)

    def note(self, name: str, wall: float) -> None:
        """Keep a time on the wall alone."""
        self.times[name].append(Took(wall, 0))

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and keeps its own time."""
        within, times = self._within, self.times[name]

        def call(*args: Any, **kwargs: Any) -> Any:
            wall_before, cpu_before = within.wall, within.cpu
            within.wall = within.cpu = 0.0
            cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                wall, cpu = time.perf_counter_ns() - wall, time.thread_time_ns() - cpu
                own, callers = self._own_cost, self._callers_cost
                times.append(Took(wall - within.wall - own.wall, cpu - within.cpu - own.cpu))
                within.wall, within.cpu = wall_before + wall + callers.wall, cpu_before + cpu + callers.cpu

        return call

    def wrap(self, owner: Any, function: str, name: str) -> None:
        """Time a function of a module, or a method of a class."""
        original = getattr(owner, function)
        timed = self.timed(name, original)
        setattr(owner, function, staticmethod(timed) if inspect.ismethod(original) else timed)

    def block(self, manager: AbstractContextManager[Any], *, begin: str, end: str) -> AbstractContextManager[Any]:
        """Time how a block begins and how it ends."""
        return _Block(self.timed(begin, manager.__enter__), self.timed(end, manager.__exit__))

    def clear(self) -> None:
        """Forget all times."""
        for times in self.times.values():
            times.clear()

    def _measure_cost(self) -> None:
        """Find what the clock of a function that does nothing shows, and what its caller's shows beyond that."""
        nothing = self.timed("nothing", lambda: None)
        caller = self.timed("caller", nothing)
        for _ in range(_TRIES):
            caller()
        own, callers = (
            Took(*(statistics.median(each) for each in zip(*self.times.pop(name), strict=True)))
            for name in ("nothing", "caller")
        )
        self._own_cost, self._callers_cost = own, Took(callers.wall - own.wall, callers.cpu - own.cpu)


class _Block:
    def __init__(self, begin: Callable[..., Any], end: Callable[..., Any]) -> None:
        self._begin = begin
        self._end = end

    def __enter__(self) -> Any:
        return self._begin()

    def __exit__(self, *error: object) -> Any:
        return self._end(*error)
