"""OpenTelemetry's span of each call, for both shells: only a client that was made with a `tracer_provider` has this.

Each try of a verb is a call on the wire, so it has a span of its own, a child of the span that is current. A watch's
stream may last for hours, and outlive what opened it. So it begins a trace of its own, with a link to the span that was
current. Each call carries its trace to the server, in the header `traceparent`. No span has a key, a value or a token,
or the words of an error, which may quote one.
"""

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import grpc

from lamina._wire.rpcs import Rpc

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span, TracerProvider
else:
    TracerProvider = Any  # the library is an extra, and annotations of public functions can be resolved without it

__all__ = ["TracerProvider", "Tracing"]

OK: Final = "OK"
CANCELLED: Final = "CANCELLED"


class Tracing:
    """Makes the spans of one client's calls. Shared by threads."""

    def __init__(self, provider: TracerProvider) -> None:
        # Here: only those who have made a provider need the library.
        from opentelemetry import context, trace  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self._trace = trace
        self._root = context.Context()
        self._inject = TraceContextTextMapPropagator().inject
        self._tracer = provider.get_tracer("lamina", version("lamina"))
        self._error = trace.Status(trace.StatusCode.ERROR)

    def sync(self, rpc: Rpc[Any, Any], server: tuple[str, int | None], call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of grpc that also makes a span."""

        def unary(request: Any, *, timeout: float, metadata: Any) -> Any:
            span, headers = self._begin(rpc, server, request)
            code = None
            try:
                reply = call(request, timeout=timeout, metadata=(*metadata, *headers))
                code = OK
                return reply
            except grpc.RpcError as error:
                code = _code(error)
                raise
            finally:
                self._end(span, code)

        def stream(request: Any, *, metadata: Any) -> SyncStream:
            span, headers = self._begin(rpc, server, request)
            return SyncStream(call(request, metadata=(*metadata, *headers)), lambda code: self._end(span, code))

        return stream if rpc.streaming else unary

    def aio(self, rpc: Rpc[Any, Any], server: tuple[str, int | None], call: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of grpc.aio that also makes a span."""

        async def unary(request: Any, *, timeout: float, metadata: Any) -> Any:
            span, headers = self._begin(rpc, server, request)
            code = None
            try:
                reply = await call(request, timeout=timeout, metadata=grpc.aio.Metadata(*metadata, *headers))
                code = OK
                return reply
            except grpc.RpcError as error:
                code = _code(error)
                raise
            except asyncio.CancelledError:
                code = CANCELLED
                raise
            finally:
                self._end(span, code)

        def stream(request: Any, *, metadata: Any) -> AioStream:
            span, headers = self._begin(rpc, server, request)
            inner = call(request, metadata=grpc.aio.Metadata(*metadata, *headers))
            return AioStream(inner, lambda code: self._end(span, code))

        return stream if rpc.streaming else unary

    def _begin(
        self, rpc: Rpc[Any, Any], server: tuple[str, int | None], request: Any
    ) -> "tuple[Span, tuple[tuple[str, str], ...]]":
        """Begin a span; return it, and the headers that carry it."""
        name = rpc.path[1:]
        address, port = server
        attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": name, "server.address": address}
        if port is not None:
            attributes["server.port"] = port
        if config := getattr(request, "config", "") or getattr(request, "target", ""):
            attributes["lamina.config"] = config
        context: Context | None = None
        links: list[Link] = []
        if rpc.streaming:
            opened_in = self._trace.get_current_span().get_span_context()
            context, links = self._root, [self._trace.Link(opened_in)] if opened_in.is_valid else []
        span = self._tracer.start_span(name, context, self._trace.SpanKind.CLIENT, attributes, links)
        carrier: dict[str, str] = {}
        self._inject(carrier, self._trace.set_span_in_context(span, self._root))
        return span, tuple(carrier.items())

    def _end(self, span: "Span", code: str | None) -> None:
        """End a span with the name of the status code; None for an end that is not the server's or gRPC's."""
        if code is not None:
            span.set_attribute("rpc.response.status_code", code)
        if code not in {OK, CANCELLED}:  # what this program has cancelled is no error
            span.set_attribute("error.type", code or "_OTHER")
            span.set_status(self._error)
        span.end()


class _Ending:
    """Ends the span of a stream once, on whichever thread that is.

    The span of a stream that is garbage collected is never told: to end it there could take a lock that is held.
    """

    def __init__(self, end: Callable[[str], None]) -> None:
        self._ends = [end]

    def __call__(self, code: str) -> None:
        try:
            end = self._ends.pop()
        except IndexError:
            return
        end(code)


class SyncStream:
    """A stream of grpc, as far as the shell uses it."""

    def __init__(self, call: Any, end: Callable[[str], None]) -> None:
        self._call = call
        self._end = _Ending(end)

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except StopIteration:
            self._end(OK)
            raise
        except grpc.RpcError as error:
            self._end(_code(error))
            raise

    def cancel(self) -> None:
        """Cancel the stream."""
        self._call.cancel()
        self._end(CANCELLED)


class AioStream:
    """A stream of grpc.aio, as far as the shell uses it."""

    def __init__(self, call: Any, end: Callable[[str], None]) -> None:
        self._call = call
        self._end = _Ending(end)

    async def read(self) -> Any:
        """Read the next message."""
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            self._end(_code(error))
            raise
        if message is grpc.aio.EOF:
            self._end(OK)
        return message

    def cancel(self) -> None:
        """Cancel the stream."""
        self._call.cancel()
        self._end(CANCELLED)


def _code(error: Any) -> str:
    code: str = error.code().name
    return code
