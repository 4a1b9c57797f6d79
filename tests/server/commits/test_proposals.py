"""Commands that are decided before their transaction: whatever happens meanwhile, the store has what was answered."""

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest

from lamina_server.commits.outcome import Outcome
from lamina_server.domain.errors import ConflictError
from lamina_server.domain.records import Change, Entry, Reply
from lamina_server.domain.values import Value
from lamina_server.wire.codec import WireCodec
from tests.conformance.commits import commit
from tests.server.commits.desk import CONFIG, Desk, numbers

KEYS = [f"k{number}" for number in range(6)]


async def test_a_head_that_another_server_has_moved_is_read_from_the_store(desk: Desk) -> None:
    """P3, P6: what was decided on the head in memory is thrown away."""
    await desk.ask("a", 1)
    commit(desk.store, {"b": 2}, config=CONFIG)
    merged = await desk.ask("a", 2, base=1)
    assert numbers([merged.reply]) == [3]
    commit(desk.store, {"a": 3}, config=CONFIG)
    refused = (await asyncio.gather(desk.ask("a", 4, base=3), return_exceptions=True))[0]
    assert isinstance(refused, ConflictError)
    assert [each.their_version for each in refused.conflicts] == [4]
    assert (await desk.ask("c", 1)).reply.version.number == 5
    assert desk.values() == {"a": 3, "b": 2, "c": 1}


async def test_a_request_that_the_store_remembers_gets_its_first_answer_among_proposals(desk: Desk) -> None:
    """P8: memory does not know old request ids, but the store does."""
    first = await desk.ask("x", 1, id_="one")
    outcomes = await desk.gathered(
        lambda: desk.ask("a", 1), lambda: desk.ask("x", 1, id_="one"), lambda: desk.ask("b", 1)
    )
    assert numbers(outcomes) == [4, 1, 5]
    assert outcomes[1] == first.reply


async def test_a_proposal_whose_caller_has_left_changes_no_other(desk: Desk) -> None:
    def leaves() -> Any:
        task = desk.ask("x", 1)
        asyncio.get_running_loop().call_soon(task.cancel)
        return task

    outcomes = await desk.gathered(lambda: desk.ask("a", 1), leaves, lambda: desk.ask("b", 1))
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert numbers([outcomes[0], outcomes[2]]) == [3, 4]
    assert desk.values() == {"first": 2, "a": 1, "b": 1}


async def test_a_head_that_is_no_longer_held_is_not_kept_for_proposals(desk: Desk) -> None:
    await desk.ask("a", 1)
    head = weakref.ref(desk.heads.peek(CONFIG))
    asked = await desk.under_way("a", 2)
    desk.heads.forget(CONFIG)  # as when others need the memory
    desk.store.gate.set()
    await asked
    assert (await desk.ask("a", 3)).reply.version.number == 3
    gc.collect()
    assert head() is None


async def test_a_proposal_that_meets_a_bug_holds_up_nobody() -> None:
    class Broken(WireCodec):
        def encode_entry(self, entry: Entry) -> bytes:
            if entry.key == "broken":
                raise ZeroDivisionError
            return super().encode_entry(entry)

    desk = Desk(Broken())
    outcomes = await desk.gathered(lambda: desk.ask("a", 1), lambda: desk.ask("broken", 1), lambda: desk.ask("b", 1))
    assert isinstance(outcomes[1], ZeroDivisionError)
    assert numbers([outcomes[0], outcomes[2]]) == [3, 4]
    await desk.committer.stop()
    await desk.readers.close()


@pytest.mark.parametrize("seed", range(12))
async def test_random_commands_are_written_as_they_were_answered(desk: Desk, seed: int) -> None:
    """P1, P3, P6, P8: callers repeat themselves, leave, conflict, and share the store with others."""
    dice = random.Random(seed)
    await desk.ask("first", 0)
    answered: list[tuple[str, int, Reply]] = []
    requests = [(f"id {number}", dice.choice(KEYS), number) for number in range(60)]

    async def ask(id_: str, key: str, number: int) -> None:
        base = dice.choice([None, None, 1, len(desk.log())])
        task = desk.ask(key, number, id_=id_, base=base)
        if dice.random() < 0.1:
            asyncio.get_running_loop().call_later(dice.random() / 1_000, task.cancel)
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, Outcome):
            answered.append((key, number, outcome.reply))

    while requests:
        some = [requests.pop() for _ in range(min(len(requests), dice.randint(1, 12)))]
        repeated = [dice.choice(some)] if dice.random() < 0.3 else []
        if dice.random() < 0.2:
            commit(desk.store, {dice.choice(KEYS): 1_000 + len(requests)}, config=CONFIG)
        await asyncio.gather(*(ask(*each) for each in (*some, *repeated)))
    desk.values()  # equals the store's
    desk.log()  # has no gap
    with desk.store.read() as reading:
        for key, number, reply in answered:
            assert reply.version is not None
            stored = reading.versions(CONFIG, [reply.version.number])[reply.version.number]
            assert stored == reply.version
            if reply.created:
                change = dict(reading.changes(CONFIG, after=(stored.number, ""), through=stored.number))[stored.number]
                assert change == Change(key, Value.of_integer(number))
    assert len(answered) > len(KEYS)
