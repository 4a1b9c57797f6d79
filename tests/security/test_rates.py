"""The limits of a principal as its calls meet them: refused with RetryInfo, or held back; others notice nothing."""

import asyncio

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.rates import BURST_SECONDS
from lamina_server.store.memory import MemoryStore
from tests.security.closed import closed
from tests.security.people import People
from tests.server.bare_client import Refusal, commit_request, refusal

CONFIG = "shop/prod"


async def test_a_principal_beyond_its_rate_is_told_when_to_come_back() -> None:
    people = People()
    busy, other = people.admin("busy"), people.admin("other")
    people.values["limits/token:busy"] = {"calls_per_second": 1}
    async with closed(MemoryStore(), people) as server:
        request = pb.ListConfigsRequest()
        for _ in range(BURST_SECONDS):
            await server.stub(busy).ListConfigs(request)
        refused = await refusal(server.stub(busy).ListConfigs(request))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY")
        assert 0 < refused.retry_seconds <= 1
        assert refused.metadata == {"limit": "1", "actual": "2"}
        await server.stub(other).ListConfigs(request)
        await asyncio.sleep(refused.retry_seconds)
        await server.stub(busy).ListConfigs(request)


async def test_large_answers_are_counted() -> None:
    people = People()
    busy = people.admin("busy")
    people.values["limits/token:busy"] = {"bytes_per_second": 1_000}
    async with closed(MemoryStore(), people) as server:
        refused = await refusal(_commit_until_refused(server.stub(busy)))
        assert (refused.reason, "bytes of 'token:busy'" in refused.text) == ("TOO_MANY", True)


async def _commit_until_refused(stub: object) -> None:
    for number in range(1_000):
        await stub.Commit(commit_request(CONFIG, {"a": f"{number:05000}"}))  # type: ignore[attr-defined]


async def test_watches_of_a_principal_are_limited() -> None:
    people = People()
    busy, other = people.admin("busy"), people.admin("other")
    people.values["limits/token:busy"] = {"watches": 2}
    async with closed(MemoryStore(), people) as server:
        watches = [server.wire(busy).watch(CONFIG) for _ in range(2)]
        for watch in watches:
            await watch.bookmark()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await server.wire(busy).watch(CONFIG).message()
        assert Refusal.of(refused.value).reason == "TOO_MANY"
        third = server.wire(other).watch(CONFIG)
        await third.bookmark()
        for watch in (*watches, third):
            watch.cancel()


async def test_a_watch_beyond_the_rate_gets_all_later() -> None:
    people = People()
    writer, slow = people.admin("writer"), people.admin("slow")
    people.values["limits/token:slow"] = {"bytes_per_second": 4_000}
    async with closed(MemoryStore(), people) as server:
        for number in range(10):
            await server.stub(writer).Commit(commit_request(CONFIG, {"a": f"{number:08000}"}))
        watch = server.wire(slow).watch(CONFIG, after=0, keys=["a"])
        assert await watch.numbers(10) == list(range(1, 11))
        watch.cancel()
