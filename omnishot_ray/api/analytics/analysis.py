"""`/api/analytics/analysis`: trends, anomalies, impact of a change, recommendations and costs."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray.api.analytics.analysis_docs import (
    ANOMALIES_DOCS,
    COSTS_DOCS,
    IMPACT_DOCS,
    RECOMMENDATIONS_DOCS,
    SUMMARY_DOCS,
    TRENDS_DOCS,
)
from omnishot_ray.api.asked import json_answer, one_of, only, read_window, refuse
from omnishot_ray.metrics.analysis.anomalies import find_anomalies
from omnishot_ray.metrics.analysis.costs import Prices, price
from omnishot_ray.metrics.analysis.impact import FEWEST_STEPS, compare
from omnishot_ray.metrics.analysis.reading import (
    USUAL,
    Measured,
    read_figures,
    read_series,
    read_usage,
    step_for,
)
from omnishot_ray.metrics.analysis.recommendations import Knobs, recommend
from omnishot_ray.metrics.analysis.trends import FEWEST_POINTS, find_trend
from omnishot_ray.metrics.query import FUNCTIONS, Aggregate, Metrics
from omnishot_ray.metrics.samples import TABLES

_DAY_S = 86_400.0
_TREND_STEPS = 300
_IMPACT_STEPS = 120
_ANOMALY_STEPS = 4032
"""Two weeks in steps of five minutes."""


def build_analysis_routes(
    metrics: Metrics, prices: Prices | None = None, knobs: Knobs | None = None
) -> APIRouter:
    """The routes that say what the figures mean. `knobs` are the settings as they are."""
    router = APIRouter(tags=["analytics"], prefix="/api/analytics/analysis")
    prices, knobs = prices or Prices(), knobs or Knobs()

    async def cost(window_s: float) -> dict[str, Any]:
        return price(await read_usage(metrics, window_s), prices)

    async def advise(window_s: float) -> list[dict[str, Any]]:
        figures = await read_figures(metrics, window_s)
        return [one.describe() for one in recommend(figures, knobs)]

    @router.get("", **SUMMARY_DOCS)
    async def summary(request: Request) -> Response:
        """Everything but the impact of a change, of the usual figures."""
        window_s = read_window(only(request, "window").get("window", "1h"))
        trends, anomalies, advice, bill = await asyncio.gather(
            _trends(metrics, USUAL, window_s),
            _anomalies(metrics, USUAL, window_s),
            advise(window_s),
            cost(window_s),
        )
        return json_answer(
            {
                "window_s": window_s,
                "trends": trends,
                "anomalies": anomalies,
                "recommendations": advice,
                "costs": bill,
            }
        )

    @router.get("/trends", **TRENDS_DOCS)
    async def trends(request: Request) -> Response:
        """Where figures are going, by lines that a few wild values do not bend."""
        said = only(request, "window", "metric", "function")
        window_s = read_window(said.get("window", "1h"))
        return json_answer(
            {"window_s": window_s, "trends": await _trends(metrics, _measured(said), window_s)}
        )

    @router.get("/anomalies", **ANOMALIES_DOCS)
    async def anomalies(request: Request) -> Response:
        """When figures were not as they should have been."""
        said = only(request, "window", "metric", "function")
        window_s = read_window(said.get("window", "1d"))
        found = await _anomalies(metrics, _measured(said), window_s)
        return json_answer({"window_s": window_s, "anomalies": found})

    @router.get("/recommendations", **RECOMMENDATIONS_DOCS)
    async def recommendations(request: Request) -> Response:
        """What to change, why, and what it should bring."""
        window_s = read_window(only(request, "window").get("window", "1h"))
        return json_answer({"window_s": window_s, "recommendations": await advise(window_s)})

    @router.get("/impact", **IMPACT_DOCS)
    async def impact(request: Request) -> Response:
        """What a change at a time has done: as long before as after."""
        said = only(request, "at", "window", "metric", "function")
        at_s = _time_of(said.get("at", ""))
        window_s = min(read_window(said.get("window", "1h")), max(1.0, time() - at_s))
        measured = _measured(said)
        found = await asyncio.gather(*(_impact(metrics, one, at_s, window_s) for one in measured))
        return json_answer({"at": at_s, "window_s": window_s, "impacts": found})

    @router.get("/costs", **COSTS_DOCS)
    async def costs(request: Request) -> Response:
        """What the work took and cost, for 1 000 images too."""
        return json_answer(await cost(read_window(only(request, "window").get("window", "1h"))))

    return router


async def _trends(
    metrics: Metrics, wanted: Sequence[Measured], window_s: float
) -> list[dict[str, Any]]:
    step_s = step_for(window_s, _TREND_STEPS)

    async def one(measured: Measured) -> dict[str, Any]:
        at_s, values = await read_series(metrics, measured, window_s, step_s)
        trend = await asyncio.to_thread(find_trend, at_s, values)
        document: dict[str, Any] = {"metric": measured.name, "step_s": step_s, "points": len(at_s)}
        if trend is None:
            return {
                **document,
                "direction": None,
                "reason": f"fewer than {FEWEST_POINTS} points",
            }
        per_hour = {name: getattr(trend, name) * 3600 for name in ("slope", "low", "high")}
        return {
            **document,
            "direction": trend.direction,
            "per_hour": per_hour["slope"],
            "per_hour_interval": [per_hour["low"], per_hour["high"]],
            "level": trend.level,
            "change": trend.change,
        }

    return list(await asyncio.gather(*map(one, wanted)))


async def _anomalies(
    metrics: Metrics, wanted: Sequence[Measured], window_s: float
) -> list[dict[str, Any]]:
    finest_s = 10.0 if window_s <= 7200 else 60.0 if window_s <= _DAY_S else 300.0
    step_s = max(finest_s, step_for(window_s, _ANOMALY_STEPS))

    async def one(measured: Measured) -> dict[str, Any]:
        at_s, values = await read_series(metrics, measured, window_s, step_s)
        find = partial(find_anomalies, logarithmic=measured.is_duration)
        found = await asyncio.to_thread(find, at_s, values, step_s)
        return {
            "metric": measured.name,
            "step_s": step_s,
            "steps": found.steps,
            "method": found.method,
            "found": [asdict(anomaly) for anomaly in found.anomalies],
        }

    return list(await asyncio.gather(*map(one, wanted)))


async def _impact(
    metrics: Metrics, measured: Measured, at_s: float, window_s: float
) -> dict[str, Any]:
    step_s = step_for(window_s, _IMPACT_STEPS)
    before, after = await asyncio.gather(
        read_series(metrics, measured, window_s, step_s, at_s),
        read_series(metrics, measured, window_s, step_s, at_s + window_s),
    )
    found = await asyncio.to_thread(compare, before[1], after[1])
    document: dict[str, Any] = {"metric": measured.name, "step_s": step_s}
    if found is None:
        return {
            **document,
            "verdict": None,
            "reason": f"{len(before[1])} steps before and {len(after[1])} after; "
            f"it takes {FEWEST_STEPS} of each",
        }
    return {
        **document,
        "verdict": found.verdict,
        "before": found.before,
        "after": found.after,
        "difference": found.difference,
        "interval": [found.low, found.high],
        "share": found.share,
        "steps": found.steps,
    }


def _measured(said: dict[str, str]) -> tuple[Measured, ...]:
    """What `metric` and `function` ask for; the usual where they say nothing."""
    if "metric" not in said:
        if "function" in said:
            raise refuse("function", "needs a metric: say metric=requests.total_ms with it")
        return USUAL
    table, _, column = said["metric"].partition(".")
    one_of("metric", table, tuple(TABLES))
    function = one_of("function", said.get("function", "avg" if column else "rate"), FUNCTIONS)
    counts = function in ("count", "rate")
    numbers = tuple(item.name for item in fields(TABLES[table]) if item.type is not str)
    if counts == bool(column) or (column and column not in numbers):
        raise refuse(
            "metric",
            f"{said['metric'][:80]!r} with {function} is not there; count and rate take a table "
            f"alone, the others a column of it: {', '.join(numbers)}",
        )
    return (Measured(table, Aggregate(function, column)),)


def _time_of(text: str) -> float:
    """Unix seconds of the change."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = datetime.fromisoformat(text)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            seconds = math.nan
    if not 0 < seconds < time():
        raise refuse(
            "at",
            f"{text[:40]!r} is not a time in the past; say Unix seconds or ISO 8601 such as "
            "2026-05-01T12:00:00Z",
        )
    return seconds
