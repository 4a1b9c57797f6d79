"""What holds for every call: malformed bytes, bugs, threads, deadlines, health, reflection, and the stop."""

import asyncio
import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from structlog.testing import capture_logs

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import DiskFullError, Reason, UnavailableError
from lamina_server.rpc.handlers import SERVICE
from lamina_server.store.contract import Expected, Reading, Store, Writing
from lamina_server.store.memory import MemoryStore
from tests.server.bare_client import Refusal, Wire, commit_request, refusal, running

CONFIG = "shop/prod"
SECRET = "s3cret-canary"


class Wrapped(MemoryStore):
    """A store that calls a function whenever a block is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.before_read: Any = lambda: None
        self.before_write: Any = lambda: None
        self.before_commit: Any = lambda: None

    def read(self) -> AbstractContextManager[Reading]:  # type: ignore[override]
        return self._after(self.before_read, super().read())

    def write(self, expected: Expected | None = None) -> AbstractContextManager[Writing]:  # type: ignore[override]
        return self._after(self.before_write, self._before_commit(super().write(expected)))

    @contextmanager
    def _before_commit(self, block: AbstractContextManager[Any]) -> Iterator[Any]:
        with block as opened:
            yield opened
            self.before_commit()

    @contextmanager
    def _after(self, first: Any, block: AbstractContextManager[Any]) -> Iterator[Any]:
        first()
        with block as opened:
            yield opened


@pytest.fixture
def store() -> Wrapped:
    return Wrapped()


def raw(wire: Wire, method: str) -> Any:
    """Call a method with raw bytes."""
    path = f"/{SERVICE.full_name}/{method}"
    streaming = SERVICE.methods_by_name[method].server_streaming
    return wire.channel.unary_stream(path) if streaming else wire.channel.unary_unary(path)


async def answer(call: Any) -> Any:
    """Await a reply, or a stream's first message."""
    return await (call.read() if hasattr(call, "read") else call)


@pytest.mark.parametrize("method", [method.name for method in SERVICE.methods])
async def test_malformed_bytes_are_a_bad_request(wire: Wire, method: str) -> None:
    no_utf8 = b"\x0a\x02\xed\xa0"  # in the first field: to a message without fields it is unknown, and no text
    has_fields = bool(SERVICE.methods_by_name[method].input_type.fields)
    for data in (b"\xff", b"\x0a\x05ab", *([no_utf8] if has_fields else []), b"\x0b", b"\x08" + b"\xff" * 11):
        refused = await refusal(answer(raw(wire, method)(data)))
        assert (refused.code, refused.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_REQUEST"), data
        assert f"lamina.v1.{method}Request" in refused.text


async def test_random_bytes_never_reach_a_bug(wire: Wire) -> None:
    """Every request is answered, or refused with a reason."""
    seed = secrets.randbits(32)
    print("seed", seed)
    dice = random.Random(seed)
    good = commit_request(CONFIG, {"a": 1, "b": "text"}).SerializeToString()
    reasons = set()
    for method in SERVICE.methods:
        for _ in range(30):
            data = bytearray(dice.choice([good, dice.randbytes(dice.randrange(1, 60))]))
            for _ in range(dice.randrange(4)):
                data[dice.randrange(len(data))] = dice.randrange(256)
            try:
                await answer(raw(wire, method.name)(bytes(data)))
            except grpc.aio.AioRpcError as error:
                reasons.add(Refusal.of(error).reason)
    assert "BAD_REQUEST" in reasons
    assert "BUG" not in reasons


async def test_unknown_fields_are_ignored(wire: Wire) -> None:
    """The server answers the part of a newer client's request that it knows."""
    data = commit_request(CONFIG, {"a": 1}).SerializeToString() + b"\xc2\x3e\x03new"
    assert pb.CommitResponse.FromString(await answer(raw(wire, "Commit")(data))).created


async def test_a_bug_is_reported_to_the_caller_and_logged(store: Wrapped, wire: Wire) -> None:
    """The log has its place in the code. Its text, which may quote values, is neither sent nor logged."""

    def fail() -> None:
        raise ValueError(SECRET)

    store.before_read = store.before_write = fail
    with capture_logs() as log:
        for call in (lambda: wire.get(CONFIG), lambda: wire.commit(CONFIG, {"a": SECRET}), wire.watch(CONFIG).message):
            refused = await refusal(call())
            assert (refused.code, refused.reason) == (grpc.StatusCode.INTERNAL, "BUG")
            assert SECRET not in refused.text
    bugs = [line for line in log if line["event"] == "bug"]
    assert sorted(line["method"] for line in bugs) == ["Commit", "GetVersion", "WatchKeyHistory"]
    for line in log:
        assert isinstance(line.pop("exc_info"), ValueError)
        assert SECRET not in str(line)


async def test_a_full_disk_is_logged_and_a_refused_request_is_not(store: Wrapped, wire: Wire) -> None:
    def fail() -> None:
        raise DiskFullError

    with capture_logs() as log:
        await refusal(wire.get("no/such"))
        store.before_write = fail
        assert (await refusal(wire.commit(CONFIG, {"a": 1}))).reason == "DISK_FULL"
    assert [(line["event"], line["reason"]) for line in log] == [("call failed", "DISK_FULL")]


async def test_an_unavailable_store_leaves_the_commit_open(store: Wrapped, wire: Wire) -> None:
    def fail() -> None:
        raise UnavailableError(Reason.STORE_UNAVAILABLE, "the database is away")

    store.before_read = store.before_write = fail
    for call in (wire.get(CONFIG), wire.commit(CONFIG, {"a": 1})):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


async def test_the_store_is_never_asked_on_the_event_loop(store: Wrapped, wire: Wire) -> None:
    threads: set[threading.Thread] = set()
    store.before_read = store.before_write = lambda: threads.add(threading.current_thread())
    await wire.commit(CONFIG, {"a": 1})
    await wire.commit(CONFIG, {"a": 2}, validate_only=True)
    await wire.get(CONFIG, view=pb.BLAME)
    await wire.stub.ListVersions(pb.ListVersionsRequest(config=CONFIG))
    await wire.stub.DiffVersions(pb.DiffVersionsRequest(config=CONFIG, from_version=0))
    await wire.stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=CONFIG, key="a"))
    await wire.stub.ListConfigs(pb.ListConfigsRequest())
    await wire.stub.RevertConfig(
        pb.RevertConfigRequest(config=CONFIG, to_version=0, base_version=1, request_id="revert")
    )
    await wire.stub.ForkConfig(pb.ForkConfigRequest(source=CONFIG, target="new", request_id="fork"))
    watch = wire.watch(CONFIG, after=0)
    await watch.numbers(2)
    assert threading.main_thread() not in threads
    assert {thread.name.partition("_")[0] for thread in threads} == {"reader", "writer", "giants"}


async def test_a_commit_outlives_its_callers_deadline(store: Wrapped, wire: Wire) -> None:
    """P1, P8: it is finished, watches get it, and its request id returns its outcome."""
    begun, go_on = threading.Event(), threading.Event()
    watch = wire.watch(CONFIG)
    assert await watch.bookmark() == (0, b"")

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    store.before_commit = wait
    request = commit_request(CONFIG, {"a": 1})
    call = wire.stub.Commit(request)
    await asyncio.to_thread(begun.wait, 10)
    call.cancel()
    store.before_commit = lambda: None
    go_on.set()
    assert await watch.numbers(1) == [1]
    reply = await wire.stub.Commit(request)
    assert (reply.created, reply.version.version) == (True, 1)


async def test_forks_that_have_not_begun_when_their_callers_leave_are_never_made(store: Wrapped, wire: Wire) -> None:
    """P2, P8: a deadline and a cancelled call; who stays gets an answer, and who comes back is served as if new."""
    await wire.commit(CONFIG, {"a": 1})
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    def fork(number: int) -> pb.ForkConfigRequest:
        return pb.ForkConfigRequest(source=CONFIG, target=f"fork/{number}", request_id=f"fork-{number}")

    store.before_commit = wait
    first = asyncio.ensure_future(wire.stub.ForkConfig(fork(1)))
    await asyncio.to_thread(begun.wait, 10)
    late, cancelled = wire.stub.ForkConfig(fork(2), timeout=0.2), wire.stub.ForkConfig(fork(3))
    staying = wire.stub.ForkConfig(fork(4))
    assert await late.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    cancelled.cancel()
    await wire.stub.GetServerInfo(pb.GetServerInfoRequest())  # the server has heard of both by now
    store.before_commit = lambda: None
    go_on.set()
    assert (await first).version.config == "fork/1"
    assert (await staying).version.config == "fork/4"
    configs = (await wire.stub.ListConfigs(pb.ListConfigsRequest(prefix="fork/"))).configs
    assert [config.name for config in configs] == ["fork/1", "fork/4"]
    assert (await wire.stub.ForkConfig(fork(3))).created


async def test_health(wire: Wire) -> None:
    stub = health_pb2_grpc.HealthStub(wire.channel)
    for service in ("", "lamina.v1.ConfigService", "readiness"):
        reply = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    services = ("lamina.v1.ConfigService", "readiness")
    watches = [stub.Watch(health_pb2.HealthCheckRequest(service=service)) for service in services]
    for watch in watches:
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await wire.stop_server()
    for watch in watches:
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_reflection_describes_the_service(wire: Wire) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="lamina.v1.ConfigService"),
    ]
    listed, described = [reply async for reply in stub.ServerReflectionInfo(iter(requests))]
    assert "lamina.v1.ConfigService" in [one.name for one in listed.list_services_response.service]
    files = [FileDescriptorProto.FromString(one) for one in described.file_descriptor_response.file_descriptor_proto]
    assert [service.name for service in files[0].service] == ["ConfigService"]


async def test_a_stopping_server_refuses_writes_and_watches_and_answers_reads(wire: Wire) -> None:
    await wire.commit(CONFIG, {"a": 1})
    wire.application._draining.begin()
    for call in (wire.commit(CONFIG, {"a": 2}), wire.watch(CONFIG).message()):
        refused = await refusal(call)
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
    assert (await wire.get(CONFIG)).version == 1
    assert (await wire.stub.GetServerInfo(pb.GetServerInfoRequest())).not_ready == "the server is stopping"


async def test_a_commit_under_way_is_answered_before_the_end(store: Wrapped, wire: Wire) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(10)

    store.before_write = wait
    health = health_pb2_grpc.HealthStub(wire.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
    commit = asyncio.ensure_future(wire.commit(CONFIG, {"a": 1}))
    await asyncio.to_thread(begun.wait, 10)
    stopping = asyncio.ensure_future(wire.stop_server())
    assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    go_on.set()
    assert (await commit).created
    await stopping


async def test_a_slow_reader_cannot_hold_up_the_end(store: Store) -> None:
    async with running(store, stop_grace_seconds=0.2) as wire:
        for number in range(10):
            await wire.commit(CONFIG, {"a": bytes([number]) * 1_000_000})
        watch = wire.watch(CONFIG, after=0)
        await watch.message()
        await wire.stop_server()
        watch.cancel()
