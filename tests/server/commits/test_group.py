"""Group commit: many commands in one transaction, and each gets its own answer whatever happens to the others."""

import asyncio
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from lamina_server.commits.writer import NAMED_LIMIT
from lamina_server.domain.commands import RevertCommand
from lamina_server.domain.errors import ConflictError, DiskFullError, Reason, RequestIdReusedError, UnavailableError
from lamina_server.domain.planning import Author
from lamina_server.domain.records import Reply, RequestKey
from lamina_server.store.contract import CommitUnknownError, StoreFailedError
from tests.server.commits.desk import CONFIG, GROUP_LIMIT, Desk, numbers

POISON = "poison"


async def test_waiting_commands_share_one_transaction_in_order(desk: Desk) -> None:
    """P3: versions are numbered in the order in which their commands came."""
    outcomes = await desk.gathered(*(lambda n=n: desk.ask(f"k{n}", n) for n in range(GROUP_LIMIT)))
    assert numbers(outcomes) == list(range(3, 3 + GROUP_LIMIT))
    assert desk.store.blocks == 2  # the command under way, and all others
    assert [version.number for version in desk.feed.announced] == list(range(1, 3 + GROUP_LIMIT))
    assert desk.values() == {"first": 2} | {f"k{n}": n for n in range(GROUP_LIMIT)}


async def test_a_transaction_is_no_larger_than_its_limit(desk: Desk) -> None:
    outcomes = await desk.gathered(*(lambda n=n: desk.ask(f"k{n}", n) for n in range(2 * GROUP_LIMIT + 1)))
    assert numbers(outcomes) == list(range(3, 4 + 2 * GROUP_LIMIT))
    assert desk.store.blocks == 1 + 3


async def test_a_revert_makes_a_group_of_its_own(desk: Desk) -> None:
    def revert() -> Any:
        command = RevertCommand(CONFIG, 1, 2, b"", "back", Author("ada"))
        return asyncio.ensure_future(desk.committer.submit(RequestKey("", "revert", command.digest()), command))

    outcomes = await desk.gathered(revert, lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == [3, 4, 5]
    assert desk.store.blocks == 1 + 2


async def test_each_command_is_decided_on_top_of_those_before_it(desk: Desk) -> None:
    """P6: a conflict with a commit of the same group is found, and other keys are merged."""
    outcomes = await desk.gathered(
        lambda: desk.ask("x", 1, base=1),
        lambda: desk.ask("x", 2, base=1),
        lambda: desk.ask("y", 3, base=1),
        lambda: desk.ask("x", 1, base=1, id_="the same value"),
        lambda: desk.ask("x", 4),
    )
    assert numbers(outcomes) == [3, "CONFLICT", 4, 4, 5]
    refused, merged, nothing = outcomes[1:4]
    assert isinstance(refused, ConflictError)
    assert [(each.key, each.their_version) for each in refused.conflicts] == [("x", 3)]
    assert isinstance(merged, Reply)
    assert isinstance(nothing, Reply)
    assert (merged.created, merged.merged, nothing.created) == (True, True, False)
    assert desk.store.blocks == 2


async def test_one_request_id_many_times_in_flight_is_one_version(desk: Desk) -> None:
    """P8: they share one outcome; other content under the id is refused."""
    outcomes = await desk.gathered(
        *[lambda: desk.ask("x", 1, id_="one", message="m")] * 3, lambda: desk.ask("x", 2, id_="one")
    )
    assert numbers(outcomes) == [3, 3, 3, "REQUEST_ID_REUSED"]
    assert isinstance(outcomes[3], RequestIdReusedError)
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert desk.log() == [(1, ""), (2, ""), (3, "m")]


async def test_a_failed_group_is_written_again_one_by_one(desk: Desk) -> None:
    """P2: only the command that cannot be written fails."""

    def refuse(messages: list[str]) -> None:
        if POISON in messages:
            raise DiskFullError

    desk.store.before_end = refuse
    outcomes = await desk.gathered(
        lambda: desk.ask("a", 1),
        lambda: desk.ask("b", 1, message=POISON),
        lambda: desk.ask("a", 2, id_="the second"),
        lambda: desk.ask("b", 2, message="well"),
    )
    assert numbers(outcomes) == [3, "DISK_FULL", 4, 5]
    assert desk.log() == [(1, ""), (2, ""), (3, ""), (4, ""), (5, "well")]
    assert [version.number for version in desk.feed.announced] == [1, 2, 3, 4, 5]
    assert desk.values() == {"first": 2, "a": 2, "b": 2}
    assert desk.failures == 0


async def test_a_bug_in_one_command_fails_no_other(desk: Desk) -> None:
    def break_(messages: list[str]) -> None:
        if POISON in messages:
            raise ZeroDivisionError

    desk.store.before_end = break_
    outcomes = await desk.gathered(
        lambda: desk.ask("a", 1, message=POISON), lambda: desk.ask("b", 1), lambda: desk.ask("c", 1)
    )
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert numbers(outcomes[1:]) == [3, 4]


async def test_an_unavailable_database_is_not_asked_again_for_each_command(desk: Desk) -> None:
    """P2: each would fail alike, after a timeout of its own."""
    away = UnavailableError(Reason.STORE_UNAVAILABLE, "away; nothing was written")

    def refuse(messages: list[str]) -> None:
        if len(messages) > 1:
            raise away

    desk.store.before_end = refuse
    outcomes = await desk.gathered(lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == ["STORE_UNAVAILABLE"] * 2
    assert desk.store.blocks == 2
    assert (await desk.ask("c", 1)).reply.version.number == 3


@pytest.mark.parametrize("happened", [True, False])
async def test_an_unconfirmed_commit_is_resolved_by_its_request_ids(desk: Desk, happened: bool) -> None:
    """P1, P8: a commit that happened is found, one that did not is done now, and each happens once."""
    lost = [True]

    def lose(_: object = None) -> None:
        if desk.store.blocks == 2 and lost.pop():
            raise CommitUnknownError

    if happened:
        desk.store.after_end = lose
    else:
        desk.store.before_end = lose
    outcomes = await desk.gathered(lambda: desk.ask("a", 1), lambda: desk.ask("b", 1))
    assert numbers(outcomes) == [3, 4]
    assert all(isinstance(outcome, Reply) and outcome.created for outcome in outcomes)
    assert desk.log() == [(1, ""), (2, ""), (3, ""), (4, "")]
    assert {version.number for version in desk.feed.announced} == {1, 2, 3, 4}
    assert desk.values() == {"first": 2, "a": 1, "b": 1}


async def test_a_commit_that_stays_unconfirmed_is_reported_as_such(desk: Desk) -> None:
    """P1: no OK without a confirmation; a retry with the request id tells later."""

    def lose() -> None:
        if desk.store.blocks in {2, 3}:
            raise CommitUnknownError

    desk.store.after_end = lose
    with capture_logs() as log:
        outcomes = await desk.gathered(lambda: desk.ask("a", 1, id_="open"))
    assert isinstance(outcomes[0], CommitUnknownError)
    assert [(line["event"], line["configs"], line["request_ids"]) for line in log] == [
        ("commit not confirmed, asking again", [CONFIG], ["open"]),
        ("commit left open", [CONFIG], ["open"]),
    ]
    assert desk.failures == 0
    assert (await desk.ask("a", 1, id_="open")).reply.version.number == 3
    assert (await desk.ask("b", 1)).reply.version.number == 4
    assert desk.values() == {"first": 2, "a": 1, "b": 1}


async def test_a_failed_store_gets_no_more_writes(desk: Desk) -> None:
    """P1: every caller hears that its commit is unconfirmed, and the process is asked to end once."""

    def fail() -> None:
        if desk.store.blocks == 2:
            raise StoreFailedError

    desk.store.after_end = fail
    with capture_logs() as log:
        outcomes = await desk.gathered(
            *[partial(desk.ask, f"k{n}", n, id_=f"open-{n}") for n in range(NAMED_LIMIT + 1)]
        )
    assert all(isinstance(outcome, StoreFailedError) for outcome in outcomes)
    (line,) = log
    assert (line["event"], line["commands"], line["configs"]) == ("commit left open", NAMED_LIMIT + 1, [CONFIG])
    assert line["request_ids"] == [f"open-{number}" for number in range(NAMED_LIMIT)]
    assert desk.failures == 1
    with pytest.raises(UnavailableError, match="nothing was written"):
        await desk.ask("c", 1)
    assert desk.failures == 1
    assert desk.store.blocks == 2
