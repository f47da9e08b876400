"""`/api/metrics` and what belongs to it: figures, questions, Prometheus, memory, alerts."""

import asyncio
import re
from dataclasses import fields
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket

from omnishot_ray.api.answers import NO_STORE
from omnishot_ray.api.asked import json_answer, one_of, only, refuse
from omnishot_ray.api.memory import analyse_memory
from omnishot_ray.api.metrics_docs import (
    ALERTS_DOCS,
    EXPORT_DOCS,
    FIGURES_DOCS,
    MEMORY_DOCS,
    PROMETHEUS_DOCS,
    QUERY_DOCS,
)
from omnishot_ray.api.stream import Stream
from omnishot_ray.errors import EngineUnavailable
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import FUNCTIONS, Aggregate, LiveMetrics, Query
from omnishot_ray.metrics.samples import TABLES
from omnishot_ray.metrics.shapes import SHAPES

ARROW = "application/vnd.apache.arrow.stream"
_WINDOW = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(s|m|h|d)?")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_MEMORY_WINDOW_S = 3600.0
_EXPORT_WINDOW_S = 300.0


def build_metrics_routes(metrics: LiveMetrics, config: MetricsConfig) -> APIRouter:
    """The routes for those who watch the service."""
    router = APIRouter(tags=["metrics"])
    longest_s = config.retention_days * 86_400.0
    stream = Stream(metrics, config.window_s, config.max_subscribers)

    @router.get("/api/metrics", **FIGURES_DOCS)
    async def figures(request: Request) -> Response:
        """What the service has done of late: requests, times, queue, caches, processes, errors."""
        given = only(request, "window", "group_by", "aggregations")
        window_s = read_window(given.get("window", ""), config.window_s, longest_s)
        functions = _names(given.get("aggregations", ""))
        for function in functions:
            one_of("aggregations", function, FUNCTIONS)
        group_by = _names(given.get("group_by", ""))
        for label in group_by:
            one_of("group_by", label, tuple(SHAPES["requests"].labels))
        return json_answer(await metrics.snapshot(window_s, group_by, functions))

    @router.get("/api/metrics/query", **QUERY_DOCS)
    async def query(request: Request) -> Response:
        """Any aggregates of any table, as JSON or as an Arrow stream by `Accept`."""
        names = ("table", "window", "group_by", "aggregations", "where", "step")
        asked = read_question(only(request, *names), config.window_s, longest_s)
        return _table(request, await metrics.query(asked))

    @router.get("/api/metrics/export", **EXPORT_DOCS)
    async def export(request: Request) -> Response:
        """The newest samples of a table as they came, as JSON or as an Arrow stream by `Accept`."""
        given = only(request, "table", "window")
        table = _table_of(given)
        window_s = read_window(given.get("window", ""), _EXPORT_WINDOW_S, longest_s)
        return _table(request, await metrics.samples(table, window_s))

    @router.get("/api/memory-analysis", **MEMORY_DOCS)
    async def memory(request: Request) -> Response:
        """Memory of each process, its trend, and whether it leaks."""
        given = only(request, "window")
        window_s = read_window(given.get("window", ""), _MEMORY_WINDOW_S, longest_s)
        return json_answer(await analyse_memory(metrics, window_s))

    @router.get("/api/alerts", **ALERTS_DOCS)
    async def alerts(request: Request) -> Response:
        """Alerts that are active, then those resolved of late."""
        only(request)
        return json_answer({"alerts": await metrics.alerts()})

    @router.get("/metrics", **PROMETHEUS_DOCS)
    async def prometheus(request: Request) -> Response:
        """Everything for Prometheus: text 0.0.4, or OpenMetrics where it is preferred."""
        accept = request.headers.get("accept", "")
        try:
            body, content_type = await metrics.exposition(accept)
        except EngineUnavailable:
            body, content_type = await asyncio.to_thread(_absence, accept)
        return Response(body, headers={**NO_STORE, "Content-Type": content_type})

    @router.websocket("/api/metrics/stream")
    async def live(socket: WebSocket) -> None:
        """A snapshot a second to who sends `{"subscribe": "metrics"}`."""
        await stream.serve(socket)

    return router


def read_window(text: str, default_s: float, longest_s: float, name: str = "window") -> float:
    """Seconds of `90`, `90s`, `5m`, `2h` or `7d`. Raises `InvalidParameters`."""
    if not text:
        return default_s
    found = _WINDOW.fullmatch(text)
    seconds = float(found[1]) * _SECONDS[found[2] or "s"] if found else 0.0
    if not 1.0 <= seconds <= longest_s:
        raise refuse(name, f"from 1s to {longest_s / 86_400:g}d, such as 90s, 5m, 2h or 7d")
    return seconds


def read_question(given: dict[str, str], default_s: float, longest_s: float) -> Query:
    """The query of an address: `aggregations=count,p99:total_ms&where=status:200|304`.

    Raises `InvalidParameters`.
    """
    table = _table_of(given)
    known = {column.name: column.type for column in fields(TABLES[table])}
    where: dict[str, tuple[str | int, ...]] = {}
    for part in _names(given.get("where", "")):
        column, _, values = part.partition(":")
        if column not in known or column == "at_s":
            raise refuse("where", f"{table} has no label {column[:40]!r}")
        words = values.split("|")
        is_text = known[column] is str
        if not is_text and not all(re.fullmatch(r"-?[0-9]{1,15}", word) for word in words):
            raise refuse("where", f"{column} has whole numbers, parted by |")
        where[column] = tuple(words) if is_text else tuple(map(int, words))
    aggregates = []
    for part in _names(given.get("aggregations", "") or "count"):
        function, _, column = part.partition(":")
        aggregates.append(Aggregate(function, column))
    return Query(
        table,
        read_window(given.get("window", ""), default_s, longest_s),
        tuple(aggregates),
        _names(given.get("group_by", "")),
        where,
        read_window(given["step"], 1.0, longest_s, "step") if given.get("step") else None,
    )


def _absence(accept: str) -> tuple[bytes, str]:
    from omnishot_ray.metrics.prometheus import expose_absence  # noqa: PLC0415  # as in the hub

    return expose_absence(accept)


def _table_of(given: dict[str, str]) -> str:
    return one_of("table", given.get("table", "requests"), tuple(TABLES))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _table(request: Request, table: Any) -> Response:
    if ARROW in request.headers.get("accept", ""):
        # Brings pyarrow, which only who is asked for tables needs.
        from omnishot_ray.metrics.streams import to_stream  # noqa: PLC0415

        return Response(to_stream(table), headers=NO_STORE | {"Vary": "Accept"}, media_type=ARROW)
    response = json_answer({"columns": table.column_names, "rows": table.to_pylist()})
    response.headers["Vary"] = "Accept"
    return response
