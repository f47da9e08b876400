"""`analytics.*`: what strangers' browsers may send, and what is kept of it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from benchmarks.metrics import NOW
from benchmarks.parts.asking import ask, face
from benchmarks.parts.case import Case, Figures, pace, pace_of, spending
from omnishot_ray.api.analytics.bodies import KINDS
from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.analytics.intake import Intake
from omnishot_ray.metrics.alerts import AlertConfig
from omnishot_ray.metrics.analysis.costs import Prices, Usage, price
from omnishot_ray.metrics.catalogue import OTHER
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.metrics.query import Aggregate, Query

_JSON = {"content-type": "application/json"}
_VITALS = "/api/analytics/performance/metrics"
_EVENTS = "/api/analytics/events"
_QUIET = MetricsConfig(alerts=AlertConfig(rules=(), every_s=1e12), buffer_samples=10**7)
Items = Sequence[dict[str, Any]]


def _vitals(count: int) -> Items:
    return [
        {"name": "LCP", "value": 1000.0 + n, "page": "/shop", "session_id": f"s{n}"}
        for n in range(count)
    ]


def _events(count: int, size: int = 0) -> Items:
    data = {"data": {"text": "x" * size}} if size else {}
    return [{"type": "click", "session_id": f"s{n}", "page": "/", **data} for n in range(count)]


def _app(**config: Any) -> Any:
    """With room for all that is sent, unless the setting is about that."""
    room = {"samples_per_minute": 10**9, "max_items": 10**6, "max_body_bytes": 10**8}
    return face(metrics=LocalMetrics(_QUIET), analytics=AnalyticsConfig(**{**room, **config}))


async def _switched(enabled: bool) -> Figures:
    app = _app(enabled=enabled)
    script = await ask(app, "GET", "/analytics.js")
    body = orjson.dumps({"metrics": _vitals(1)})
    answer = await ask(app, "POST", _VITALS, body, _JSON)
    return {
        "status of `/analytics.js`": script.status,
        "status of a beacon": answer.status,
        "core-µs of it": (await pace(lambda: ask(app, "POST", _VITALS, body, _JSON), 200)).core_us,
    }


async def _sent(app: Any, path: str, body: bytes, most: int) -> Figures:
    """The largest that is taken; a byte or an item more is not."""
    taken = await ask(app, "POST", path, body, _JSON)
    assert taken.status == 202, taken
    return {
        "items": most,
        "kB": len(body) / 1e3,
        "core-ms": (await pace(lambda: ask(app, "POST", path, body, _JSON), 5)).core_us / 1e3,
    }


async def _large(most: int) -> Figures:
    each = len(orjson.dumps(_events(2, 1000))) - len(orjson.dumps(_events(1, 1000)))
    count = most // (each + 8)
    body = orjson.dumps({"events": _events(count, 1000)})
    body += b" " * (most - len(body))
    app = _app(max_body_bytes=most)
    over = await ask(app, "POST", _EVENTS, body + b" ", _JSON)
    return {**await _sent(app, _EVENTS, body, count), "status of a byte more": over.status}


async def _many(most: int) -> Figures:
    app = _app(max_items=most)
    over = await ask(app, "POST", _VITALS, orjson.dumps({"metrics": _vitals(most + 1)}), _JSON)
    body = orjson.dumps({"metrics": _vitals(most)})
    return {**await _sent(app, _VITALS, body, most), "status of one more": over.status}


async def _poured(per_minute: int) -> Figures:
    """One address that sends as fast as it can until it is told to wait."""
    app, taken = _app(samples_per_minute=per_minute), 0
    body = orjson.dumps({"metrics": _vitals(200)})
    with spending() as spent:
        while (answer := await ask(app, "POST", _VITALS, body, _JSON)).status == 202:
            taken += 200
    assert answer.status == 429, answer
    wait = dict(answer.headers)[b"retry-after"]
    return {
        "samples taken at once": taken,
        "core-ms of them": spent.core_s * 1e3,
        "s until the next": float(wait),
    }


def _shared(share: float, sessions: int = 5_000) -> Figures:
    items = KINDS["metrics"].read(orjson.dumps({"metrics": _vitals(sessions)}), sessions)
    found: list[tuple[int, float]] = []

    def take() -> None:
        metrics = LocalMetrics(_QUIET)
        tally = Intake(metrics, AnalyticsConfig(sample_share=share)).take(items, "", NOW)
        metrics.flush()
        found.append((tally.accepted, sum(metrics.hub.store.held_bytes.values())))

    taken = pace_of(take, 1)
    kept, size = found[-1]
    return {
        f"of {sessions} sessions kept": kept,
        "core-µs an item": taken.core_us / sessions,
        "kB in memory": size / 1e3,
    }


def _aged(name: str, value: float) -> Figures:
    """A sample of every minute of two days, of the past or of the future."""
    metrics = LocalMetrics(_QUIET, lambda: NOW)
    intake = Intake(metrics, AnalyticsConfig(**{name: value}))  # type: ignore[arg-type]
    sign = -1.0 if name == "max_age_s" else 1.0
    items = [{"name": "LCP", "value": 1.0, "timestamp": NOW + sign * 60.0 * n} for n in range(2880)]
    tally = intake.take(KINDS["metrics"].read(orjson.dumps({"metrics": items}), 2880), "", NOW)
    return {
        "of 2 880 taken": tally.accepted,
        "refused": tally.rejected,
        "said to be clamped": tally.clamped,
    }


def _told_apart(name: str, kind: str, most: int) -> Figures:
    """More different texts than may be, 10 samples of each within an hour."""
    field, table, label = _LABELS[name]
    metrics = LocalMetrics(MetricsConfig(**{**_FIELDS, "window_s": 60.0}), lambda: NOW)
    intake = Intake(metrics, AnalyticsConfig(**{name: most}))  # type: ignore[arg-type]
    for begin in range(0, 3600, 360):
        items = [
            {**_ITEMS[kind], field: _TEXTS[field].format(n), "timestamp": NOW - begin - n % 360}
            for n in range(600)
        ]
        intake.take(KINDS[kind].read(orjson.dumps({kind: items}), 600), "", NOW)
    metrics.flush()
    ask_for = Query(table, 3600.0, (Aggregate("count"),), (label,), until_s=NOW)
    names = metrics.hub.query(ask_for)[label].to_pylist()
    return {
        "of 600 told apart": sum(not text.endswith(OTHER) for text in names),
        "kB of rollups": metrics.hub.store.held_bytes["rollups"] / 1e3,
        "core-ms to count them": pace_of(lambda: metrics.hub.query(ask_for), 5).core_us / 1e3,
    }


_FIELDS = {"alerts": _QUIET.alerts, "buffer_samples": 10**6}
_LABELS = {
    "max_pages": ("page", "vitals", "page"),
    "max_types": ("type", "events", "type"),
    "max_alerts": ("name", "events", "type"),
    "max_segments": ("segment", "funnel", "segment"),
}
"""The field of an item, and the table and the column where it ends up."""
_ITEMS: dict[str, dict[str, Any]] = {
    "metrics": {"name": "LCP", "value": 1.0},
    "events": {"type": "click", "session_id": "s"},
    "alerts": {"name": "broken"},
    "steps": {"step": "upload", "session_id": "s"},
}
_TEXTS = {"page": "/page-{}", "type": "type-{}", "name": "alert-{}", "segment": "segment-{}"}


def _weighed(most: int, events: int = 200) -> Figures:
    figures: dict[str, float] = {}
    for size in (1_000, 4_000):
        metrics = LocalMetrics(_QUIET, lambda: NOW)
        intake = Intake(metrics, AnalyticsConfig(max_data_bytes=most))
        items = KINDS["events"].read(orjson.dumps({"events": _events(events, size)}), events)
        intake.take(items, "", NOW)
        metrics.flush()
        kept = metrics.hub.samples("events", 60.0)["data"].to_pylist()
        figures[f"of {events} with {size // 1000} kB kept"] = sum(map(bool, kept))
        figures[f"kB in memory of {size // 1000} kB each"] = (
            metrics.hub.store.held_bytes["samples"] / 1e3
        )
    return figures


_USED = Usage(3600.0, images=50_000, cores=2.0, bytes_out=10e9, bytes_kept=100e9)


def _priced(name: str, value: Any) -> Figures:
    bill = price(_USED, Prices(**{name: value}))
    return {
        "for the hour": bill["costs"]["total"],
        "for 1 000 images": bill["per_1000_images"]["total"],
    }


def _priced_by(name: str, *values: Any) -> Case:
    what = "an hour of 2 cores, 10 GB sent, 100 GB kept, 50 000 images"
    return Case(f"analytics.prices.{name}", values, what, partial(_priced, name))


_LABELLED = "600 different ones in an hour"
CASES = (
    Case("analytics.enabled", (True, False), "a page that sends one vital", _switched),
    Case("analytics.max_body_bytes", (65_536, 16_384, 262_144), "events with 1 kB each", _large),
    Case("analytics.max_items", (200, 50, 1000), "so many vitals in a beacon", _many),
    Case("analytics.samples_per_minute", (6000, 600, 60_000), "beacons of 200 vitals", _poured),
    Case("analytics.sample_share", (1.0, 0.1, 0.5), "5 000 sessions of one vital", _shared),
    Case("analytics.max_age_s", (3600.0, 600.0, 86_400.0), "a vital of every minute of two days",
         partial(_aged, "max_age_s")),
    Case("analytics.max_ahead_s", (60.0, 5.0, 3600.0), "a vital of every minute of two days ahead",
         partial(_aged, "max_ahead_s")),
    Case("analytics.max_pages", (200, 50, 254), _LABELLED,
         partial(_told_apart, "max_pages", "metrics")),
    Case("analytics.max_types", (100, 20, 104), _LABELLED,
         partial(_told_apart, "max_types", "events")),
    Case("analytics.max_alerts", (50, 10, 51), _LABELLED,
         partial(_told_apart, "max_alerts", "alerts")),
    Case("analytics.max_segments", (50, 10, 254), _LABELLED,
         partial(_told_apart, "max_segments", "steps")),
    Case("analytics.max_data_bytes", (2048, 256, 4096), "200 events with data", _weighed),
    _priced_by("currency", "USD", "EUR"),
    _priced_by("core_hour", 0.04, 0.0, 0.08),
    _priced_by("egress_gb", 0.08, 0.0, 0.16),
    _priced_by("storage_gb_month", 0.023, 0.0, 0.046),
)  # fmt: skip
