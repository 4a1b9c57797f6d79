"""A list that passes over very many configs holds up no others, and tells nothing of them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.read import from_store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.readers import Readers
from tests.security.closed import closed
from tests.security.people import People

PASSED_AT_ONCE = 5
CONFIGS = 50
CALLS = 20


async def test_lists_that_pass_over_many_configs_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each caller one is under way, and of all one is read at a time, so the other threads serve other calls."""
    monkeypatch.setattr(from_store, "_PASSED_LIMIT", PASSED_AT_ONCE)
    people = People()
    admin = people.admin()
    eves = [people.reader("eve", "*/one"), people.reader("mallory", "**/one")]
    under_way, most, turns = Counter[str](), Counter[str](), list[str]()
    read = Readers.read

    async def counted(readers: Readers, question: Callable[[Any], Any]) -> Any:
        page = getattr(question, "__self__", None)
        if not isinstance(page, from_store.ConfigsPage) or not page._after:
            return await read(readers, question)
        name = next(iter(page._request.visible._subjects)) if page._request.visible else ""
        turns.append(name)
        under_way["all"] += 1
        most["all"] = max(most["all"], under_way["all"])
        try:
            return await read(readers, question)
        finally:
            under_way["all"] -= 1

    async with closed(MemoryStore(), people) as server:
        for number in range(CONFIGS):
            await server.wire(admin).commit(f"team/{number:03}", {"a": 1})
        await server.wire(admin).commit("zoo/one", {"a": 1})
        monkeypatch.setattr(Readers, "read", counted)
        lists = [server.stub(eve).ListConfigs(pb.ListConfigsRequest()) for eve in eves for _ in range(CALLS)]
        answers = await asyncio.gather(*lists)
    assert [[found.name for found in answer.configs] for answer in answers] == [["zoo/one"]] * len(lists)
    assert not any(answer.next_page_token for answer in answers)
    assert most["all"] == 1
    assert Counter(turns).keys() == {"token:eve", "token:mallory"}
    both = turns[: len(turns) // 2]
    assert min(Counter(both).values()) > len(both) // 4  # neither waits until the other has done all its calls
