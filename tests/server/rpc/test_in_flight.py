"""The budget of bytes in flight: large messages wait in order, small ones never, and nothing that left is counted."""

import asyncio
from contextlib import ExitStack

import pytest

from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.rpc.watch.in_flight import SMALL_BYTES, SendBudget

LARGE = 2 * SMALL_BYTES


class Client:
    """A client that takes a message when it is told to."""

    def __init__(self, flight: SendBudget) -> None:
        self.flight = flight
        self.sent: list[int] = []
        self.end = ExitStack()
        self._taking: list[asyncio.Future[None]] = []

    def carry(self, size_bytes: int) -> "asyncio.Task[None]":
        async def carry() -> None:
            task = asyncio.current_task()
            assert task is not None
            await self.flight.carry(bytes(size_bytes), self._write, task, self.end)

        return asyncio.create_task(carry())

    def begin_taking(self) -> None:
        """Take a message, of which the sender has yet to hear."""
        if self._taking:
            taking = self._taking.pop(0)
            if not taking.done():
                taking.set_result(None)

    async def take(self, count: int = 1) -> None:
        for _ in range(count):
            self.begin_taking()
            await settle()

    async def _write(self, message: bytes) -> None:
        self.sent.append(len(message))
        self._taking.append(asyncio.get_running_loop().create_future())
        await self._taking[-1]


def new_client(*, limit_seconds: float = 60) -> Client:
    return Client(SendBudget(limit_bytes=3 * LARGE, message_limit_bytes=LARGE, limit_seconds=limit_seconds))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_large_messages_wait_in_order_and_small_ones_pass() -> None:
    """P15: what slow watchers hold is bounded, and others' small messages do not wait for them."""
    client = new_client()
    tasks = [client.carry(size) for size in (LARGE, LARGE, LARGE, LARGE, LARGE - 1, SMALL_BYTES)]
    await settle()
    assert client.sent == [LARGE, LARGE, LARGE, SMALL_BYTES]
    await client.take()
    assert client.sent[4:] == [LARGE]
    await client.take()
    assert client.sent[4:] == [LARGE, LARGE - 1]
    await client.take(4)
    await asyncio.gather(*tasks)


async def test_messages_are_made_small_when_room_is_short() -> None:
    client = new_client()
    assert client.flight.message_limit_bytes == LARGE
    tasks = [client.carry(LARGE)]
    await settle()
    assert client.flight.message_limit_bytes == LARGE
    tasks.append(client.carry(LARGE))
    await settle()
    assert client.flight.message_limit_bytes == SMALL_BYTES
    await client.take(2)
    assert client.flight.message_limit_bytes == LARGE
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("moment", ["while it waits", "when its turn has come", "on its way"])
async def test_who_leaves_is_not_counted(moment: str) -> None:
    client = new_client()
    staying = [client.carry(LARGE) for _ in range(3)]
    await settle()
    leaving = client.carry(LARGE)
    staying.append(client.carry(LARGE))
    await settle()
    if moment == "when its turn has come":
        client.begin_taking()
        await asyncio.sleep(0)
    elif moment == "on its way":
        await client.take()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await client.take(4)
    await asyncio.gather(*staying)
    everything = client.carry(3 * LARGE)
    await settle()
    assert client.sent[-1] == 3 * LARGE
    await client.take()
    await everything


async def test_a_message_larger_than_all_there_may_be_goes_alone() -> None:
    client = new_client()
    tasks = [client.carry(LARGE), client.carry(100 * LARGE)]
    await settle()
    assert client.sent == [LARGE]
    await client.take()
    assert client.sent == [LARGE, 100 * LARGE]
    await client.take()
    await asyncio.gather(*tasks)


async def test_whoever_takes_nothing_for_too_long_is_given_up() -> None:
    """P15: and nobody else is; a cancellation of the caller's own stays one."""
    client = new_client(limit_seconds=0.05)
    slow, cancelled = client.carry(10), client.carry(10)
    await settle()
    cancelled.cancel()
    with pytest.raises(UnavailableError) as refused:
        await slow
    assert refused.value.reason is Reason.TOO_SLOW
    assert not slow.cancelling()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    quick = client.carry(10)
    await settle()
    await client.take(3)
    await quick


async def test_what_was_given_up_is_counted_until_its_call_has_ended() -> None:
    """P15: it still lies in this process, before the status that nobody takes either."""
    client = new_client(limit_seconds=0.05)
    with pytest.raises(UnavailableError):
        await client.carry(3 * LARGE)
    waiting = client.carry(LARGE)
    await settle()
    assert client.sent == [3 * LARGE]
    client.end.close()
    await settle()
    assert client.sent == [3 * LARGE, LARGE]
    await client.take(2)
    await waiting
