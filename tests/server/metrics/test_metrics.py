"""What the metrics say of calls, commits and watches."""

import asyncio
import threading
from collections.abc import AsyncIterator

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.commits.counting import OUTCOMES, outcome_name
from lamina_server.commits.group import AbandonedError
from lamina_server.domain.errors import DiskFullError, Reason, ServerError
from lamina_server.metrics import lag
from lamina_server.metrics.numbers import Distribution
from lamina_server.metrics.recorder import Recorder, Unrecorded
from lamina_server.rpc.counting import counted
from lamina_server.rpc.handlers import SERVICE
from lamina_server.store.contract import CommitUnknownError, Store, StoreFailedError, UnansweredError
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import MEMORY_ONLY, Wire, commit_request, refusal, running
from tests.support.scraping import Scraped, scrape


@pytest.fixture
async def wire(store: Store) -> AsyncIterator[Wire]:
    async with running(store, metrics_listen="localhost:0") as wire:
        yield wire


async def scraped(wire: Wire) -> Scraped:
    return Scraped(await asyncio.to_thread(scrape, wire.application.metrics))


def test_an_amount_is_in_the_first_bucket_whose_bound_it_does_not_exceed() -> None:
    found = Distribution((1, 2, 4))
    for amount in (0, 1, 1.5, 2, 4, 5, 100):
        found.add(amount)
    assert found.read() == ([2, 2, 1, 2], 113.5)


async def test_without_metrics_a_call_is_handled_by_the_same_function() -> None:
    async def handle(*_: object) -> bytes:
        return b""

    assert counted(Unrecorded(), "Commit", handle) is handle
    assert counted(Recorder(), "Commit", handle) is not handle
    async with running(MemoryStore()) as wire:
        await wire.commit("shop", {"x": 1})
        assert not wire.application.metrics


async def test_calls_and_commits_are_counted_by_what_became_of_them(wire: Wire) -> None:
    await wire.commit("shop", {"x": 1}, base_version=0, request_id="first")
    await wire.commit("shop", {"x": 1}, base_version=0, request_id="first")
    await wire.commit("shop", {"x": 1})
    await wire.commit("shop", {"x": 2})
    assert (await refusal(wire.commit("shop", {"x": 3}, base_version=1))).reason == "CONFLICT"
    assert (await refusal(wire.commit("shop", {"x": 3}, request_id="first"))).reason == "REQUEST_ID_REUSED"
    await wire.get("shop")
    assert (await refusal(wire.get("other"))).reason == "CONFIG_NOT_FOUND"
    found = await scraped(wire)
    names = ("created", "repeated", "unchanged", "conflict", "refused", "failed", "unknown")
    assert [found("lamina_commits_total", outcome=name) for name in names] == [2, 1, 1, 1, 1, 0, 0]
    assert found("lamina_batch_commands_sum") == found("lamina_batch_duration_seconds_count") == 6
    codes = ("OK", "ABORTED", "FAILED_PRECONDITION")
    assert [found("lamina_calls_total", method="Commit", code=code) for code in codes] == [4, 1, 1]
    assert [found("lamina_calls_total", method="GetVersion", code=code) for code in ("OK", "NOT_FOUND")] == [1, 1]
    assert found("lamina_call_duration_seconds_count", method="Commit") == 6
    reasons = ("CONFLICT", "REQUEST_ID_REUSED", "CONFIG_NOT_FOUND", "BUG")
    assert [found("lamina_errors_total", reason=reason) for reason in reasons] == [1, 1, 1, 0]
    assert 0 <= found("lamina_last_commit_age_seconds") < 60


@MEMORY_ONLY
async def test_a_method_that_nobody_knows_has_no_label_of_its_own(wire: Wire) -> None:
    for name in ("EraseEverything", "x" * 90):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = wire.channel.unary_unary(f"/{SERVICE.full_name}/{name}")
        await refusal(call(b""))
    found = await scraped(wire)
    assert found("lamina_calls_total", method="unknown", code="UNIMPLEMENTED") == 2
    assert found.with_label("lamina_calls_total", "method") == {"unknown", *(each.name for each in SERVICE.methods)}


@MEMORY_ONLY
async def test_a_caller_that_leaves_is_counted_as_cancelled(wire: Wire) -> None:
    watch = wire.watch("shop")
    await watch.bookmark()
    assert (await scraped(wire))("lamina_calls_under_way") == 1
    watch.cancel()
    while (found := await scraped(wire))("lamina_calls_under_way"):
        pass
    assert found("lamina_calls_total", method="WatchKeyHistory", code="CANCELLED") == 1
    assert "WatchKeyHistory" not in found.with_label("lamina_call_duration_seconds_count", "method")


@MEMORY_ONLY
async def test_watches_are_counted_by_state_and_lag(wire: Wire) -> None:
    """Clients that take nothing leave their watches behind."""
    await wire.commit("shop", {"x": 0})
    watches = wire.watch("shop"), wire.watch("shop", after=1)
    for watch in watches:
        await watch.bookmark()
    while (await scraped(wire))("lamina_watches", state="waiting") < 2:
        pass
    text = "x" * 900_000
    for number in range(12):
        await wire.commit("shop", {"x": f"{number}{text}"})
    found = await scraped(wire)
    assert found("lamina_watches", state="waiting") + found("lamina_watches", state="sending") == 2
    assert found("lamina_watches", state="sending") >= 1
    assert 1 <= found("lamina_watch_lag_max_versions") <= found("lamina_watch_lag_versions") <= 24
    assert found("lamina_memory_bytes", kind="ring") > 12 * len(text)
    assert found("lamina_memory_bytes", kind="watch_messages") > len(text)
    assert found("lamina_ring_versions") == 13
    for watch in watches:
        watch.cancel()


async def test_maps_in_memory_are_counted(wire: Wire) -> None:
    await wire.commit("shop", {"x": "y" * 10_000})
    await wire.get("shop")
    found = await scraped(wire)
    assert found("lamina_heads_maps") == 1
    assert 10_000 < found("lamina_memory_bytes", kind="heads") < found("lamina_memory_limit_bytes", kind="heads")


@MEMORY_ONLY
async def test_a_server_that_stops_says_so(wire: Wire) -> None:
    before = await scraped(wire)
    assert (before("lamina_ready"), before("lamina_stopping")) == (1, 0)
    await wire.stop_server()
    with pytest.raises(ConnectionRefusedError):
        await scraped(wire)


@MEMORY_ONLY
async def test_a_scrape_needs_no_event_loop_and_tells_how_late_it_is(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "INTERVAL_SECONDS", 0.01)
    async with running(store, metrics_listen="localhost:0") as wire:
        found: list[str] = []
        scraping = threading.Thread(target=lambda: found.append(scrape(wire.application.metrics)))
        scraping.start()
        scraping.join()  # which blocks the event loop
        assert "lamina_ready 1.0" in found[0]
        threading.Event().wait(0.1)
        while not (late := await scraped(wire))("lamina_event_loop_lag_seconds_count"):
            pass
    assert late("lamina_event_loop_lag_seconds_sum") > 0.08


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (AbandonedError(), "abandoned"),
        (CommitUnknownError(), "unknown"),
        (StoreFailedError(), "unknown"),
        (UnansweredError("it is away"), "failed"),
        (DiskFullError(), "failed"),
        (KeyError("a bug"), "failed"),
        (ServerError(Reason.CONFLICT, "another commit was faster"), "conflict"),
        (ServerError(Reason.CONFIG_EXISTS, "there is one"), "refused"),
    ],
)
def test_what_became_of_a_command_that_made_no_version(error: Exception, name: str) -> None:
    assert outcome_name(error) == name
    assert name in OUTCOMES


@MEMORY_ONLY
async def test_the_queue_and_the_batch_that_it_becomes_are_counted(wire: Wire, store: MemoryStore) -> None:
    requests = [commit_request(f"config{number}", {"x": number}) for number in range(20)]
    with store._write_lock:
        commits = [asyncio.ensure_future(wire.stub.Commit(request)) for request in requests]
        while (found := await scraped(wire))("lamina_commit_queue_commands") < 19:
            pass
        assert found("lamina_commits_under_way") == 1
    await asyncio.gather(*commits)
    found = await scraped(wire)
    assert found("lamina_batch_commands_sum") == 20
    assert found("lamina_batch_commands_count") == 2
    assert found("lamina_commit_queue_commands") == found("lamina_commits_under_way") == 0


@MEMORY_ONLY
async def test_a_broken_caller_is_counted(wire: Wire) -> None:
    await refusal(wire.stub.GetVersion(pb.GetVersionRequest(config="")))
    assert (await scraped(wire))("lamina_errors_total", reason="BAD_CONFIG_NAME") == 1
