"""The budget of bytes in flight: large messages wait in order, small ones never, and sent ones are not counted."""

import asyncio
from contextlib import ExitStack

import pytest

from lamina_server.domain.errors import Reason, UnavailableError
from lamina_server.rpc.watch.in_flight import SMALL_BYTES, SendBudget

LARGE = 2 * SMALL_BYTES


class Client:
    """A client that takes a message when a test says so."""

    def __init__(self, budget: SendBudget) -> None:
        self.budget = budget
        self.sent: list[int] = []
        self.end = ExitStack()
        self._taking: list[asyncio.Future[None]] = []

    def send(self, size_bytes: int) -> "asyncio.Task[None]":
        async def send() -> None:
            task = asyncio.current_task()
            assert task is not None
            await self.budget.send(bytes(size_bytes), self._write, task, self.end)

        return asyncio.create_task(send())

    def begin_taking(self) -> None:
        """Take a message, before the sender has run again."""
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
    """P15: the bytes held for slow watches are bounded, and small messages of others do not wait for them."""
    client = new_client()
    tasks = [client.send(size) for size in (LARGE, LARGE, LARGE, LARGE, LARGE - 1, SMALL_BYTES)]
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
    assert client.budget.message_limit_bytes == LARGE
    tasks = [client.send(LARGE)]
    await settle()
    assert client.budget.message_limit_bytes == LARGE
    tasks.append(client.send(LARGE))
    await settle()
    assert client.budget.message_limit_bytes == SMALL_BYTES
    await client.take(2)
    assert client.budget.message_limit_bytes == LARGE
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("moment", ["while it waits", "when its turn has come", "on its way"])
async def test_a_message_whose_sender_was_cancelled_is_not_counted(moment: str) -> None:
    client = new_client()
    staying = [client.send(LARGE) for _ in range(3)]
    await settle()
    leaving = client.send(LARGE)
    staying.append(client.send(LARGE))
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
    everything = client.send(3 * LARGE)
    await settle()
    assert client.sent[-1] == 3 * LARGE
    await client.take()
    await everything


async def test_a_message_larger_than_the_limit_goes_alone() -> None:
    client = new_client()
    tasks = [client.send(LARGE), client.send(100 * LARGE)]
    await settle()
    assert client.sent == [LARGE]
    await client.take()
    assert client.sent == [LARGE, 100 * LARGE]
    await client.take()
    await asyncio.gather(*tasks)


async def test_a_message_not_taken_in_time_is_given_up() -> None:
    """P15: no other is given up, and a cancelled sender stays cancelled."""
    client = new_client(limit_seconds=0.05)
    slow, cancelled = client.send(10), client.send(10)
    await settle()
    cancelled.cancel()
    with pytest.raises(UnavailableError) as refused:
        await slow
    assert refused.value.reason is Reason.TOO_SLOW
    assert not slow.cancelling()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    quick = client.send(10)
    await settle()
    await client.take(3)
    await quick


async def test_a_message_that_was_given_up_is_counted_until_its_call_ends() -> None:
    """P15: it still lies in this process, and so does the status that follows it."""
    client = new_client(limit_seconds=0.05)
    with pytest.raises(UnavailableError):
        await client.send(3 * LARGE)
    waiting = client.send(LARGE)
    await settle()
    assert client.sent == [3 * LARGE]
    client.end.close()
    await settle()
    assert client.sent == [3 * LARGE, LARGE]
    await client.take(2)
    await waiting
