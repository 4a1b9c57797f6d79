"""What the server tells a tracing system of its calls. Knows no gRPC, and of what a call is about only its config.

Begin with traces.py, which tells nothing and costs nothing. otel.py makes spans, and export.py sends them to a
collector: these two import OpenTelemetry, and only a server with traces imports them.
"""
