"""A client with bare stubs for the tests of the server: short ways to write requests, and the parts of refusals."""

import itertools
import string
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.struct_pb2 import NULL_VALUE
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from lamina_server.app import Application
from lamina_server.audit.file import AuditFile
from lamina_server.cache.limits import DEFAULT_LIMITS, CacheLimits
from lamina_server.commits.clock import system_now_us
from lamina_server.domain.errors import Reason
from lamina_server.settings import Settings
from lamina_server.store.contract import Store

DELETED: Any = object()
"""A deletion among the values of a commit."""

MEMORY_ONLY = pytest.mark.parametrize("store", ["memory"], indirect=True)
"""For tests that do not depend on the kind of store."""

TRAILERS_LIMIT_BYTES = 3072
"""What an error may take of the 4 KiB in which nginx receives all headers of an answer."""

_ids = itertools.count(1)
_UNQUOTED = "".join(sorted(set(string.printable) - set(string.whitespace) | {" "} - {"%"}))

_KINDS = {bool: "bool", int: "int64", float: "double", str: "string", bytes: "bytes"}


def value(plain: Any) -> pb.Value:
    """Return the message of a Python scalar; a message stays as it is."""
    if isinstance(plain, pb.Value):
        return plain
    return pb.Value(null=NULL_VALUE) if plain is None else pb.Value(**{_KINDS[type(plain)]: plain})


def plain(message: pb.Value) -> Any:
    """Return the Python scalar of a message."""
    kind = message.WhichOneof("kind")
    assert kind is not None
    return None if kind == "null" else getattr(message, kind)


def changes(values: Mapping[str, Any]) -> list[pb.Change]:
    return [
        pb.Change(key=key, deleted=True) if one is DELETED else pb.Change(key=key, value=value(one))
        for key, one in values.items()
    ]


def commit_request(config: str, values: Mapping[str, Any], **fields: Any) -> pb.CommitRequest:
    fields.setdefault("request_id", f"request-{next(_ids)}")
    return pb.CommitRequest(config=config, changes=changes(values), **fields)


def entries(version: pb.ConfigVersion) -> dict[str, Any]:
    return {entry.key: plain(entry.value) for entry in version.entries}


@dataclass(frozen=True)
class Refusal:
    """How a call was refused, with its details taken apart."""

    code: grpc.StatusCode
    text: str
    reason: str
    metadata: Mapping[str, str]
    fields: Sequence[tuple[str, str]] = ()
    conflict: pb.Conflict = field(default_factory=pb.Conflict)
    retry_seconds: float = 0
    trailers_bytes: int = 0

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> "Refusal":
        trailers = dict(error.trailing_metadata() or ())
        trailers_bytes = encoded_bytes(error.details() or "", trailers.items())
        assert trailers_bytes <= TRAILERS_LIMIT_BYTES
        status = Status.FromString(trailers["grpc-status-details-bin"])
        assert (status.code, status.message) == (error.code().value[0], error.details())
        info, bad_request, conflict, retry = ErrorInfo(), BadRequest(), pb.Conflict(), RetryInfo()
        for detail in status.details:
            assert any(detail.Unpack(kind) for kind in (info, bad_request, conflict, retry)), detail.type_url
        assert info.domain == "lamina"
        assert info.reason in set(Reason)
        return cls(
            code=error.code(),
            text=error.details() or "",
            reason=info.reason,
            metadata=dict(info.metadata),
            fields=[(one.field, one.description) for one in bad_request.field_violations],
            conflict=conflict,
            retry_seconds=retry.retry_delay.ToTimedelta().total_seconds(),
            trailers_bytes=trailers_bytes,
        )


def encoded_bytes(text: str, trailers: Iterable[tuple[str, str | bytes]]) -> int:
    """Return the size of the text and the trailers of an error as HTTP/2 has them before it compresses."""
    encoded = [(key, b64encode(value) if isinstance(value, bytes) else value) for key, value in trailers]
    pairs = [("grpc-message", quote(text, safe=_UNQUOTED)), *encoded]
    return sum(len(key) + len(value) for key, value in pairs)


async def refusal(call: Awaitable[Any]) -> Refusal:
    """Await a call that must be refused with details."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return Refusal.of(error)
    raise AssertionError(f"not refused: {answer}")


class Wire:
    """A connection to a server: the stub, and short forms of the most frequent calls."""

    def __init__(self, target: str, application: Application) -> None:
        self.target = target
        self.application = application
        self._is_running = True
        self.channel = grpc.aio.insecure_channel(target, options=[("grpc.max_send_message_length", -1)])
        self.stub = ConfigServiceStub(self.channel)

    async def stop_server(self) -> None:
        """Stop the server as SIGTERM would; the connection stays open for its answers."""
        if self._is_running:
            self._is_running = False
            await self.application.stop()

    async def commit(self, config: str, values: Mapping[str, Any], **fields: Any) -> pb.CommitResponse:
        return await self.stub.Commit(commit_request(config, values, **fields))

    async def get(self, config: str, **fields: Any) -> pb.ConfigVersion:
        return await self.stub.GetVersion(pb.GetVersionRequest(config=config, **fields))

    async def map(self, config: str, **fields: Any) -> dict[str, Any]:
        return entries(await self.get(config, **fields))

    def watch(self, config: str, after: int | pb.Cursor | None = None, **fields: Any) -> "Watching":
        cursor = pb.Cursor(version=after) if isinstance(after, int) else after
        return Watching(self.stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=config, after=cursor, **fields)))


class Watching:
    """A watch under way, message by message."""

    def __init__(self, call: Any) -> None:
        self.call = call

    async def message(self) -> pb.WatchKeyHistoryResponse:
        message = await self.call.read()
        if message is grpc.aio.EOF:
            raise AssertionError(f"the stream has ended: {await self.call.code()}")
        assert isinstance(message, pb.WatchKeyHistoryResponse)
        return message

    async def bookmark(self) -> tuple[int, bytes]:
        """Read one message that is a bookmark and nothing else."""
        message = await self.message()
        assert message.HasField("bookmark")
        assert not message.changes
        return message.bookmark.version, message.bookmark.hash

    async def parts(self, through: int) -> list[pb.VersionChanges]:
        """Read until all parts of a version have come; no bookmark may come before the versions up to it."""
        parts: list[pb.VersionChanges] = []
        while not parts or parts[-1].version.version < through or parts[-1].more:
            message = await self.message()
            parts.extend(message.changes)
            if message.HasField("bookmark"):
                assert not parts or message.bookmark.version >= parts[-1].version.version
        return parts

    async def numbers(self, through: int) -> list[int]:
        return [part.version.version for part in await self.parts(through)]

    def cancel(self) -> None:
        self.call.cancel()


@asynccontextmanager
async def running(
    store: Store,
    *,
    cache_limits: CacheLimits = DEFAULT_LIMITS,
    now_us: Callable[[], int] = system_now_us,
    audit_file: AuditFile | None = None,
    **settings: Any,
) -> AsyncIterator[Wire]:
    """Run a server over a store, in this process and on this event loop, behind a real socket."""
    listening = Settings(listen="localhost:0", **settings)
    application = Application(listening, store, cache_limits=cache_limits, now_us=now_us, audit_file=audit_file)
    wire = Wire(await application.start(), application)
    try:
        yield wire
    finally:
        await wire.stop_server()
        await wire.channel.close()
