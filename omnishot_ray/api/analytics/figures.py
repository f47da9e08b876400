"""What is read of the visitors' samples: vitals at the 75th percentile, the funnel, the health."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from math import ceil
from time import time
from typing import Any

from omnishot_ray.metrics.alerts import BROWSER_PREFIX
from omnishot_ray.metrics.funnel import describe_funnel, describe_parts, gather_sessions
from omnishot_ray.metrics.query import Aggregate, Metrics, Query
from omnishot_ray.metrics.vitals import RATINGS, VITALS

_COUNT = Aggregate("count")
_P75 = Aggregate("p75", "value")
_ENOUGH = 20
"""Page views below which a rating says little."""
_MOST_ROWS = 50
_TREND_STEPS = 24
_MOST_STEPS = 20_000
_MOST_SEEN = 100_000
"""Rows after which an answer of the store is cut."""
_SERVER_ERRORS = {"status": tuple(range(500, 600))}

Rows = list[dict[str, Any]]


async def read_performance(metrics: Metrics, window_s: float) -> dict[str, Any]:
    """The document of `/api/analytics/dashboard/performance`."""

    def vitals(*group_by: str, step_s: float | None = None) -> Query:
        return Query("vitals", window_s, (_P75, _COUNT), ("name", *group_by), step_s=step_s)

    whole, rated, pages, devices, trend, events = await asyncio.gather(
        _rows(metrics, vitals()),
        _rows(metrics, Query("vitals", window_s, group_by=("name", "rating"))),
        _rows(metrics, vitals("page")),
        _rows(metrics, vitals("device")),
        _rows(metrics, vitals(step_s=float(ceil(window_s / _TREND_STEPS)))),
        _rows(metrics, Query("events", window_s, group_by=("type",))),
    )
    funnel, alerts = await asyncio.gather(read_funnel(metrics, window_s), metrics.alerts())
    events = [row for row in events if not row["type"].startswith(BROWSER_PREFIX)]
    return {
        "window_s": window_s,
        "at": time(),
        "vitals": _vitals(whole, rated),
        "pages": _parts("page", pages),
        "devices": _parts("device", devices),
        "trend": [
            {"at": row["at_s"], "name": row["name"], "p75": row["p75_value"], "count": row["count"]}
            for row in sorted(trend, key=lambda row: (row["name"], row["at_s"]))
            if row["count"]
        ],
        "funnel": funnel,
        "events": sorted(
            ({"type": row["type"], "count": row["count"]} for row in events),
            key=lambda one: -one["count"],
        )[:_MOST_ROWS],
        "alerts": [alert for alert in alerts if alert.get("source") == "browser"],
    }


async def read_funnel(
    metrics: Metrics, window_s: float, rule: str = "reached", by: str = ""
) -> dict[str, Any]:
    """Completion and drop-off per step; with `by` (`segment`, `device`) of each part as well."""
    seen = await metrics.query(
        Query(
            "funnel",
            window_s,
            group_by=("session_id", "step", "segment", "device"),
            # Whole seconds are enough to tell what came first; there may be so many steps of time.
            step_s=float(ceil(window_s / _MOST_STEPS)),
        )
    )
    sessions = gather_sessions(seen)
    document = {
        "window_s": window_s,
        "rule": rule,
        "complete": seen.num_rows < _MOST_SEEN,
        **describe_funnel(sessions.first_s, rule),
    }
    if by:
        document["by"] = by
        document["parts"] = describe_parts(sessions, by, rule)
    return document


async def read_health(metrics: Metrics, window_s: float) -> dict[str, Any]:
    """The document of `/api/analytics/system/health`: the service as its visitors have it."""

    def requests(where: Mapping[str, tuple[str | int, ...]]) -> Query:
        wanted = (_COUNT, Aggregate("rate"), Aggregate("p95", "total_ms"))
        return Query("requests", window_s, wanted, where=where)

    whole, failed, vitals, resources, gauges = await asyncio.gather(
        _rows(metrics, requests({})),
        _rows(metrics, requests(_SERVER_ERRORS)),
        _rows(metrics, Query("vitals", window_s, (_P75, _COUNT), ("name",))),
        _rows(metrics, Query("resources", window_s, (Aggregate("max", "memory_used_share"),))),
        _rows(metrics, Query("gauges", window_s, (Aggregate("max", "waiting"),))),
    )
    alerts = await metrics.alerts()
    count = _first(whole, "count") or 0
    active = [alert for alert in alerts if alert.get("state") == "active"]
    poor = [one["name"] for one in _vitals(vitals, []) if one["rating"] == "poor" and one["enough"]]
    worst = {alert["severity"] for alert in active}
    status = "critical" if "critical" in worst else "ok"
    if status == "ok" and (poor or "warning" in worst):
        status = "degraded"
    return {
        "status": status,
        "window_s": window_s,
        "at": time(),
        "requests": count,
        "requests_per_s": _first(whole, "rate"),
        "p95_ms": _first(whole, "p95_total_ms") if count else None,
        "error_rate": round((_first(failed, "count") or 0) / count, 5) if count else None,
        "waiting": _first(gauges, "max_waiting"),
        "memory_used_share": _first(resources, "max_memory_used_share"),
        "poor_vitals": poor,
        "alerts": [
            {name: alert[name] for name in ("name", "severity", "value", "threshold")}
            for alert in active
        ],
    }


def _vitals(whole: Rows, rated: Rows) -> Rows:
    shares: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rated:
        shares[row["name"]][row["rating"]] = row["count"]
    found = {row["name"]: row for row in whole}
    document = []
    for name, vital in VITALS.items():
        count = found[name]["count"] if name in found else 0
        p75 = found[name]["p75_value"] if name in found else None
        document.append(
            {
                "name": name,
                "title": vital.title,
                "unit": vital.unit,
                "p75": p75,
                "rating": None if p75 is None else vital.rate(p75),
                "count": count,
                "enough": count >= _ENOUGH,
                "shares": {
                    rating: round(shares[name].get(rating, 0) / count, 4) if count else None
                    for rating in RATINGS
                },
                "thresholds": {"good": vital.good, "poor": vital.poor},
            }
        )
    return document


def _parts(label: str, rows: Rows) -> Rows:
    """The vitals of each page or device, those with most page views first."""
    rows = sorted((row for row in rows if row["name"] in VITALS), key=lambda row: -row["count"])
    return [
        {
            label: row[label],
            "name": row["name"],
            "p75": row["p75_value"],
            "rating": VITALS[row["name"]].rate(row["p75_value"]),
            "count": row["count"],
        }
        for row in rows[:_MOST_ROWS]
        if row["p75_value"] is not None
    ]


async def _rows(metrics: Metrics, query: Query) -> Rows:
    rows: Rows = (await metrics.query(query)).to_pylist()
    return rows


def _first(rows: Rows, column: str) -> Any:
    return rows[0][column] if rows else None
