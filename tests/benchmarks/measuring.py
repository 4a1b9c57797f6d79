"""Measures sides in turn in one run, after a warm-up. Knows nothing about the sides."""

import asyncio
import itertools
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Call: TypeAlias = Callable[[], object]
AsyncCall: TypeAlias = Callable[[], Awaitable[object]]
TimedCall: TypeAlias = Callable[[], Awaitable[float]]

WARM_UP_ROUNDS = 20
ENOUGH_FOR_P99 = 100

MILLISECONDS = "ms"
RATE = "/s"


@dataclass(slots=True)
class Samples:
    """The results of one side of a comparison: times, of which less is better, or rates."""

    name: str
    unit: str = MILLISECONDS
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def worst(self) -> float:
        """The 99th percentile of times; the worst of rates, and of fewer than a hundred times."""
        if self.unit == RATE:
            return min(self.values)
        if len(self.values) < ENOUGH_FOR_P99:
            return max(self.values)
        return statistics.quantiles(self.values, n=100)[98]

    def time(self, call: Callable[[], object]) -> None:
        """Call a function, and keep how long it took."""
        started = time.perf_counter()
        call()
        self.values.append((time.perf_counter() - started) * 1_000)


def in_turn(sides: Mapping[str, Call], rounds: int, *, warm_up: int = WARM_UP_ROUNDS) -> dict[str, Samples]:
    """Call each side once a round, and keep the times.

    Other work on the machine affects all sides alike. The order is drawn for each round, so
    that no side always follows the same other one (whose fsync may still have an effect).
    """
    samples = {name: Samples(name) for name in sides}
    for name in _order(samples, rounds, warm_up):
        samples[name].time(sides[name])
    return samples


async def times_in_turn(
    sides: Mapping[str, TimedCall],
    rounds: int,
    *,
    warm_up: int = WARM_UP_ROUNDS,
    limit_seconds: float = math.inf,
) -> dict[str, Samples]:
    """Do the same for asyncio, with calls that return how many milliseconds they measured.

    After the limit there are no more rounds; there is at least one.
    """
    samples = {name: Samples(name) for name in sides}
    deadline = time.monotonic() + limit_seconds
    for name in _order(samples, rounds, warm_up):
        if time.monotonic() > deadline and all(each.values for each in samples.values()):
            break
        samples[name].values.append(await sides[name]())
    return samples


async def rates_in_turn(sides: Mapping[str, Sequence[AsyncCall]], rounds: int, seconds: float) -> dict[str, Samples]:
    """Have all callers of a side call at once for some time, then those of the next; keep the calls per second.

    The first round is a warm-up.
    """
    samples = {name: Samples(name, RATE) for name in sides}
    for number, (name, callers) in itertools.product(range(1 + rounds), sides.items()):
        calls, took = await calls_within(callers, seconds)
        if number:
            samples[name].values.append(calls / took)
    return samples


async def calls_within(callers: Sequence[AsyncCall], seconds: float) -> tuple[int, float]:
    """Let all callers call at once for some time. Return how many calls there were, and the seconds until the last."""
    started = time.perf_counter()
    calls = 0

    async def go_on(call: AsyncCall) -> None:
        nonlocal calls
        while time.perf_counter() < started + seconds:
            await call()
            calls += 1

    await _gather(go_on(call) for call in callers)
    return calls, time.perf_counter() - started


async def at_once(callers: Sequence[AsyncCall], calls: int) -> None:
    """Have all callers call at once, each so many times."""

    async def go_on(call: AsyncCall) -> None:
        for _ in range(calls):
            await call()

    await _gather(go_on(call) for call in callers)


def _order(samples: Mapping[str, Samples], rounds: int, warm_up: int) -> Iterator[str]:
    """Yield the names of the sides in the order of their turns; drop the times of the warm-up."""
    names = list(samples)
    order = random.Random(1)
    for number in range(warm_up + rounds):
        if number == warm_up:
            for each in samples.values():
                each.values.clear()
        order.shuffle(names)
        yield from names


async def _gather(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for coroutine in coroutines:
            group.create_task(coroutine)
