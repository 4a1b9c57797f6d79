"""The methods of the service as gRPC has them: raw bytes in and out, and errors as statuses.

The methods come from the service descriptor, so every method in the .proto has an answer: a
method that the service lacks is NOT_IMPLEMENTED. gRPC could parse requests itself, but answers
malformed bytes with UNKNOWN and without a reason.

A call goes on only after each of these steps, whatever its method: who calls, parse, decide whether
the caller may (see permissions.py).
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access.authentication import Authentication
from lamina_server.domain.errors import Reason, ServerError, UnimplementedError
from lamina_server.rpc import permissions, status, transport
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.permissions import Permissions, Special, check_lines
from lamina_server.rpc.revocation import Revocation
from lamina_server.rpc.service import Call, Service
from lamina_server.rpc.transport import UnsafeError
from lamina_server.rpc.watch.in_flight import Send

SERVICE = pb.DESCRIPTOR.services_by_name["ConfigService"]

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"

_FOR_OPERATORS = {
    Reason.STORE_UNAVAILABLE,
    Reason.STORE_UNUSABLE,
    Reason.DISK_FULL,
    Reason.HASH_MISMATCH,
    Reason.CURSOR_FORKED,
}
"""The reasons that are logged for the operator; other errors concern the caller alone."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Guard:
    """What stands before each method: who calls, and whether the caller may.

    revocation  ends watches whose caller may no longer
    """

    def __init__(self, authentication: Authentication, decisions: Permissions, revocation: Revocation) -> None:
        self._authentication = authentication
        self._permissions = decisions
        self._revocation = revocation

    async def call(self, context: Context) -> Call:
        """Return who calls. Raise NO_CREDENTIALS or BAD_CREDENTIALS if nobody knows."""
        metadata: Any = context.invocation_metadata() or ()
        certificate = transport.client_certificate(context) if self._authentication.needs_certificate else b""
        return Call(await self._authentication.caller(metadata, certificate), context.peer())

    def decide(self, method: str, request: Any, call: Call) -> Any:
        """Return a parsed request as its caller may make it. Raise NOT_ALLOWED if it may not."""
        return self._permissions.decide(method, request, call.caller)

    @contextmanager
    def watched(self, method: str, parsed: Any, call: Call, context: Context) -> Iterator[tuple[Any, Send]]:
        """Yield a watch's request as its caller may make it, and how it sends messages as long as the caller may."""

        async def decide() -> Any:
            return self.decide(method, parsed, await self.call(context))

        request = self.decide(method, parsed, call)
        with self._revocation.watched(decide, request, call.caller, context.write) as send:
            yield request, send


class ServiceHandler(grpc.GenericRpcHandler):
    """Every method under the service's name."""

    def __init__(self, service: Service, guard: Guard, draining: Draining) -> None:
        check_lines(f"{SERVICE.full_name}/{method.name}" for method in SERVICE.methods)
        self._service = service
        self._guard = guard
        self._draining = draining
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

    def _unary(self, method: MethodDescriptor, function: Callable[[Any, Call], Awaitable[bytes]]) -> Handler:
        guard, service = self._guard, self._service
        name, line = snake_case(method.name), f"{SERVICE.full_name}/{method.name}"

        async def handle(data: bytes, context: Context) -> bytes:
            async def answer() -> bytes:
                call = await guard.call(context)
                parsed = await service.parse(name, data, call.caller)
                return await function(guard.decide(line, parsed, call), call)

            return await self._answer(method.name, context, answer())

        return grpc.unary_unary_rpc_method_handler(handle)

    def _streaming(
        self, method: MethodDescriptor, function: Callable[[Any, Call, Send, ExitStack], Awaitable[None]]
    ) -> Handler:
        guard, service = self._guard, self._service
        name, line = snake_case(method.name), f"{SERVICE.full_name}/{method.name}"

        async def handle(data: bytes, context: Context) -> None:
            with ExitStack() as end:  # after the status, which waits for the messages before it

                async def answer() -> None:
                    call = await guard.call(context)
                    parsed = await service.parse(name, data, call.caller)
                    with guard.watched(line, parsed, call, context) as (request, send):
                        await function(request, call, send, end)

                await self._answer(method.name, context, answer())

        return grpc.unary_stream_rpc_method_handler(handle)

    async def _answer(self, name: str, context: Context, answer: Awaitable[T]) -> T:
        with self._draining:
            try:
                return await answer
            except grpc.aio.BaseError:  # the caller has left, or the server was stopped: no one can be told
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets a status
                await _abort(name, context, error)

    def _missing(self, name: str) -> Handler:
        async def handle(_: Any, context: Context) -> None:
            async def answer() -> None:
                await self._guard.call(context)
                raise UnimplementedError(f"this server has no method {name}")

            await self._answer(name, context, answer())

        # A stream of requests is also what a single request looks like, before it is read.
        return grpc.stream_stream_rpc_method_handler(handle)


class OtherServices:
    """Takes the services that others have written, as gRPC's server would, and guards their methods.

    handlers  of their methods, for gRPC's server
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
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
            try:
                await self._guard.call(context)
            except ServerError as error:
                await _abort(name, context, error)
            async for reply in inner.stream_stream(requests, context):
                yield reply

        return grpc.stream_stream_rpc_method_handler(handle, inner.request_deserializer, inner.response_serializer)


def snake_case(name: str) -> str:
    """Return the Python name of a method of the .proto.

    >>> snake_case("GetKeyHistory")
    'get_key_history'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


async def _abort(method: str, context: Context, error: Exception) -> NoReturn:
    """End a call with the status of an error. Any other error than a ServerError is a bug, and the log says where."""
    if not isinstance(error, ServerError):
        _log.error("bug", method=method, exc_info=error)
        error = ServerError(Reason.BUG, "the server has a bug; its log says more")
    elif error.reason is Reason.TOO_SLOW:
        _log.info("watch given up", reason=error.reason, error=str(error))
    elif error.reason in _FOR_OPERATORS:
        _log.error("call failed", method=method, reason=error.reason, exc_info=error)
    end = status.of(error)
    await context.abort(end.code, end.details, end.trailing_metadata)
