"""`GET /api/memory-analysis`: who takes how much, whether it grows, and what to do about it."""

from datetime import UTC, datetime
from time import time
from typing import Any

import numpy as np

from omnishot_ray.metrics.leaks import judge
from omnishot_ray.metrics.query import Aggregate, Metrics, Query

_STEP_S = 10.0
_MOST_STEPS = 360
_RSS, _HEAP = Aggregate("avg", "rss_bytes"), Aggregate("avg", "heap_bytes")
_WORST_FIRST = ("leaking", "growing", "unknown", "steady", "shrinking")
_HEAP_SHARE = 0.5
_FULL_SHARE = 0.8


async def analyse_memory(metrics: Metrics, window_s: float) -> dict[str, Any]:
    """The document for the last `window_s` seconds. Raises as `Metrics.query`."""
    step_s = max(_STEP_S, -(-window_s / _MOST_STEPS // _STEP_S) * _STEP_S)
    labels = ("process", "kind")
    table = await metrics.query(Query("resources", window_s, (_RSS, _HEAP), labels, step_s=step_s))
    now_s = time()
    series: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for row in table.sort_by("at_s").to_pylist():
        points = series.setdefault((row["process"], row["kind"]), [])
        points.append((row["at_s"], row[_RSS.name], row[_HEAP.name]))
    # A process that has ended needs no verdict.
    alive = {key: p for key, p in series.items() if p[-1][0] >= now_s - 3 * step_s - _STEP_S}
    processes = [_describe(*key, points) for key, points in alive.items()]
    processes.sort(key=lambda one: (_WORST_FIRST.index(one["verdict"]), -one["rss_bytes"]))
    pools = await _pools(metrics, processes)
    worst = processes[0] if processes else None
    used = await _used_share(metrics)
    return {
        "at": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds"),
        "window_s": window_s,
        "verdict": worst["verdict"] if worst else "unknown",
        "confidence": worst["confidence"] if worst else 0.0,
        "reasoning": f"{worst['process']}: {worst['reasoning']}" if worst else "Nothing is known.",
        "total_rss_bytes": sum(one["rss_bytes"] for one in processes),
        "memory_used_share": used,
        "processes": processes,
        "largest_pools": pools,
        "recommendations": _recommend(processes, used),
    }


def _describe(process: str, kind: str, points: list[tuple[float, float, float]]) -> dict[str, Any]:
    at_s, rss, heap = (np.array(column) for column in zip(*points, strict=True))
    trend, verdict = judge(at_s, rss)
    return {
        "process": process,
        "kind": kind,
        "rss_bytes": int(rss[-1]),
        "heap_bytes": int(heap[-1]),
        "trend_mb_per_min": round(trend.mb_per_min, 3) if trend else None,
        "interval_mb_per_min": [round(trend.low, 3), round(trend.high, 3)] if trend else None,
        "verdict": verdict.verdict,
        "confidence": round(verdict.confidence, 3),
        "reasoning": verdict.reasoning,
        "points": len(points),
        "span_s": float(at_s[-1] - at_s[0]),
    }


async def _pools(metrics: Metrics, processes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where the memory is, the largest first."""
    pools: dict[str, int] = {}
    for one in processes:
        kind = one["kind"]
        pools[f"{kind} heaps"] = pools.get(f"{kind} heaps", 0) + one["heap_bytes"]
        beside = max(0, one["rss_bytes"] - one["heap_bytes"])
        pools[f"{kind} beside the heap"] = pools.get(f"{kind} beside the heap", 0) + beside
    rows = await metrics.query(
        Query("gauges", 30.0, (Aggregate("max", "cache_bytes"),), ("process",))
    )
    pools["results in memory (of gateway heaps)"] = int(
        sum(row["max_cache_bytes"] for row in rows.to_pylist())
    )
    largest = sorted(pools.items(), key=lambda pool: -pool[1])
    return [{"pool": name, "bytes": size} for name, size in largest if size]


async def _used_share(metrics: Metrics) -> float | None:
    highest = Aggregate("max", "memory_used_share")
    (row,) = (await metrics.query(Query("resources", 30.0, (highest,)))).to_pylist()
    return row[highest.name] or None


def _recommend(processes: list[dict[str, Any]], used_share: float | None) -> list[str]:
    said = [
        f"{one['process']} leaks {one['trend_mb_per_min']} MB a minute; end it, another takes its "
        "place, and keep what it did for a report."
        for one in processes
        if one["verdict"] == "leaking"
    ]
    gateways = [one for one in processes if one["kind"] == "gateway"]
    if any(one["verdict"] in ("growing", "leaking") for one in gateways):
        said.append(
            "A gateway's results in memory grow up to cache.memory_bytes each; lower it where "
            "that is too much."
        )
    loose = [
        one
        for one in processes
        if one["kind"] == "resizer" and 0 < one["heap_bytes"] < _HEAP_SHARE * one["rss_bytes"]
    ]
    if loose:
        said.append(
            "Resizers hold more memory than is handed out, which is libraries and pixel memory "
            "kept for the next picture; resizers.max_replicas bounds how often."
        )
    if used_share is not None and used_share > _FULL_SHARE:
        said.append(
            f"{used_share:.0%} of the machine's memory is in use; lower cache.memory_bytes or "
            "resizers.max_replicas before the kernel ends processes."
        )
    return said
