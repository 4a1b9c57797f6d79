"""A server whose store breaks with values and tokens in its exceptions, and calls that are wrong in many ways.

It reads a value and a token from stdin, prints all answers to stdout, and logs to stderr, as a server does.
"""

import asyncio
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server import logs
from lamina_server.app import Application
from lamina_server.settings import Settings
from lamina_server.store.memory import MemoryStore
from tests.security.secret_helpers import key_file

CONFIG = "shop/prod"
Metadata: TypeAlias = list[tuple[str, str]]


class Broken(MemoryStore):
    """A store that can fail as no code of ours expects: with values in the words and in the local variables."""

    def __init__(self, value: str, token: str) -> None:
        super().__init__()
        self.works = True
        self._said = (value, token)

    def read(self) -> Any:
        self._fail()
        return super().read()

    def write(self, expected: Any = None) -> Any:
        self._fail()
        return super().write(expected)

    def _fail(self) -> None:
        value, token = self._said
        if not self.works:
            raise RuntimeError(f"{value} and {token}")


def values(value: str) -> Iterator[pb.Value]:
    """Yield values of each kind, good and bad."""
    yield pb.Value(string=value)
    yield pb.Value(bytes=value.encode())
    yield pb.Value(bytes=value.encode() * 30_000)
    yield pb.Value(json=json.dumps(value))
    yield pb.Value(json=value)
    yield pb.Value(json=f'{{"a": "{value}')
    yield pb.Value(json=f'{{"{value}": 1, "{value}": 2}}')
    yield pb.Value(json="[" * 99 + f'"{value}"' + "]" * 99)
    yield pb.Value(json=f'"{value}\\ud800"')
    yield pb.Value(json=f'["{value}", 1e999]')
    yield pb.Value(json=f'["{value}", {"9" * 40}]')
    yield pb.Value(secret=pb.Secret(string=value))
    yield pb.Value(secret=pb.Secret(json=f'{{"{value}'))
    yield pb.Value(secret=pb.Secret(sealed=value.encode()))


def requests(value: str) -> Iterator[tuple[str, Message]]:
    """Yield requests of all methods, with these values."""
    for number, each in enumerate(values(value)):
        changes = [pb.Change(key="banner", value=each), pb.Change(key="other", value=each)]
        for config in (CONFIG, "bad name", "_lamina/access"):
            for only in (False, True):
                yield (
                    "Commit",
                    pb.CommitRequest(
                        config=config, request_id=str(number), changes=changes, validate_only=only, base_version=0
                    ),
                )
    yield "RevertConfig", pb.RevertConfigRequest(config=CONFIG, to_version=0, request_id="revert")
    yield "ForkConfig", pb.ForkConfigRequest(source=CONFIG, target="shop/fork", request_id="fork")
    yield "GetVersion", pb.GetVersionRequest(config=CONFIG)
    yield "ListVersions", pb.ListVersionsRequest(config=CONFIG)
    yield "DiffVersions", pb.DiffVersionsRequest(config=CONFIG)
    yield "GetKeyHistory", pb.GetKeyHistoryRequest(config=CONFIG, key="banner")
    yield "ListConfigs", pb.ListConfigsRequest()
    yield "GetServerInfo", pb.GetServerInfoRequest()
    yield "WhoAmI", pb.WhoAmIRequest()
    yield "CheckAccess", pb.CheckAccessRequest(principal="token:ada", config=CONFIG)
    yield "WatchKeyHistory", pb.WatchKeyHistoryRequest(config=CONFIG)


async def call(stub: Any, method: str, request: Message, metadata: Metadata) -> str:
    """Make a call, and print how it failed; return its status."""
    under_way = getattr(stub, method)(request, metadata=metadata)
    try:
        await (under_way.read() if method == "WatchKeyHistory" else under_way)  # a watch begins with a bookmark
    except grpc.aio.AioRpcError as error:
        details = error.trailing_metadata()
        if error.code() is grpc.StatusCode.ABORTED:
            details = None  # a conflict has the values of both sides, for callers who may read them
        print(method, error.code().name, error.details(), details, error.debug_error_string())
        return str(error.code().name)
    under_way.cancel()
    return "OK"


async def main() -> None:
    """Make all calls to open and closed servers, with and without an outer key."""
    value, token = json.loads(sys.stdin.read())
    logs.configure()
    bearer = ("authorization", f"Bearer {token}")
    credentials = [[], [bearer], [("authorization", token)], [bearer, bearer], [bearer, ("lamina-author", value)]]
    with TemporaryDirectory() as folder:
        key = key_file(Path(folder))
        codes = {
            *await codes_of(Broken(value, token), [[]], value, access="open"),
            *await codes_of(Broken(value, token), [[]], value, access="open", secret_key_file=key),
            *await codes_of(Broken(value, token), credentials, value, access="closed"),
        }
    print("codes", *sorted(codes))


async def codes_of(store: Broken, credentials: Iterable[Metadata], value: str, **settings: Any) -> set[str]:
    """Make all calls to a server, on a store that works and on one that does not; return their statuses."""
    codes = set()
    application = Application(Settings(listen="localhost:0", **settings), store)
    target = await application.start()
    async with grpc.aio.insecure_channel(target) as channel:
        stub = ConfigServiceStub(channel)
        for metadata in credentials:
            for store.works in (True, False):
                for method, request in requests(value):
                    codes.add(await call(stub, method, request, metadata))
    store.works = True
    await application.stop()
    return codes


if __name__ == "__main__":
    asyncio.run(main())
