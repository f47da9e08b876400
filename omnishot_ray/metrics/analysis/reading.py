"""The figures that the analyses need, asked of the tables."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from omnishot_ray.metrics.analysis.costs import Usage
from omnishot_ray.metrics.analysis.recommendations import Figures, FormatFigures, KindFigures
from omnishot_ray.metrics.analysis.reuse import ReuseCurve, measure_reuse
from omnishot_ray.metrics.query import Aggregate, Metrics, Query

if TYPE_CHECKING:
    import pyarrow as pa

Conditions = Mapping[str, tuple[str | int, ...]]
Floats = npt.NDArray[np.float64]

_COUNT = Aggregate("count")
_SHORTEST_S = 10
_USAGE_STEPS = 5000
_MADE: Conditions = {"route": ("/api/optimize",), "status": (200,)}
_IMAGES: Conditions = {"route": ("/api/optimize", "/api/variants"), "status": (200,)}
_LONGEST_REUSE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What a series is of: `p95` of `requests.total_ms`."""

    table: str
    aggregate: Aggregate

    @property
    def name(self) -> str:
        """As it is said in answers."""
        column = f".{self.aggregate.column}" if self.aggregate.column else ""
        return f"{self.aggregate.function} {self.table}{column}"

    @property
    def is_duration(self) -> bool:
        """Whether it cannot be negative and is skewed."""
        return self.aggregate.column.endswith("_ms")


USUAL = (
    Measured("requests", Aggregate("rate")),
    Measured("requests", Aggregate("p95", "total_ms")),
    Measured("gauges", Aggregate("max", "waiting")),
    Measured("resources", Aggregate("max", "rss_bytes")),
    Measured("resources", Aggregate("max", "memory_used_share")),
)
"""What is looked at where nobody says what."""


async def read_series(
    metrics: Metrics,
    measured: Measured,
    window_s: float,
    step_s: float,
    until_s: float | None = None,
) -> tuple[Floats, Floats]:
    """Beginnings of the steps and values, both of shape n.

    Where rows are counted, steps without any between the first and the last are 0; else they are
    left out.
    """
    query = Query(measured.table, window_s, (measured.aggregate,), step_s=step_s, until_s=until_s)
    table = (await metrics.query(query)).sort_by("at_s")
    at_s = _floats(table, "at_s")
    values = _floats(table, measured.aggregate.name)
    if measured.aggregate.function in ("count", "rate") and len(at_s):
        whole = np.arange(at_s[0], at_s[-1] + step_s / 2, step_s)
        filled = np.zeros(len(whole))
        filled[np.round((at_s - at_s[0]) / step_s).astype(np.int64)] = values
        return whole, filled
    known = np.isfinite(values)
    return at_s[known], values[known]


def step_for(window_s: float, steps: int) -> float:
    """Whole seconds, so that the window has about so many steps."""
    return float(max(_SHORTEST_S, ceil(window_s / steps)))


async def read_figures(metrics: Metrics, window_s: float) -> Figures:
    """For the recommendations."""
    requests, queues, formats, gauges, kinds, reuse = await asyncio.gather(
        _rows(metrics, Query("requests", window_s)),
        _rows(
            metrics,
            Query("requests", window_s, (Aggregate("p95", "queue_ms"),), ("lane",)),
        ),
        _rows(metrics, _formats(window_s)),
        _rows(
            metrics,
            Query("gauges", window_s, (Aggregate("max", "waiting"), Aggregate("avg", "replicas"))),
        ),
        _read_kinds(metrics, window_s),
        _read_reuse(metrics, window_s),
    )
    return Figures(
        requests=requests[0]["count"] if requests else 0,
        kinds={
            kind: KindFigures(processes, cores / processes)
            for kind, (processes, cores) in kinds.items()
            if processes
        },
        queue_p95_ms={row["lane"]: row["p95_queue_ms"] or 0.0 for row in queues if row["lane"]},
        most_waiting=(gauges[0]["max_waiting"] or 0.0) if gauges else 0.0,
        replicas=(gauges[0]["avg_replicas"] or 0.0) if gauges else 0.0,
        formats=[
            FormatFigures(
                row["source_format"],
                row["format"],
                row["count"],
                row["sum_bytes_in"],
                row["sum_bytes_out"],
                row["sum_bytes_saved"],
                row["sum_pixels"],
            )
            for row in formats
            if row["format"] and row["source_format"]
        ],
        reuse=reuse,
    )


async def read_usage(metrics: Metrics, window_s: float) -> Usage:
    """For the costs. The cache counts as kept; what lies in object storage is not known here."""
    step_s = step_for(window_s, _USAGE_STEPS)
    steps = await _rows(metrics, Query("resources", window_s, step_s=step_s))
    # The service may be younger than the window.
    lived = min(1.0, len(steps) * step_s / window_s)
    images, sent, kinds, gauges = await asyncio.gather(
        _rows(
            metrics, Query("requests", window_s, (Aggregate("sum", "renditions"),), where=_IMAGES)
        ),
        _rows(metrics, Query("requests", window_s, (Aggregate("sum", "bytes_out"),))),
        _read_kinds(metrics, window_s),
        _rows(metrics, Query("gauges", window_s, (Aggregate("avg", "cache_bytes"),), ("process",))),
    )
    by_kind = {kind: cores * lived for kind, (_, cores) in kinds.items()}
    return Usage(
        window_s,
        int((images[0]["sum_renditions"] or 0) if images else 0),
        sum(by_kind.values()),
        float((sent[0]["sum_bytes_out"] or 0) if sent else 0),
        float(sum(row["avg_cache_bytes"] or 0 for row in gauges)) * lived,
        by_kind,
    )


async def _read_kinds(metrics: Metrics, window_s: float) -> dict[str, tuple[float, float]]:
    """Of each kind: processes on average, and their busy cores together."""
    rows = await _rows(
        metrics,
        Query("resources", window_s, (Aggregate("sum", "cpu"), _COUNT), ("kind", "process")),
    )
    # All are looked at equally often; who lived for a part of the time counts for that part.
    most = max((row["count"] for row in rows), default=0)
    found: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for row in rows:
        found[row["kind"]][0] += row["count"] / most
        found[row["kind"]][1] += row["sum_cpu"] / most
    return {kind: (processes, cores) for kind, (processes, cores) in found.items()}


async def _read_reuse(metrics: Metrics, window_s: float) -> ReuseCurve | None:
    """By the names of the results; None where there are none."""
    query = Query(
        "requests",
        min(window_s, _LONGEST_REUSE_S),
        (_COUNT, Aggregate("avg", "bytes_out")),
        ("key",),
        _MADE,
        step_s=1.0,
    )
    rows = (await metrics.query(query)).sort_by("at_s").to_pylist()
    keys: list[str] = []
    sizes: list[float] = []
    for row in rows:
        if row["key"]:
            keys += [row["key"]] * row["count"]
            sizes += [row["avg_bytes_out"]] * row["count"]
    return measure_reuse(keys, sizes) if keys else None


def _formats(window_s: float) -> Query:
    sums = tuple(
        Aggregate("sum", column) for column in ("bytes_in", "bytes_out", "bytes_saved", "pixels")
    )
    return Query("requests", window_s, (_COUNT, *sums), ("source_format", "format"), _MADE)


async def _rows(metrics: Metrics, query: Query) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await metrics.query(query)).to_pylist()
    return rows


def _floats(table: "pa.Table", column: str) -> Floats:
    return np.array(table.column(column).to_pylist(), np.float64)  # nothing becomes NaN
