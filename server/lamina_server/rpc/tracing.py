"""The span of each call of our service, around all that handlers.py does. Only a server with traces has this.

A watch has one span, which ends with its stream, and tells nothing of its messages. Health and reflection have none:
orchestrators ask for health every few seconds.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from lamina_server.domain.errors import ServerError
from lamina_server.rpc.ended import code_name
from lamina_server.rpc.guard import Context
from lamina_server.rpc.handlers import SERVICE, Handler, ServiceHandler
from lamina_server.traces.traces import UNKNOWN_METHOD, Traces

Function = Callable[[Any, Context], Awaitable[Any]]


class TracedHandler(grpc.GenericRpcHandler):
    """Every method of our service, with a span for each call."""

    def __init__(self, handler: ServiceHandler, traces: Traces) -> None:
        self._handler = handler
        self._traces = traces
        self._known = {f"/{SERVICE.full_name}/{method.name}" for method in SERVICE.methods}
        self._traced: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the handler of a method; None for the methods of other services."""
        path = handler_call_details.method
        traced = self._traced.get(path)
        if traced is None:
            handler = self._handler.service(handler_call_details)
            if handler is None:
                return None
            traced = self._with_span(handler, path[1:] if path in self._known else UNKNOWN_METHOD)
            if path in self._known:  # others are without number
                self._traced[path] = traced
        return traced

    def _with_span(self, handler: Handler, method: str) -> Handler:
        inner: Any = handler
        if inner.response_streaming:
            return grpc.stream_stream_rpc_method_handler(_spanned(inner.stream_stream, method, self._traces))
        return grpc.stream_unary_rpc_method_handler(_spanned(inner.stream_unary, method, self._traces))


def _spanned(function: Function, method: str, traces: Traces) -> Any:
    async def handle(requests: Any, context: Context) -> Any:
        headers: Any = context.invocation_metadata() or ()
        with traces.call(method, headers) as call:
            try:
                return await function(requests, context)
            except BaseException as error:
                call.failed(code_name(type(error), context), _reason(error))
                raise

    return handle


def _reason(error: BaseException) -> str:
    """Return the reason code of the error of ours for which a call was aborted; empty if there is none."""
    cause = error.__context__
    return cause.reason.value if isinstance(cause, ServerError) else ""
