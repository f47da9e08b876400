"""Everything as Prometheus scrapes it: the text format 0.0.4, or OpenMetrics where it is preferred.

Counters and histograms come from sums since the hub began, so all gateways tell the same; gauges
from the newest samples of each process. Bucket counts are read off sketches, so a duration within
1 % of a bound may be counted on its other side.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from prometheus_client import Metric as Family
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.exposition import choose_encoder

from omnishot_ray.metrics.catalogue import CATALOGUE, Kind
from omnishot_ray.metrics.cells import Cells
from omnishot_ray.metrics.labels import Labels
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.shapes import SHAPES, measures
from omnishot_ray.metrics.sketches import values_of

if TYPE_CHECKING:
    from omnishot_ray.metrics.hub import Hub

_VITALS_S = 3600.0

_SUMS = (
    ("omnishot_requests_total", "requests", ""),
    ("omnishot_renditions_total", "requests", "renditions"),
    ("omnishot_pixels_total", "requests", "pixels"),
    ("omnishot_received_bytes_total", "requests", "bytes_in"),
    ("omnishot_sent_bytes_total", "requests", "bytes_out"),
    ("omnishot_saved_bytes_total", "requests", "bytes_saved"),
    ("omnishot_cache_answers_total", "requests", ""),
    ("omnishot_errors_total", "requests", ""),
    ("omnishot_batches_total", "batches", ""),
    ("omnishot_batch_tasks_total", "batches", "tasks"),
    ("omnishot_batch_failures_total", "batches", "failed"),
    ("omnishot_jobs_total", "jobs", ""),
    ("omnishot_vitals_total", "vitals", ""),
    ("omnishot_frontend_events_total", "events", ""),
    ("omnishot_funnel_steps_total", "funnel", ""),
)
"""Counter, table, and the measure that is summed up; of none, rows are counted."""

_NOT_EMPTY = {"omnishot_cache_answers_total": "cache", "omnishot_errors_total": "error"}
"""Counters of rows in which a label says something."""

_DURATIONS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("omnishot_request_duration_seconds", "requests", "total_ms", {}),
    ("omnishot_stage_duration_seconds", "requests", "queue_ms", {"stage": "queue"}),
    ("omnishot_stage_duration_seconds", "requests", "decode_ms", {"stage": "decode"}),
    ("omnishot_stage_duration_seconds", "requests", "transform_ms", {"stage": "transform"}),
    ("omnishot_stage_duration_seconds", "requests", "encode_ms", {"stage": "encode"}),
    ("omnishot_batch_duration_seconds", "batches", "took_ms", {}),
    ("omnishot_job_queued_seconds", "jobs", "queued_ms", {}),
    ("omnishot_job_duration_seconds", "jobs", "run_ms", {}),
)

_PROCESS_GAUGES = (
    ("omnishot_process_cpu_cores", "cpu", 1.0),
    ("omnishot_process_resident_bytes", "rss_bytes", 1.0),
    ("omnishot_process_heap_bytes", "heap_bytes", 1.0),
    ("omnishot_process_threads", "threads", 1.0),
    ("omnishot_process_open_files", "open_files", 1.0),
    ("omnishot_process_loop_lag_seconds", "loop_lag_ms", 0.001),
)

_NODE_GAUGES = (
    ("omnishot_shm_used_ratio", "shm_used_share"),
    ("omnishot_disk_used_ratio", "disk_used_share"),
    ("omnishot_memory_used_ratio", "memory_used_share"),
)

Counts = dict[tuple[str, ...], float]


def expose(hub: "Hub", now_s: float, accept: str) -> tuple[bytes, str]:
    """The scrape's body and its content type."""
    return _encode(list(_Exposition(hub, now_s).families()), accept)


def expose_absence(accept: str) -> tuple[bytes, str]:
    """What is to be said when the hub does not answer."""
    return _encode([_family("omnishot_hub_up", {(): 0.0})], accept)


def _encode(families: list[Family], accept: str) -> tuple[bytes, str]:
    encode, content_type = choose_encoder(accept)
    return encode(_Collected(families)), content_type


class _Collected:
    """What the encoders take for a registry."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> list[Family]:
        return self._families


class _Exposition:
    def __init__(self, hub: "Hub", now_s: float) -> None:
        self._hub = hub
        self._now_s = now_s
        self._totals = {table: hub.store.totals(table) for table in SHAPES}
        self._resources = list(hub.latest["resources"].rows(now_s))
        self._gauges = list(hub.latest["gauges"].rows(now_s))

    def families(self) -> Iterator[Family]:
        for name, table, column in _SUMS:
            yield _family(name, self._sum(name, table, column))
        yield from self._histograms()
        for name, column, factor in _PROCESS_GAUGES:
            values = {(r["process"], r["kind"]): r[column] * factor for r in self._resources}
            yield _family(name, values)
        for name, column in _NODE_GAUGES:
            newest = sorted(self._resources, key=lambda row: row["at_s"])
            yield _family(name, {(row["node"],): row[column] for row in newest if row[column]})
        yield from self._standing()
        yield from self._own()

    def _sum(self, name: str, table: str, column: str) -> Counts:
        cells, labels = self._totals[table], self._hub.store.labels[table]
        if cells is None:
            return {}
        values = cells.sums[measures(table).index(column)] if column else cells.rows
        if said := _NOT_EMPTY.get(name):
            wanted = ~labels.allowed(said, ("",), cells.group)
            cells, values = cells.take(wanted), values[wanted]
        keys, index = _keys(cells, labels, CATALOGUE[name].labels)
        return dict(zip(keys, np.bincount(index, values, len(keys)).tolist(), strict=True))

    def _histograms(self) -> Iterator[Family]:
        families: dict[str, HistogramMetricFamily] = {}
        for name, table, column, extra in _DURATIONS:
            metric = CATALOGUE[name]
            family = families.setdefault(
                name, HistogramMetricFamily(name, metric.help, labels=metric.labels)
            )
            cells, labels = self._totals[table], self._hub.store.labels[table]
            if cells is None:
                continue
            if extra:  # a stage that was not gone through took no time
                made = cells.sums[measures(table).index("decode_ms")] > 0
                cells = cells.take(made)
            own = tuple(label for label in metric.labels if label not in extra)
            keys, index = _keys(cells, labels, own)
            sketch = cells.sketches[SHAPES[table].sketched.index(column)]
            seconds = values_of(sketch.bin.astype(np.int64)) / 1000.0
            sums = np.bincount(index, cells.sums[measures(table).index(column)], len(keys)) / 1000.0
            counts = sketch.count.astype(np.float64)
            rows = index[sketch.cell]
            within = [
                np.bincount(rows, counts * (seconds <= bound), len(keys))
                for bound in (*metric.buckets, np.inf)
            ]
            bounds = [*map(str, metric.buckets), "+Inf"]
            for number, key in enumerate(keys):
                said = dict(zip(own, key, strict=True)) | extra
                buckets = [(b, float(w[number])) for b, w in zip(bounds, within, strict=True)]
                family.add_metric(
                    [said[label] for label in metric.labels], buckets, float(sums[number])
                )
        yield from families.values()

    def _standing(self) -> Iterator[Family]:
        """What stands in the gateways."""
        rows = self._gauges

        def total(column: str) -> float:
            return float(sum(row[column] for row in rows))

        yield _family("omnishot_queue_waiting", {(): total("waiting")})
        waiting_s = total("waiting_ms") / 1000.0
        yield _family("omnishot_queue_waiting_core_seconds", {(): waiting_s})
        yield _family("omnishot_queue_active", {(): total("active")})
        yield _family("omnishot_cache_bytes", {("memory",): total("cache_bytes")})
        yield _family("omnishot_cache_entries", {("memory",): total("cache_entries")})
        dropped = {(row["process"],): float(row["dropped_samples"]) for row in rows}
        yield _family("omnishot_samples_dropped_total", dropped)
        kinds = [row["kind"] for row in self._resources]
        yield _family("omnishot_replicas", {(k,): float(kinds.count(k)) for k in set(kinds)})

    def _own(self) -> Iterator[Family]:
        """Of the hub itself, and what it asks its tables for."""
        hub, store = self._hub, self._hub.store
        yield _family("omnishot_hub_up", {(): 1.0})
        yield _family("omnishot_hub_samples_total", {(t,): n for t, n in store.samples.items()})
        yield _family("omnishot_hub_refused_total", dict(store.refused))
        yield _family("omnishot_hub_overflows_total", store.overflows)
        yield _family("omnishot_hub_held_bytes", {(p,): n for p, n in store.held_bytes.items()})
        yield _family("omnishot_hub_write_failures_total", {(): hub.write_failures})
        p75 = Aggregate("p75", "value")
        vitals = store.query(Query("vitals", _VITALS_S, (p75,), ("name",))).to_pylist()
        yield _family("omnishot_vital_p75", {(v["name"],): v["p75_value"] for v in vitals})
        active = [str(a.get("severity", "")) for a in hub.alerts() if a.get("state") == "active"]
        yield _family("omnishot_alerts_active", {(s,): active.count(s) for s in set(active)})


def _keys(
    cells: Cells, labels: Labels, names: tuple[str, ...]
) -> tuple[list[tuple[str, ...]], Any]:
    """The different values of some labels, and which of them each cell has."""
    groups, index = np.unique(cells.group & labels.mask(names), return_inverse=True)
    columns = [labels.values(name, groups) for name in names]
    rows = [tuple(str(column[n]) for column in columns) for n in range(len(groups))]
    return rows, index


def _family(name: str, values: dict[Any, Any]) -> Family:
    metric = CATALOGUE[name]
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(name, metric.help, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family
