"""Whom a closed server refuses is counted, without a name."""

import asyncio

from lamina_server.store.memory import MemoryStore
from tests.security.closed import closed
from tests.security.people import People, Person
from tests.server.bare_client import commit_request, refusal
from tests.support.scraping import Scraped, scrape


async def test_refusals_are_counted_by_reason_and_name_nobody() -> None:
    people = People()
    ada, shop = people.admin("ada"), people.reader("shop", "shop/**")
    stranger = Person(token="lamina_stranger_of_whom_nobody_knows")
    async with closed(MemoryStore(), people, metrics_listen="localhost:0") as server:
        await server.wire(ada).commit("shop/prod", {"x": 1})
        await server.wire(ada).commit("bank/prod", {"x": 1})
        before = Scraped(await asyncio.to_thread(scrape, server.application.metrics))
        await refusal(server.wire().get("shop/prod"))
        for _ in range(2):
            await refusal(server.wire(stranger).get("shop/prod"))
        assert (await refusal(server.wire(shop).get("bank/prod"))).reason == "CONFIG_NOT_FOUND"
        assert (
            await refusal(server.wire(shop).stub.Commit(commit_request("shop/prod", {"x": 2})))
        ).reason == "NOT_ALLOWED"
        text = await asyncio.to_thread(scrape, server.application.metrics)
    found = Scraped(text)
    counted = {}
    for reason in ("NO_CREDENTIALS", "BAD_CREDENTIALS", "NOT_ALLOWED", "CONFIG_NOT_FOUND"):
        labels = {"reason": reason}
        counted[reason] = found("lamina_errors_total", **labels) - before("lamina_errors_total", **labels)
    # The config that is hidden counts twice: as what it is, and as what its caller hears.
    assert counted == {"NO_CREDENTIALS": 1, "BAD_CREDENTIALS": 2, "NOT_ALLOWED": 2, "CONFIG_NOT_FOUND": 1}
    assert found("lamina_open_to_other_machines") == 0
    assert [name for name in ("ada", "shop", "bank", "stranger", "127.0.0.1") if name in text] == []
