"""Where spans go. Imported by Ray Serve, in each of its processes, when tracing is on."""

from typing import Any


def export_otlp() -> list[Any]:
    """Span processors for an OpenTelemetry collector, over HTTP.

    The address and its headers come from OpenTelemetry's own environment
    (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS`). Raises `ImportError` without
    `omnishot-ray[traces]`.
    """
    # Nothing of this is imported while tracing is off.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    return [BatchSpanProcessor(OTLPSpanExporter())]
