"""The methods of the service as gRPC has them: raw bytes in and out, and errors as statuses.

The methods come from the service descriptor, so every method in the .proto has an answer: a
method that the service lacks is NOT_IMPLEMENTED. gRPC could parse requests itself, but answers
malformed bytes with UNKNOWN and without a reason.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access.authentication import Authentication
from lamina_server.domain.errors import Reason, ServerError, UnimplementedError
from lamina_server.rpc import status
from lamina_server.rpc.draining import Draining
from lamina_server.rpc.service import Call, Service
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


class ServiceHandler(grpc.GenericRpcHandler):
    """Every method under the service's name."""

    def __init__(self, service: Service, authentication: Authentication, draining: Draining) -> None:
        self._authentication = authentication
        self._draining = draining
        self._prefix = f"/{SERVICE.full_name}/"
        self._handlers = {method.name: self._handler(method, service) for method in SERVICE.methods}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the handler of a method; None for the methods of other services."""
        method = handler_call_details.method
        if not method.startswith(self._prefix):
            return None
        name = method.removeprefix(self._prefix)
        return self._handlers.get(name) or self._missing(name)

    def _handler(self, method: MethodDescriptor, service: Service) -> Handler:
        function = getattr(service, snake_case(method.name), None)
        if function is None:
            return self._missing(method.name)
        if method.server_streaming:
            return self._streaming(method.name, function)
        return self._unary(method.name, function)

    def _unary(self, name: str, function: Callable[[bytes, Call], Awaitable[bytes]]) -> Handler:
        async def handle(data: bytes, context: Context) -> bytes:
            async def answer() -> bytes:
                return await function(data, await self._call(context))

            return await self._answer(name, context, answer())

        return grpc.unary_unary_rpc_method_handler(handle)

    def _streaming(self, name: str, function: Callable[[bytes, Call, Send, ExitStack], Awaitable[None]]) -> Handler:
        async def handle(data: bytes, context: Context) -> None:
            with ExitStack() as end:  # after the status, which waits for the messages before it

                async def answer() -> None:
                    await function(data, await self._call(context), context.write, end)

                await self._answer(name, context, answer())

        return grpc.unary_stream_rpc_method_handler(handle)

    async def _call(self, context: Context) -> Call:
        metadata: Any = context.invocation_metadata() or ()
        return Call(await self._authentication.caller(metadata), context.peer())

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
            await _abort(name, context, UnimplementedError(f"this server has no method {name}"))

        # A stream of requests is also what a single request looks like, before it is read.
        return grpc.stream_stream_rpc_method_handler(handle)


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
