"""Spans for OpenTelemetry, by its conventions for RPC.

A span has names, codes and numbers: no value, key, token or text of an error. So no span records an exception, whose
words may quote a value.

The way of two commits that share a transaction, each arrow a link:

    lamina.v1.ConfigService/Commit           (the span of a call; its parent is the client's)
    ├ queue                                  until the transaction begins
    └ transaction  <->  both calls           the batch; it is a child of the first of its calls that is recorded
    lamina.v1.ConfigService/Commit           of another trace
    └ queue
"""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import Token
from typing import Self

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lamina_server.traces.traces import NO_BATCH, UNKNOWN_METHOD, BatchTrace, CallTrace, QueueTrace, Traces

METHOD, CODE, ERROR = "rpc.method", "rpc.response.status_code", "error.type"
CONFIG, REASON, COMMANDS = "lamina.config", "lamina.reason", "lamina.batch.commands"

_SYSTEM = {"rpc.system.name": "grpc"}
_HEADERS = ("traceparent", "tracestate")
_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""The codes that are errors of a server by the conventions. The others concern the caller."""

_propagator = TraceContextTextMapPropagator()


class OtelTraces(Traces):
    """Makes the spans of a provider."""

    def __init__(self, provider: TracerProvider, release: str) -> None:
        self._tracer = provider.get_tracer("lamina_server", release)

    def call(self, method: str, headers: Iterable[tuple[str, str | bytes]]) -> CallTrace:
        """Return the span of a call."""
        carrier = {name: value for name, value in headers if name in _HEADERS}
        context = _propagator.extract(carrier, Context())
        attributes = {**_SYSTEM, METHOD: method}
        name = "grpc" if method == UNKNOWN_METHOD else method  # as the conventions say
        return _Call(self._tracer.start_span(name, context, SpanKind.SERVER, attributes), context)

    def about(self, config: str) -> None:
        """Name the config of the current call."""
        if config:
            trace.get_current_span().set_attribute(CONFIG, config)

    def queue(self) -> QueueTrace:
        """Return the span of a wait."""
        return _Queue(trace.get_current_span(), self._tracer.start_span("queue"))

    def batch(self, waits: Iterable[QueueTrace]) -> BatchTrace:
        """Return the span of a transaction, if any of its calls is recorded."""
        commands, calls = 0, list[Span]()
        for wait in waits:
            commands += 1
            if isinstance(wait, _Queue):
                wait.end()
                if wait.call.is_recording():  # no more, if its caller has left
                    calls.append(wait.call)
        if not calls:
            return NO_BATCH
        links = [Link(call.get_span_context()) for call in calls]
        # A child of a call that is recorded, so that it is recorded too, however few calls are.
        context = trace.set_span_in_context(calls[0], Context())
        span = self._tracer.start_span("transaction", context, attributes={COMMANDS: commands}, links=links)
        for call in calls:
            call.add_link(span.get_span_context())
        return _Batch(span)


class _Call(CallTrace):
    __slots__ = ("_code", "_context", "_span", "_token")

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._context = context
        self._code = "OK"
        self._token: Token[Context]

    def __enter__(self) -> Self:
        self._token = attach(trace.set_span_in_context(self._span, self._context))
        return self

    def __exit__(self, *_: object) -> None:
        detach(self._token)
        self._span.set_attribute(CODE, self._code)
        self._span.end()

    def failed(self, code: str, reason: str) -> None:
        """Note the code and the reason."""
        self._code = code
        if reason:
            self._span.set_attribute(REASON, reason)
        if code in _FAULTS:
            self._span.set_attribute(ERROR, code)
            self._span.set_status(Status(StatusCode.ERROR))


class _Queue(QueueTrace):
    __slots__ = ("_span", "call")

    def __init__(self, call: Span, span: Span) -> None:
        self.call = call
        self._span: Span | None = span

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the span once."""
        span, self._span = self._span, None
        if span is not None:
            span.end()


class _Batch(BatchTrace):
    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def current(self) -> AbstractContextManager[object]:
        """Make the span current."""
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def end(self) -> None:
        """End the span."""
        self._span.end()


def log_fields() -> Mapping[str, str]:
    """Return the ids of the current span, for a line of the log."""
    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(found.trace_id), "span_id": trace.format_span_id(found.span_id)}
