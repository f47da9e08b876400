"""What the OpenAPI document says of the routes of the metrics."""

from typing import Any

from starlette.responses import Response

from omnishot_ray.api.openapi import json_docs, or_empty, problem_docs
from omnishot_ray.metrics.query import FUNCTIONS
from omnishot_ray.metrics.samples import TABLES
from omnishot_ray.metrics.shapes import SHAPES

_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_MAYBE = {"type": ["number", "null"]}
_TEXT = {"type": "string"}
_COUNTS = {"type": "object", "additionalProperties": _COUNT}
_TIMES = dict.fromkeys(("avg", "p50", "p95", "p99"), _MAYBE)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _parameter(name: str, description: str, **schema: Any) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": or_empty({"type": "string", **schema}),
    }


_PROCESS = _object(
    process=_TEXT, kind=_TEXT, cpu=_NUMBER, rss_bytes=_COUNT, heap_bytes=_COUNT, loop_lag_ms=_NUMBER
)

SNAPSHOT_SCHEMA = _object(
    at={"type": "string", "format": "date-time"},
    window_s=_NUMBER,
    requests=_object(
        total=_COUNT, per_s=_NUMBER, errors=_COUNT, error_rate=_NUMBER, by_status=_COUNTS
    ),
    latency_ms=_object(**_TIMES),
    routes=_list(
        _object(route=_TEXT, requests=_COUNT, per_s=_NUMBER, error_rate=_NUMBER, **_TIMES)
    ),
    renditions_per_s=_NUMBER,
    lanes=_COUNTS,
    queue=_object(waiting=_COUNT, waiting_ms=_NUMBER, active=_COUNT),
    cache=_object(hit_rate=_NUMBER, tiers=_COUNTS, bytes=_COUNT, entries=_COUNT),
    bytes=_object(**{"in": _COUNT, "out": _COUNT, "saved": _COUNT}),
    cpu={**_NUMBER, "description": "Cores that all processes keep busy."},
    memory_bytes=_COUNT,
    replicas={**_COUNT, "description": "Resizers that run."},
    processes=_list(_PROCESS),
    formats=_COUNTS,
    alerts=_list({"type": "object"}),
    recent_errors=_list(
        _object(at=_TEXT, route=_TEXT, status={"type": "integer"}, error=_TEXT, request_id=_TEXT)
    ),
    dropped_samples=_COUNT,
)
"""Of `GET /api/metrics` and of each message of `WS /api/metrics/stream`."""

_WINDOW = _parameter("window", "How far to look back: `90s`, `5m`, `2h`, `7d`.")
_TABLE = _parameter("table", "Default: requests.", enum=list(TABLES))

FIGURES_DOCS = json_docs(
    "Requests, times, queue, caches, processes and errors of late", SNAPSHOT_SCHEMA, 400, 503
)
FIGURES_DOCS["openapi_extra"] = {
    "parameters": [
        _WINDOW,
        _parameter(
            "group_by",
            f"Adds `groups`, a row for each combination of {', '.join(SHAPES['requests'].labels)}.",
        ),
        _parameter("aggregations", f"Of the groups, in milliseconds: {', '.join(FUNCTIONS)}."),
    ]
}

_ROWS = _object(columns=_list(_TEXT), rows=_list({"type": "object"}))
_ARROW = {"schema": {"type": "string", "format": "binary"}}


def _table_docs(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    docs = json_docs(summary, _ROWS, 400, 503)
    docs["responses"][200]["content"]["application/vnd.apache.arrow.stream"] = _ARROW
    docs["openapi_extra"] = {"parameters": list(parameters)}
    return docs


QUERY_DOCS = _table_docs(
    "Aggregates of a table, by labels and steps of time",
    _TABLE,
    _WINDOW,
    _parameter("group_by", "Columns, parted by commas."),
    _parameter(
        "aggregations", f"`count`, `rate`, or one of {', '.join(FUNCTIONS[2:])}: `p99:total_ms`."
    ),
    _parameter("where", "Values allowed in columns: `status:200|304,format:webp`."),
    _parameter("step", "A row for each step of this length, in whole seconds: `10s`, `1m`."),
)
EXPORT_DOCS = _table_docs("The newest samples of a table as they came", _TABLE, _WINDOW)

MEMORY_DOCS = json_docs(
    "Memory of each process, its trend, and whether it leaks",
    _object(
        at=_TEXT,
        window_s=_NUMBER,
        verdict={"enum": ["leaking", "growing", "unknown", "steady", "shrinking"]},
        confidence=_NUMBER,
        reasoning=_TEXT,
        total_rss_bytes=_COUNT,
        memory_used_share=_MAYBE,
        processes=_list(
            _object(
                process=_TEXT,
                kind=_TEXT,
                rss_bytes=_COUNT,
                heap_bytes=_COUNT,
                trend_mb_per_min=_MAYBE,
                verdict=_TEXT,
                confidence=_NUMBER,
                reasoning=_TEXT,
            )
        ),
        largest_pools=_list(_object(pool=_TEXT, bytes=_COUNT)),
        recommendations=_list(_TEXT),
    ),
    400,
    503,
)
MEMORY_DOCS["openapi_extra"] = {"parameters": [_WINDOW]}

ALERTS_DOCS = json_docs(
    "Active and recent alerts", _object(alerts=_list({"type": "object"})), 400, 503
)

PROMETHEUS_DOCS: dict[str, Any] = {
    "summary": "All metrics for Prometheus",
    "response_class": Response,
    "responses": {
        200: {
            "description": "Text 0.0.4, or OpenMetrics where it is preferred",
            "content": {
                kind: {"schema": _TEXT} for kind in ("text/plain", "application/openmetrics-text")
            },
        },
        **problem_docs(),
    },
}
