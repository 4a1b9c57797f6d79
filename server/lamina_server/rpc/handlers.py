"""The methods of the service as gRPC has them: raw bytes in and out, and errors as statuses.

The methods come from the service descriptor, so every method in the .proto has an answer: a
method that the service lacks is NOT_IMPLEMENTED. gRPC could parse requests itself, but answers
malformed bytes with UNKNOWN and without a reason.

A call goes on only after each of these steps, whatever its method: who calls, whether it calls too often, receive
the request, parse, see whether it still is that caller, decide whether the caller may (see permissions.py). The last
two are done anew if the access changes before the answer, or before a write begins (see decision.py).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.audit.audit import CallAudit
from lamina_server.domain.errors import (
    InvalidError,
    Reason,
    ServerError,
    UnavailableError,
    UnimplementedError,
    Violation,
)
from lamina_server.metrics.recorder import UNKNOWN_METHOD, Recorder
from lamina_server.rpc import permissions, status
from lamina_server.rpc.counting import Counted, counted
from lamina_server.rpc.deadlines import Deadlines
from lamina_server.rpc.decision import Decision
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.guard import Context, Guard
from lamina_server.rpc.permissions import Special, check_lines
from lamina_server.rpc.replies import FREE_BYTES, ReplyBudget
from lamina_server.rpc.service import WRITES, Call, Service
from lamina_server.rpc.transport import UnsafeError
from lamina_server.rpc.watch.in_flight import Send

SERVICE = pb.DESCRIPTOR.services_by_name["ConfigService"]

Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"
Method: TypeAlias = Callable[..., Awaitable[bytes]]
"""Takes a request and its call; that of a write, also what confirms that the caller may still make it."""

_FOR_OPERATORS = {
    Reason.STORE_UNAVAILABLE,
    Reason.STORE_UNUSABLE,
    Reason.DISK_FULL,
    Reason.HASH_MISMATCH,
    Reason.CURSOR_FORKED,
}
"""The reasons that are logged for the operator; other errors concern the caller alone."""

LEAVING_SECONDS = 0.1
"""How soon gRPC cancels the call of a caller that has left, on a busy machine."""

_NAME_LIMIT = 100
"""How much is repeated of the name of an unknown method."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class ServiceHandler(grpc.GenericRpcHandler):
    """Every method under the service's name."""

    def __init__(
        self,
        service: Service,
        guard: Guard,
        draining: Draining,
        *,
        replies: ReplyBudget,
        requests: Deadlines,
        recorder: Recorder,
    ) -> None:
        check_lines(f"{SERVICE.full_name}/{method.name}" for method in SERVICE.methods)
        self._service = service
        self._guard = guard
        self._draining = draining
        self._replies = replies
        self._requests = requests
        self._recorder = recorder
        self._prefix = f"/{SERVICE.full_name}/"
        self._handlers = {method.name: self._handler(method) for method in SERVICE.methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the handler of a method; None for the methods of other services."""
        method = handler_call_details.method
        if not method.startswith(self._prefix):
            return None
        name = method.removeprefix(self._prefix)
        return self._handlers.get(name) or self._missing(name)

    def _handler(self, method: MethodDescriptor) -> Handler:
        function = getattr(self._service, snake_case(method.name), None)
        if function is None:
            return self._missing(method.name)
        if method.server_streaming:
            return self._streaming(method, function)
        return self._unary(method, function)

    def _unary(self, method: MethodDescriptor, function: Method) -> Handler:
        guard, service = self._guard, self._service
        name, line = snake_case(method.name), f"{SERVICE.full_name}/{method.name}"

        reply_to = self._written if name in WRITES else self._read

        async def handle(_: Any, context: Context) -> bytes:
            audit = guard.audit(method.name, context)
            call, data = await self._answer(method.name, context, audit, self._received(context, audit))

            async def answer() -> bytes:
                parsed = await service.parse(name, data, call.caller)
                reply = await reply_to(function, guard.decision(line, parsed, call, context), call, context)
                call.usage.spend(len(reply))
                return reply

            with self._draining:
                return await self._answer(method.name, context, audit, answer())

        # As gRPC sees it, there is a stream of requests: so a caller is known before its request is received.
        return grpc.stream_unary_rpc_method_handler(counted(self._recorder, method.name, handle))

    async def _read(self, function: Method, decision: Decision, call: Call, context: Context) -> bytes:
        """Return the answer of a read. If there is no room for it, make it again when there is."""
        reply, holder = await _current(function, decision, call), call.holder
        if (size_bytes := len(reply)) <= FREE_BYTES:
            return reply
        is_held = self._replies.hold(holder, size_bytes)
        if not is_held:
            del reply
            await self._replies.wait(holder, size_bytes)
        _when_over(context, lambda: self._replies.release(holder, size_bytes))
        return reply if is_held else await _current(function, decision, call)

    async def _written(self, function: Method, decision: Decision, call: Call, context: Context) -> bytes:
        """Return the answer of a write, which begins when its caller has taken other answers."""
        holder, request = call.holder, await decision.decide()  # a refusal waits for nothing
        await self._replies.wait_for_room(holder)
        reply = await function(request, call, decision.confirm)
        if (size_bytes := len(reply)) > FREE_BYTES:
            self._replies.hold_anyway(holder, size_bytes)
            _when_over(context, lambda: self._replies.release(holder, size_bytes))
        return reply

    def _streaming(
        self, method: MethodDescriptor, function: Callable[[Any, Call, Send, ExitStack], Awaitable[None]]
    ) -> Handler:
        guard, service = self._guard, self._service
        name, line = snake_case(method.name), f"{SERVICE.full_name}/{method.name}"

        async def handle(_: Any, context: Context) -> None:
            audit = guard.audit(method.name, context)
            call, data = await self._answer(method.name, context, audit, self._received(context, audit))
            # `end` comes after the status, which waits for the messages before it.
            with self._draining, ExitStack() as end:

                async def answer() -> None:
                    parsed = await service.parse(name, data, call.caller)
                    decision = guard.decision(line, parsed, call, context)
                    request = await decision.decide()
                    with guard.watched(decision, call, context) as send:
                        await function(request, call, send, end)

                await self._answer(method.name, context, audit, answer())

        return grpc.stream_stream_rpc_method_handler(counted(self._recorder, method.name, handle))

    async def _received(self, context: Context, audit: CallAudit) -> tuple[Call, bytes]:
        """Return a call that may go on, and its request, which is received only then."""
        call = await self._guard.call(context, audit)
        task, requests = asyncio.current_task(), self._requests
        assert task is not None
        requests.begin(task)
        try:
            data: Any = await context.read()
        except asyncio.CancelledError:
            if requests.has_ended(task):
                text = f"the request has not come within {requests.limit_seconds:g} s"
                raise UnavailableError(Reason.TOO_SLOW, text, wrote_nothing=True) from None
            raise
        finally:
            requests.end(task)
        if data is grpc.aio.EOF:
            # A caller that has left has no more requests, either: gRPC cancels this task soon, and nobody is refused.
            await asyncio.sleep(LEAVING_SECONDS)
            raise InvalidError(Reason.BAD_REQUEST, [Violation("request", "is missing")])
        call.usage.spend(len(data))
        return call, data

    async def _answer(self, name: str, context: Context, audit: CallAudit, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except grpc.aio.BaseError:  # the caller has left, or the server was stopped: no one can be told
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
            audit.failed(error)
            await _abort(name, context, error, self._recorder)
        finally:
            audit.end()

    def _missing(self, name: str) -> Handler:
        async def handle(_: Any, context: Context) -> None:
            # Whoever calls has chosen the name, up to the size of all headers.
            shown = name if len(name) <= _NAME_LIMIT else f"{name[:_NAME_LIMIT]}…"
            audit = self._guard.audit(shown, context)

            async def answer() -> None:
                await self._guard.call(context, audit)
                raise UnimplementedError(f"this server has no method {shown}")

            await self._answer(shown, context, audit, answer())

        # A stream of requests is also what a single request looks like, before it is read.
        return grpc.stream_stream_rpc_method_handler(counted(self._recorder, UNKNOWN_METHOD, handle))


class OtherServices:
    """Takes the services that others have written, as gRPC's server would, and guards their methods.

    handlers  of their methods, for gRPC's server
    """

    def __init__(self, guard: Guard, recorder: Recorder) -> None:
        self._guard = guard
        self._recorder = recorder
        self.handlers: list[grpc.GenericRpcHandler] = []

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take nothing: these handlers do not say which methods they have. The same ones are registered, too."""

    def add_registered_method_handlers(self, service: str, handlers: "Mapping[str, Handler]") -> None:
        """Take the methods of a service by their names. Raise UnsafeError if one has no line in the table."""
        check_lines(f"{service}/{name}" for name in handlers)
        lines = {name: permissions.METHODS[f"{service}/{name}"] for name in handlers}
        guarded = {
            name: handler if lines[name] is Special.PUBLIC else self._guarded(name, handler)
            for name, handler in handlers.items()
            if lines[name] is not Special.NOT_SERVED
        }
        self.handlers.append(grpc.method_handlers_generic_handler(service, guarded))

    def _guarded(self, name: str, handler: Handler) -> Handler:
        """Return a handler that needs a known caller."""
        inner: Any = handler
        if not (inner.request_streaming and inner.response_streaming):
            raise UnsafeError(f"{name} must be public, or a stream both ways: no other method of a foreign service is")

        async def handle(requests: Any, context: Context) -> AsyncIterator[Any]:
            audit = self._guard.audit(name, context)

            async def known() -> AsyncIterator[Any]:
                """Yield the requests, each of which counts as a call: a stream of them may have no end."""
                async for request in requests:
                    await self._guard.call(context, audit)
                    yield request

            with Counted(self._recorder, name, context):
                try:
                    await self._guard.call(context, audit)
                    async for reply in inner.stream_stream(known(), context):
                        yield reply
                except ServerError as error:
                    audit.failed(error)
                    await _abort(name, context, error, self._recorder)

        return grpc.stream_stream_rpc_method_handler(handle, inner.request_deserializer, inner.response_serializer)


async def _current(function: Method, decision: Decision, call: Call) -> bytes:
    """Return an answer that its caller may have when it is made: make it again, if that has changed meanwhile."""
    while True:
        reply = await function(await decision.decide(), call)
        if await decision.holds():
            return reply


def _when_over(context: Any, callback: Callable[[], None]) -> None:
    """Call a function when gRPC has got rid of the last message of a call."""
    context.add_done_callback(lambda _: callback())


def snake_case(name: str) -> str:
    """Return the Python name of a method of the .proto.

    >>> snake_case("GetKeyHistory")
    'get_key_history'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


async def _abort(method: str, context: Context, error: Exception, recorder: Recorder) -> NoReturn:
    """End a call with the status of an error. Any other error than a ServerError is a bug, and the log says where."""
    if not isinstance(error, ServerError):
        _log.error("bug", method=method, exc_info=error)
        error = ServerError(Reason.BUG, "the server has a bug; its log says more")
    elif error.reason is Reason.TOO_SLOW:
        _log.info("call given up", method=method, reason=error.reason, error=str(error))
    elif error.reason in _FOR_OPERATORS:
        _log.error("call failed", method=method, reason=error.reason, exc_info=error)
    recorder.error(error.reason)
    end = status.of(error)
    await context.abort(end.code, end.details, end.trailing_metadata)
