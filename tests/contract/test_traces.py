"""Spans on their way out, and that nothing of them is there while tracing is off."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider

from omnishot_ray.telemetry.config import TraceConfig
from omnishot_ray.telemetry.exporters import export_otlp

pytestmark = pytest.mark.timeout(60)


class Collector:
    """Takes what an OpenTelemetry collector takes: protobuf by HTTP at `/v1/traces`."""

    def __init__(self) -> None:
        self.spans: list[str] = []
        self.headers: list[str | None] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    message = ExportTraceServiceRequest.FromString(body)
                    collector.headers.append(self.headers.get("X-Tenant"))
                    collector.spans += [
                        span.name
                        for resource in message.resource_spans
                        for scope in resource.scope_spans
                        for span in scope.spans
                    ]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


@pytest.fixture
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


def test_spans_reach_a_collector(collector: Collector, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
    provider = TracerProvider()
    for processor in export_otlp():
        provider.add_span_processor(processor)
    with provider.get_tracer("test").start_as_current_span("request"):
        pass
    assert provider.force_flush(20_000)
    provider.shutdown()
    assert collector.spans == ["request"]
    assert collector.headers == ["shop"]


def test_the_exporter_is_named_as_ray_serve_imports_it() -> None:
    tracing_utils = pytest.importorskip("ray.serve._private.tracing_utils")
    path = TraceConfig(exporter="otlp").import_path
    assert tracing_utils.import_attr(path) is export_otlp
    tracing_utils._validate_tracing_exporter(export_otlp)
    assert TraceConfig(exporter="shop.spans:export").import_path == "shop.spans:export"
    assert TraceConfig().import_path == ""


def test_nothing_of_it_is_imported_while_it_is_off() -> None:
    """The API of OpenTelemetry itself comes with FastAPI, Redis' client and Ray."""
    program = (
        "import sys, omnishot_ray.api.application, omnishot_ray.settings, "
        "omnishot_ray.telemetry.logs, omnishot_ray.telemetry.collector\n"
        "print([name for name in sys.modules if name in {'opentelemetry.exporter', "
        "'opentelemetry.sdk.trace.export', 'omnishot_ray.telemetry.spans', "
        "'omnishot_ray.telemetry.exporters', 'grafana_client', 'grafana_foundation_sdk'}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert done.stdout.strip() == "[]"
