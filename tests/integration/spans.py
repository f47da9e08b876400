"""Spans into a file, a JSON document a line. Imported by the processes of the service."""

import json
import os

from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class FileExporter(SpanExporter):
    def export(self, spans):
        lines = "".join(
            json.dumps(
                {
                    "name": span.name,
                    "trace": f"{span.context.trace_id:032x}",
                    "span": f"{span.context.span_id:016x}",
                    "parent": f"{span.parent.span_id:016x}" if span.parent else None,
                    "attributes": {name: str(value) for name, value in span.attributes.items()},
                }
            )
            + "\n"
            for span in spans
        )
        descriptor = os.open(
            os.environ["TESTS_SPANS_FILE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )
        os.write(descriptor, lines.encode())
        os.close(descriptor)
        return SpanExportResult.SUCCESS


def export_to_file():
    return [SimpleSpanProcessor(FileExporter())]
