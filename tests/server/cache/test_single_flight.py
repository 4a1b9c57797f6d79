"""Work under way, joined by several callers."""

import asyncio
import gc

from lamina_server.cache.single_flight import SingleFlight


class Work:
    """Work that ends when a test says so, and counts how often it was started."""

    def __init__(self) -> None:
        self.started = 0
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> str:
        self.started += 1
        return await self.result


async def test_callers_of_one_key_share_the_work() -> None:
    flights, work, other = SingleFlight(), Work(), Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(3)]
    callers.append(asyncio.create_task(flights.join("b", other)))
    await asyncio.sleep(0)
    assert "a" in flights
    work.result.set_result("a")
    other.result.set_result("b")
    assert await asyncio.gather(*callers) == ["a", "a", "a", "b"]
    assert (work.started, other.started) == (1, 1)


async def test_a_caller_that_comes_when_the_work_has_ended_starts_it_again() -> None:
    """Also if the caller runs between the end of the task and its callbacks."""
    flights, work = SingleFlight(), Work()
    work.result.set_result("again")
    coming: list[asyncio.Task[str]] = []

    async def end() -> str:
        coming.append(asyncio.create_task(flights.join("a", work)))
        return "once"

    assert await flights.join("a", end) == "once"
    assert await coming[0] == "again"


async def test_the_work_goes_on_when_its_callers_leave() -> None:
    flights, work = SingleFlight(), Work()
    first, second = (asyncio.create_task(flights.join("a", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    work.result.set_result("done")
    assert await second == "done"


async def test_an_error_reaches_every_caller() -> None:
    flights, work = SingleFlight(), Work()
    callers = [asyncio.create_task(flights.join("a", work)) for _ in range(2)]
    await asyncio.sleep(0)
    work.result.set_exception(KeyError("a"))
    assert [type(each) for each in await asyncio.gather(*callers, return_exceptions=True)] == [KeyError, KeyError]


async def test_an_error_without_a_caller_is_not_reported_by_asyncio() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    flights, work = SingleFlight(), Work()
    work.result.set_exception(KeyError("a"))
    await asyncio.wait({flights.begin("a", work)})
    await asyncio.sleep(0)
    assert "a" not in flights
    gc.collect()
    assert reported == []
