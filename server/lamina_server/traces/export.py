"""Sends spans to a collector by OTLP, as OpenTelemetry's own variables say, such as OTEL_EXPORTER_OTLP_ENDPOINT.

The library's log quotes some of these variables, which may have a password. So ours tells of an outage instead.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.version import __version__ as sdk_version

from lamina_server import logs
from lamina_server.traces.otel import OtelTraces, log_fields
from lamina_server.traces.traces import TracesError

END_SECONDS: Final = 1.0
"""How long the last spans may take at the server's end. A collector that answers needs less."""

_QUOTING: Final = ("opentelemetry.exporter", "opentelemetry.sdk.resources", "opentelemetry.util")
"""The loggers of the library that quote variables or addresses."""


@contextmanager
def exported(release: str) -> Iterator[OtelTraces]:
    """Export spans while the block lasts. Raise TracesError if OpenTelemetry refuses its variables."""
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        provider = TracerProvider(resource=_resource(release), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_Exporter()))
    except Exception as error:  # noqa: BLE001 - each variable has its own, whose words may quote it
        kind = type(error).__name__
        raise TracesError(f"OpenTelemetry refuses one of its variables ({kind}): check those with OTEL_") from None
    try:
        with logs.with_fields(log_fields):
            yield OtelTraces(provider, release)
    finally:
        # A thread that nobody waits for any longer: the library would wait for 30 s for a collector that is away.
        ending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(END_SECONDS)


def _resource(release: str) -> Resource:
    """Return what the server says of itself, and what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say.

    The library has other detectors, one of which tells the command line: that may have a database's password.
    """
    ours = {
        "service.name": "lamina-server",
        "service.version": release,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
    }
    return Resource(ours).merge(OTELResourceDetector().detect())


class _Exporter(SpanExporter):
    """The library's exporter, whose failures are logged as outages."""

    def __init__(self) -> None:
        self._exporter = OTLPSpanExporter()
        self._outage = logs.OutageLog("traces not exported", "traces exported again")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans."""
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._outage.recovered()
        else:
            self._outage.failed(TracesError("the collector takes no spans, which are dropped: is it there?"))
        return result

    def shutdown(self) -> None:
        """End the connection."""
        self._exporter.shutdown()
