"""The figures of the service at a moment, for the live page and `GET /api/metrics`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from omnishot_ray.metrics.query import Aggregate, Query

if TYPE_CHECKING:
    from omnishot_ray.metrics.hub import Hub

TIMES = ("avg", "p50", "p95", "p99")
GROUP_FUNCTIONS = ("count", "rate", *TIMES)
_RECENT_ERRORS = 20
_ERRORS_S = 900.0
_COUNT = Aggregate("count")


def take_snapshot(
    hub: "Hub", now_s: float, window_s: float, group_by: tuple[str, ...], functions: tuple[str, ...]
) -> dict[str, Any]:
    """What `GET /api/metrics` answers. Raises `InvalidParameters` for a wrong label or function."""
    ask = _Asker(hub, now_s, window_s)
    statuses = ask.counts("status")
    total = sum(statuses.values())
    errors = sum(count for status, count in statuses.items() if int(status) >= 400)
    tiers = {cache: count for cache, count in ask.counts("cache").items() if cache}
    gauges = list(hub.latest["gauges"].rows(now_s))
    resources = sorted(
        hub.latest["resources"].rows(now_s), key=lambda row: (row["kind"], row["process"])
    )
    sums = ask.one(*(Aggregate("sum", f"bytes_{name}") for name in ("in", "out", "saved")))
    renditions = ask.one(Aggregate("sum", "renditions"))["sum_renditions"]
    found = sum(tiers.values())
    document: dict[str, Any] = {
        "at": datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds"),
        "window_s": window_s,
        "requests": {
            "total": total,
            "per_s": _round(total / window_s),
            "errors": errors,
            "error_rate": _share(errors, total),
            "by_status": statuses,
        },
        "latency_ms": ask.times(),
        "routes": ask.routes(),
        "renditions_per_s": _round(renditions / window_s),
        "lanes": {lane: count for lane, count in ask.counts("lane").items() if lane},
        "queue": {
            "waiting": sum(row["waiting"] for row in gauges),
            "waiting_ms": _round(sum(row["waiting_ms"] for row in gauges)),
            "active": sum(row["active"] for row in gauges),
        },
        "cache": {
            "hit_rate": _share(found - tiers.get("miss", 0), found),
            "tiers": tiers,
            "bytes": sum(row["cache_bytes"] for row in gauges),
            "entries": sum(row["cache_entries"] for row in gauges),
        },
        "bytes": {name: int(sums[f"sum_bytes_{name}"]) for name in ("in", "out", "saved")},
        "cpu": _round(sum(row["cpu"] for row in resources)),
        "memory_bytes": sum(row["rss_bytes"] for row in resources),
        "replicas": max((row["replicas"] for row in gauges), default=0),
        "processes": [
            {name: row[name] for name in ("process", "kind", "node", "pid")}
            | {name: row[name] for name in ("rss_bytes", "heap_bytes", "threads", "open_files")}
            | {"cpu": _round(row["cpu"]), "loop_lag_ms": _round(row["loop_lag_ms"])}
            for row in resources
        ],
        "formats": {name: count for name, count in ask.counts("format").items() if name},
        "alerts": hub.alerts(),
        "recent_errors": ask.recent_errors(),
        "dropped_samples": sum(row["dropped_samples"] for row in gauges),
    }
    if group_by:
        document["groups"] = ask.groups(group_by, functions or GROUP_FUNCTIONS)
    return document


class _Asker:
    """Questions about the requests of one window."""

    def __init__(self, hub: "Hub", now_s: float, window_s: float) -> None:
        self._hub = hub
        self._now_s = now_s
        self._window_s = window_s

    def rows(self, *aggregates: Aggregate, by: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        query = Query("requests", self._window_s, aggregates, by, until_s=self._now_s)
        rows: list[dict[str, Any]] = self._hub.query(query).to_pylist()
        return rows

    def one(self, *aggregates: Aggregate) -> dict[str, Any]:
        (row,) = self.rows(*aggregates)
        return row

    def counts(self, label: str) -> dict[str, int]:
        rows = sorted(self.rows(_COUNT, by=(label,)), key=lambda row: -row["count"])
        return {str(row[label]): row["count"] for row in rows}

    def times(self) -> dict[str, float | None]:
        row = self.one(*(Aggregate(name, "total_ms") for name in TIMES))
        return {name: _round(row[f"{name}_total_ms"]) for name in TIMES}

    def routes(self) -> list[dict[str, Any]]:
        errors: dict[str, int] = {}
        for row in self.rows(_COUNT, by=("route", "status")):
            if row["status"] >= 400:
                errors[row["route"]] = errors.get(row["route"], 0) + row["count"]
        rows = self.rows(_COUNT, *(Aggregate(name, "total_ms") for name in TIMES), by=("route",))
        return [
            {
                "route": row["route"],
                "requests": row["count"],
                "per_s": _round(row["count"] / self._window_s),
                "error_rate": _share(errors.get(row["route"], 0), row["count"]),
                **{name: _round(row[f"{name}_total_ms"]) for name in TIMES},
            }
            for row in sorted(rows, key=lambda row: (-row["count"], row["route"]))
        ]

    def groups(self, by: tuple[str, ...], functions: tuple[str, ...]) -> list[dict[str, Any]]:
        aggregates = [
            Aggregate(name, "" if name in ("count", "rate") else "total_ms") for name in functions
        ]
        rows = self.rows(*aggregates, by=by)
        return [
            {name: row[name] for name in by} | {a.function: _round(row[a.name]) for a in aggregates}
            for row in sorted(rows, key=lambda row: tuple(str(row[name]) for name in by))
        ]

    def recent_errors(self) -> list[dict[str, Any]]:
        """The newest ones, of the samples in memory."""
        return [
            {
                "at": datetime.fromtimestamp(row["at_s"], UTC).isoformat(timespec="milliseconds"),
                **{name: row[name] for name in ("route", "status", "error", "request_id")},
            }
            for row in self._hub.store.recent_errors(self._now_s - _ERRORS_S, _RECENT_ERRORS)
        ]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _round(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else round(value, 3)
