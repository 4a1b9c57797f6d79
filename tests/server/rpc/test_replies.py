"""The budget of answers in flight: who waits for room, who does not, and for how long."""

import asyncio

import pytest

from lamina_server.domain.errors import RateError
from lamina_server.rpc import replies
from lamina_server.rpc.replies import ReplyBudget

ADA, EVE = "token:ada", "token:eve"
LIMIT = 100


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_holder_with_half_of_all_waits_and_others_do_not() -> None:
    """P15."""
    budget = ReplyBudget(LIMIT)
    assert budget.hold(EVE, 30)
    assert budget.hold(EVE, 20)
    assert not budget.hold(EVE, 1)
    assert budget.hold(ADA, 50)
    waiting = [asyncio.create_task(budget.wait(EVE, size)) for size in (40, 10)]
    await settle()
    budget.release(EVE, 20)
    await settle()
    assert [task.done() for task in waiting] == [False, False]  # in order
    budget.release(EVE, 30)
    await settle()
    assert [task.done() for task in waiting] == [True, True]


async def test_who_has_none_gets_one_whatever_others_have() -> None:
    budget = ReplyBudget(LIMIT)
    for number in range(LIMIT):
        assert budget.hold(f"token:{number}", 1)
    assert budget.hold(ADA, 10 * LIMIT)
    assert not budget.hold(ADA, 1)
    assert not budget.hold("token:1", 1)
    waiting = asyncio.create_task(budget.wait("token:1", 1))
    await settle()
    assert not waiting.done()
    budget.release(ADA, 10 * LIMIT)
    for number in range(2, LIMIT):
        budget.release(f"token:{number}", 1)
    await waiting


async def test_who_waits_for_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "WAIT_SECONDS", 0.01)
    budget = ReplyBudget(LIMIT)
    assert budget.hold(EVE, 50)
    with pytest.raises(RateError, match="answers that the caller has not taken") as refused:
        await budget.wait(EVE, 1)
    assert refused.value.retry_seconds > 0
    with pytest.raises(RateError):
        await budget.wait_for_room(EVE)
    budget.release(EVE, 50)
    assert budget.hold(EVE, 50)


@pytest.mark.parametrize("moment", ["while it waits", "when its turn has come"])
async def test_a_caller_that_leaves_holds_nothing(moment: str) -> None:
    budget = ReplyBudget(LIMIT)
    assert budget.hold(EVE, 50)
    leaving, staying = asyncio.create_task(budget.wait(EVE, 50)), asyncio.create_task(budget.wait(EVE, 50))
    await settle()
    if moment == "when its turn has come":
        budget.release(EVE, 50)
        leaving.cancel()
    else:
        leaving.cancel()
        await settle()
        budget.release(EVE, 50)
    await asyncio.gather(leaving, return_exceptions=True)
    await staying
    budget.release(EVE, 50)
    assert budget.hold(EVE, 50)


async def test_writes_wait_before_they_begin() -> None:
    budget = ReplyBudget(LIMIT)
    await budget.wait_for_room(EVE)
    budget.hold_anyway(EVE, LIMIT)
    waiting = asyncio.create_task(budget.wait_for_room(EVE))
    await settle()
    assert not waiting.done()
    budget.release(EVE, LIMIT)
    await waiting
