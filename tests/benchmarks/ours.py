"""Lamina's side: it calls the generated stubs, so that the SDK's cost is not counted as the server's."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import grpc

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.benchmarks.measuring import AsyncCall, Call

if TYPE_CHECKING:
    from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceAsyncStub

CHANGES_AT_ONCE = 10_000
"""The most keys in one commit."""

_STRIDE = 7_919
"""A prime, so that changes are spread over a map, and no page of the database is always the hot one."""


def key(number: int) -> str:
    """Return the name of a key."""
    return f"key-{number:06d}"


def text(number: int) -> str:
    """Return a value of 30 bytes, another one for each number."""
    return f"value {number:024d}"


_new_numbers = count(10_000_000)


def new_text() -> str:
    """Return a value that is new in this run, so that setting it is always a change."""
    return text(next(_new_numbers))


def a_map(size: int) -> dict[str, str]:
    """Return a map of so many keys."""
    return {key(number): text(number) for number in range(size)}


def keys_all_over(size: int) -> Iterator[str]:
    """Yield the keys of a map for ever, each equally often, and never two neighbours in a row."""
    return (key(number * _STRIDE % size) for number in count())


@contextmanager
def stub_of(target: str) -> Iterator[ConfigServiceStub]:
    """Connect to a server, and wait until it answers."""
    with grpc.insecure_channel(target) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        yield ConfigServiceStub(channel)


class Writer:
    """One caller's commits to a config, of `width` changes each; the base is the version of the commit before."""

    def __init__(self, config: str, keys: Iterator[str], *, base: int, width: int = 1) -> None:
        self._config = config
        self._keys = keys
        self._base = base
        self._width = width

    def request(self) -> pb.CommitRequest:
        """Make the next request."""
        changes = [change(each, new_text()) for each in islice(self._keys, self._width)]
        return pb.CommitRequest(
            config=self._config,
            base_version=self._base,
            changes=changes,
            message="bench",
            request_id=uuid.uuid4().hex,  # as the SDK makes them
        )

    def learn(self, reply: pb.CommitResponse) -> None:
        """Use the new version as the next base."""
        assert reply.created
        self._base = reply.version.version

    def through(self, stub: ConfigServiceStub) -> Call:
        """Return a call that commits once."""
        return lambda: self.learn(stub.Commit(self.request()))

    def through_async(self, stub: "ConfigServiceAsyncStub") -> AsyncCall:
        """Return a call for asyncio that commits once."""

        async def call() -> None:
            self.learn(await stub.Commit(self.request()))

        return call


def change(name: str, data: str) -> pb.Change:
    """Make the change of a key to a string."""
    return pb.Change(key=name, value=pb.Value(string=data))


def load(
    stub: ConfigServiceStub, config: str, data: Mapping[str, str], *, at_once: int = CHANGES_AT_ONCE, base: int = 0
) -> int:
    """Commit a map to a config, which may be new; return its head's number."""
    changes = [change(*item) for item in data.items()]
    head = base
    for start in range(0, len(changes), at_once):
        part = changes[start : start + at_once]
        request = pb.CommitRequest(config=config, base_version=head, changes=part, request_id=uuid.uuid4().hex)
        head = stub.Commit(request).version.version
    return head


def callers(channel: grpc.aio.Channel, config: str, number: int, *, base: int) -> Sequence[AsyncCall]:
    """Make callers that commit to one config, each to a key of its own."""
    stub = ConfigServiceStub(channel)
    writers = [Writer(config, _always(key(each)), base=base) for each in range(number)]
    return [writer.through_async(stub) for writer in writers]


async def watch(channel: grpc.aio.Channel, request: pb.WatchKeyHistoryRequest) -> Any:
    """Open a watch from now; return its stream when the server has sent the first bookmark."""
    stream = ConfigServiceStub(channel).WatchKeyHistory(request)
    message = await stream.read()
    assert isinstance(message, pb.WatchKeyHistoryResponse)
    assert message.HasField("bookmark")
    return stream


def read_map(stub: ConfigServiceStub, config: str, size: int) -> Call:
    """Return a call that reads a whole map of a known size, by its pages."""

    def call() -> None:
        request, got = pb.GetVersionRequest(config=config), 0
        while True:
            page = stub.GetVersion(request)
            got += len(page.entries)
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert got == size

    return call


def _always(name: str) -> Iterator[str]:
    while True:
        yield name
