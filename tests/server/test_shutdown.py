"""The end of a real server process: no reply is lost, and every watch gets its cursor."""

import asyncio
import itertools
import signal
from pathlib import Path

import grpc
import pytest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.server.bare_client import Refusal, Watching, commit_request
from tests.support.server import ServerProcess

CONFIG = "shop/prod"
WRITERS = 16
REPLIES_BEFORE_THE_END = 60


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/lamina.db"


async def test_sigterm_under_load_loses_no_reply(database: str) -> None:
    """P1, P2, P8: an answered commit is there after a restart; any other is written once or never."""
    sent: dict[str, pb.CommitRequest] = {}
    answered: dict[str, pb.CommitResponse] = {}
    refusals: set[grpc.StatusCode] = set()
    enough = asyncio.Event()

    async def write(target: str, writer: int) -> None:
        async with grpc.aio.insecure_channel(target) as channel:
            stub = ConfigServiceStub(channel)
            for number in itertools.count():
                request = commit_request(CONFIG, {f"w{writer}": number})
                sent[request.request_id] = request
                try:
                    answered[request.request_id] = await stub.Commit(request)
                except grpc.aio.AioRpcError as error:
                    refusals.add(error.code())
                    return
                if len(answered) >= REPLIES_BEFORE_THE_END:
                    enough.set()

    with ServerProcess(database) as server:
        writers = [asyncio.create_task(write(server.target, writer)) for writer in range(WRITERS)]
        await enough.wait()
        server.signal(signal.SIGTERM)
        await asyncio.gather(*writers)
        assert refusals <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
        assert await asyncio.to_thread(server.wait) == 0
        await asyncio.to_thread(server.start)
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = ConfigServiceStub(channel)
            before = (await stub.GetVersion(pb.GetVersionRequest(config=CONFIG))).version
            assert before >= len(answered)
            again = {request_id: await stub.Commit(request) for request_id, request in sent.items()}
            assert {request_id: again[request_id] for request_id in answered} == answered
            head = (await stub.GetVersion(pb.GetVersionRequest(config=CONFIG))).version
            assert sorted(reply.version.version for reply in again.values()) == list(range(1, head + 1))
            assert head == len(sent)


async def test_watches_end_with_a_cursor_and_go_on_after_a_restart(database: str) -> None:
    """P9: the concatenation of both watches is the whole history."""
    with ServerProcess(database) as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = ConfigServiceStub(channel)
            for number in range(5):
                await stub.Commit(commit_request(CONFIG, {"a": number}))
            watch = Watching(stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=2))))
            assert await watch.numbers(5) == [3, 4, 5]
            assert (await watch.bookmark())[0] == 5  # every version was sent
            server.signal(signal.SIGTERM)
            number, hash_ = await watch.bookmark()
            assert number == 5
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await watch.message()
            assert (ended.value.code(), Refusal.of(ended.value).reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
        assert await asyncio.to_thread(server.wait) == 0
        await asyncio.to_thread(server.restart)
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = ConfigServiceStub(channel)
            await stub.Commit(commit_request(CONFIG, {"a": 9}))
            after = pb.Cursor(version=number, hash=hash_)
            watch = Watching(stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG, after=after)))
            assert await watch.numbers(6) == [6]


async def test_a_second_signal_ends_it_at_once(database: str) -> None:
    """A watcher that does not read would delay the end by the whole grace period."""
    with ServerProcess(database, LAMINA_SERVER_STOP_GRACE_SECONDS="300") as server:
        async with grpc.aio.insecure_channel(server.target) as channel:
            stub = ConfigServiceStub(channel)
            for number in range(8):
                await stub.Commit(commit_request(CONFIG, {"a": bytes([number]) * 1_000_000}))
            watch = Watching(stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=CONFIG, after=pb.Cursor(version=0))))
            await watch.message()
            server.signal(signal.SIGTERM)
            await asyncio.to_thread(server.until_logged, '"stopping"')
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.wait) == 128 + signal.SIGTERM
            watch.cancel()
