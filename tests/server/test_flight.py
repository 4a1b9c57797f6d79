"""The budget of bytes in flight: large messages wait in order, small ones never, and nothing that left is counted."""

import asyncio

import pytest

from lamina_server.rpc.flight import SMALL_BYTES, Flight

LARGE = 2 * SMALL_BYTES


def new_flight() -> Flight:
    return Flight(limit_bytes=3 * LARGE, message_limit_bytes=LARGE)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_large_messages_wait_in_order_and_small_ones_pass() -> None:
    """P15: what slow watchers hold is bounded, and others' small messages do not wait for them."""
    flight = new_flight()
    for _ in range(3):
        await flight.take_off(LARGE)
    waiting = [asyncio.create_task(flight.take_off(LARGE)) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in waiting)
    await flight.take_off(SMALL_BYTES)
    flight.land(SMALL_BYTES)
    flight.land(LARGE)
    await settle()
    assert [task.done() for task in waiting] == [True, False]
    flight.land(LARGE)
    await asyncio.gather(*waiting)


async def test_messages_are_made_small_when_room_is_short() -> None:
    flight = new_flight()
    assert flight.message_limit_bytes == LARGE
    await flight.take_off(LARGE)
    assert flight.message_limit_bytes == LARGE
    await flight.take_off(LARGE)
    assert flight.message_limit_bytes == SMALL_BYTES
    flight.land(LARGE)
    assert flight.message_limit_bytes == LARGE


@pytest.mark.parametrize("moment", ["while waiting", "when its turn has come"])
async def test_who_leaves_is_not_counted(moment: str) -> None:
    flight = new_flight()
    for _ in range(3):
        await flight.take_off(LARGE)
    leaving, staying = (asyncio.create_task(flight.take_off(LARGE)) for _ in range(2))
    await settle()
    if moment == "when its turn has come":
        flight.land(LARGE)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    if moment == "while waiting":
        flight.land(LARGE)
    await asyncio.wait_for(staying, 10)
    for _ in range(3):
        flight.land(LARGE)
    assert flight.message_limit_bytes == LARGE
    await flight.take_off(3 * LARGE)


async def test_a_message_larger_than_all_there_may_be_goes_alone() -> None:
    flight = new_flight()
    await flight.take_off(LARGE)
    huge = asyncio.create_task(flight.take_off(100 * LARGE))
    await settle()
    assert not huge.done()
    flight.land(LARGE)
    await asyncio.wait_for(huge, 10)
