"""A collector of traces, which takes spans by OTLP over gRPC as any other does."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.trace.v1.trace_pb2 import Span

WAIT_SECONDS = 20.0
"""No test waits for so long in the normal case."""

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Collector(grpc.GenericRpcHandler):
    """What was received.

    target    where it listens
    raw       the bytes of all requests
    headers   the metadata of the last one
    """

    def __init__(self) -> None:
        self.target = ""
        self.raw = b""
        self.headers: dict[str, str | bytes] = {}
        self._requests: list[otlp.ExportTraceServiceRequest] = []
        self._received = threading.Condition()

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a server that exports to it, at once."""
        return {
            "LAMINA_SERVER_TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{self.target}",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self._requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, Any]]:
        """What those say of themselves who have sent spans."""
        return [attributes(each.resource) for request in self._requests for each in request.resource_spans]

    def until(self, holds: Callable[[list[Span]], Any]) -> list[Span]:
        """Wait until something is true of the spans, and return them."""
        with self._received:
            assert self._received.wait_for(lambda: holds(self.spans), WAIT_SECONDS), self.spans
            return self.spans

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Return the handler of OTLP's only method."""
        return grpc.unary_unary_rpc_method_handler(self._export) if handler_call_details.method == _EXPORT else None

    def _export(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._received:
            self.raw += request
            self.headers = dict(context.invocation_metadata())
            self._requests.append(otlp.ExportTraceServiceRequest.FromString(request))
            self._received.notify_all()
        return otlp.ExportTraceServiceResponse().SerializeToString()


def attributes(of: Any) -> dict[str, Any]:
    """Return the attributes of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Collect spans while the block lasts."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((collector,))
    collector.target = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None).wait()
