"""The limits of one principal: what it may do at once, how long it waits, and what other principals notice."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina_server.access.live import LiveAccess
from lamina_server.domain.access import Access, CallerLimits
from lamina_server.domain.errors import LimitError, RateError
from lamina_server.rpc.rates import BURST_SECONDS, DEBT_SECONDS, Bucket, Rates
from lamina_server.settings import Settings

NAME = "token:deployer"
NONE = CallerLimits()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def rates_of(clock: Clock, limits: CallerLimits = NONE, **settings: int) -> tuple[Rates, LiveAccess]:
    access = LiveAccess(is_open=False)
    access.swap(Access(limits={NAME: limits}))
    return Rates(access, Settings(**settings), clock=clock), access  # type: ignore[arg-type]


def calls_until_refused(rates: Rates, name: str = NAME) -> tuple[int, RateError]:
    for count in range(1_000_000):
        try:
            rates.begin(name)
        except RateError as refused:
            return count, refused
    raise AssertionError("never refused")


def test_calls_beyond_the_burst_are_refused_until_their_time() -> None:
    clock = Clock()
    rates, _ = rates_of(clock, CallerLimits(calls_per_second=5))
    count, refused = calls_until_refused(rates)
    assert count == 5 * BURST_SECONDS
    assert refused.retry_seconds == pytest.approx(0.2, abs=0.001)
    assert "calls of 'token:deployer' in a second: the limit is 5 calls; try again in 0.2 s" in str(refused)
    clock.now += refused.retry_seconds
    assert calls_until_refused(rates)[0] == 1
    rates.begin("token:other")


def test_an_answer_is_paid_for_afterwards_and_never_for_long() -> None:
    clock = Clock()
    rates, _ = rates_of(clock, CallerLimits(bytes_per_second=1_000))
    rates.begin(NAME).spend(10**9)
    with pytest.raises(RateError, match="bytes of 'token:deployer' in a second") as refused:
        rates.begin(NAME)
    assert refused.value.retry_seconds == DEBT_SECONDS
    clock.now += DEBT_SECONDS
    rates.begin(NAME)


async def test_a_watch_is_held_back_and_not_refused() -> None:
    clock = Clock()
    rates, _ = rates_of(clock, CallerLimits(bytes_per_second=100))
    usage = rates.begin(NAME)
    await usage.pace(100 * BURST_SECONDS)
    async with asyncio.timeout(5):
        await usage.pace(1)  # a hundredth of a second
    usage.spend(10**6)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await usage.pace(1)


def test_watches_are_counted_while_they_last() -> None:
    rates, _ = rates_of(Clock(), CallerLimits(watches=1))
    usage = rates.begin(NAME)
    with usage.watch(), pytest.raises(LimitError, match="watches of 'token:deployer'"), usage.watch():
        pass
    with usage.watch():
        pass


def test_without_limits_of_its_own_a_principal_has_the_servers() -> None:
    rates, access = rates_of(Clock(), caller_limit_calls_per_second=2)
    assert calls_until_refused(rates)[0] == 2 * BURST_SECONDS
    access.swap(Access(limits={NAME: CallerLimits(calls_per_second=10_000)}))
    rates.begin("token:other")
    assert calls_until_refused(rates, "token:other")[0] == 2 * BURST_SECONDS - 1


def test_0_is_no_limit_and_a_change_of_access_holds_at_once() -> None:
    clock = Clock()
    rates, access = rates_of(clock, caller_limit_calls_per_second=0)
    for _ in range(1_000):
        rates.begin(NAME)
    access.swap(Access(limits={NAME: CallerLimits(calls_per_second=1)}))
    assert calls_until_refused(rates)[0] == BURST_SECONDS
    access.swap(Access())
    rates.begin(NAME)


@given(
    rate=st.integers(1, 1_000),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 5_000)), max_size=50),
)
def test_nobody_gets_more_than_the_rate_and_one_burst(rate: int, steps: list[tuple[float, int]]) -> None:
    """Calls are counted before they are made, so there is never a debt."""
    start = now = 1_000.0
    bucket, used = Bucket(now), 0
    bucket.set_rate(rate)
    for seconds, wanted in steps:
        now += seconds
        for _ in range(wanted):
            if bucket.wait_seconds(1, now) > 0:
                break
            bucket.spend(1, now)
            used += 1
    assert used <= rate * (now - start + BURST_SECONDS) + 1
