"""Every metric that Prometheus can scrape, named once with kind, unit, help and labels.

The exporter writes only these, `docs/metrics.md` lists them, and dashboards and alert rules may use
no others; tests hold all of them together. Names follow Prometheus' practices for naming: base
units, `_total` on what only grows. Counters and histograms count since the hub began.
"""

from dataclasses import dataclass
from enum import StrEnum

OTHER = "other"
"""Stands for all values of a label beyond its bound."""


class Kind(StrEnum):
    """As in Prometheus' exposition format."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


LABEL_LIMITS = {
    "cache": 15,
    "column": 63,
    "error": 63,
    "format": 15,
    "kind": 15,
    "lane": 7,
    "name": 15,
    "node": 1023,
    "part": 31,
    "process": 4095,
    "rating": 7,
    "reason": 15,
    "route": 63,
    "severity": 7,
    "stage": 7,
    "status": 127,
    "step": 31,
    "table": 15,
    "tier": 7,
    "type": 255,
}
"""Most values of each label; what comes beyond is counted as `other`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One name. `unit` is for people and panels: `seconds`, `bytes`, `cores`, `ratio` or nothing.

    A histogram has `_bucket`, `_sum` and `_count` behind its name.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_JOBS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

CATALOGUE: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "omnishot_requests_total",
            Kind.COUNTER,
            "",
            "Requests answered. format, lane and cache are empty where nothing was made.",
            ("route", "status", "format", "lane", "cache"),
        ),
        Metric(
            "omnishot_errors_total",
            Kind.COUNTER,
            "",
            "Requests answered with a problem, by its code.",
            ("route", "error"),
        ),
        Metric(
            "omnishot_request_duration_seconds",
            Kind.HISTOGRAM,
            "seconds",
            "From the first byte of a request at a gateway to the last of its answer.",
            ("route",),
            _LATENCY,
        ),
        Metric(
            "omnishot_stage_duration_seconds",
            Kind.HISTOGRAM,
            "seconds",
            "Where the time of what was made went: queue, decode, transform, encode.",
            ("stage",),
            _LATENCY,
        ),
        Metric(
            "omnishot_renditions_total",
            Kind.COUNTER,
            "",
            "Renditions answered, made or remembered.",
            ("route",),
        ),
        Metric(
            "omnishot_pixels_total", Kind.COUNTER, "", "Pixels of the sources of what was answered."
        ),
        Metric("omnishot_received_bytes_total", Kind.COUNTER, "bytes", "Pictures received."),
        Metric("omnishot_sent_bytes_total", Kind.COUNTER, "bytes", "Bodies of answers sent."),
        Metric(
            "omnishot_saved_bytes_total",
            Kind.COUNTER,
            "bytes",
            "Source less result where one rendition was asked for and is smaller.",
        ),
        Metric(
            "omnishot_cache_answers_total",
            Kind.COUNTER,
            "",
            "Answers by where the result came from, as X-Cache says it.",
            ("cache",),
        ),
        Metric("omnishot_cache_bytes", Kind.GAUGE, "bytes", "Held by a tier.", ("tier",)),
        Metric("omnishot_cache_entries", Kind.GAUGE, "", "Results held by a tier.", ("tier",)),
        Metric("omnishot_queue_waiting", Kind.GAUGE, "", "Tasks waiting in all gateways."),
        Metric(
            "omnishot_queue_waiting_core_seconds",
            Kind.GAUGE,
            "seconds",
            "Estimated work waiting in all gateways.",
        ),
        Metric("omnishot_queue_active", Kind.GAUGE, "", "Batches at work in the pool."),
        Metric("omnishot_replicas", Kind.GAUGE, "", "Processes heard of lately.", ("kind",)),
        Metric("omnishot_batches_total", Kind.COUNTER, "", "Batches sent to the pool."),
        Metric("omnishot_batch_tasks_total", Kind.COUNTER, "", "Tasks in those batches."),
        Metric("omnishot_batch_failures_total", Kind.COUNTER, "", "Tasks of batches that failed."),
        Metric(
            "omnishot_batch_duration_seconds",
            Kind.HISTOGRAM,
            "seconds",
            "From sending a batch to its outcomes.",
            (),
            _LATENCY,
        ),
        Metric(
            "omnishot_process_cpu_cores",
            Kind.GAUGE,
            "cores",
            "Cores that a process keeps busy.",
            ("process", "kind"),
        ),
        Metric(
            "omnishot_process_resident_bytes",
            Kind.GAUGE,
            "bytes",
            "Resident memory of a process.",
            ("process", "kind"),
        ),
        Metric(
            "omnishot_process_heap_bytes",
            Kind.GAUGE,
            "bytes",
            "Handed out by malloc in a process, 0 where it cannot be asked.",
            ("process", "kind"),
        ),
        Metric(
            "omnishot_process_threads", Kind.GAUGE, "", "Threads of a process.", ("process", "kind")
        ),
        Metric(
            "omnishot_process_open_files",
            Kind.GAUGE,
            "",
            "Open file descriptors of a process.",
            ("process", "kind"),
        ),
        Metric(
            "omnishot_process_loop_lag_seconds",
            Kind.GAUGE,
            "seconds",
            "How late the event loop of a process was at most, of late.",
            ("process", "kind"),
        ),
        Metric(
            "omnishot_shm_used_ratio", Kind.GAUGE, "ratio", "/dev/shm in use, 0 to 1.", ("node",)
        ),
        Metric("omnishot_disk_used_ratio", Kind.GAUGE, "ratio", "Disk in use, 0 to 1.", ("node",)),
        Metric(
            "omnishot_memory_used_ratio", Kind.GAUGE, "ratio", "Memory in use, 0 to 1.", ("node",)
        ),
        Metric(
            "omnishot_jobs_total",
            Kind.COUNTER,
            "",
            "Attempts at jobs that have come to an end, by their status.",
            ("status",),
        ),
        Metric(
            "omnishot_job_queued_seconds",
            Kind.HISTOGRAM,
            "seconds",
            "How long an attempt waited.",
            (),
            _JOBS,
        ),
        Metric(
            "omnishot_job_duration_seconds",
            Kind.HISTOGRAM,
            "seconds",
            "How long an attempt ran.",
            (),
            _JOBS,
        ),
        Metric(
            "omnishot_vital_p75",
            Kind.GAUGE,
            "",
            "75th percentile of a web vital over the last hour, milliseconds (CLS has no unit).",
            ("name",),
        ),
        Metric(
            "omnishot_vitals_total",
            Kind.COUNTER,
            "",
            "Web vitals received, by rating.",
            ("name", "rating"),
        ),
        Metric(
            "omnishot_frontend_events_total", Kind.COUNTER, "", "Events of browsers.", ("type",)
        ),
        Metric(
            "omnishot_funnel_steps_total",
            Kind.COUNTER,
            "",
            "Times that a visitor's session has come to a step.",
            ("step",),
        ),
        Metric("omnishot_alerts_active", Kind.GAUGE, "", "Alerts that are active.", ("severity",)),
        Metric(
            "omnishot_hub_up",
            Kind.GAUGE,
            "",
            "1 while the metrics hub answers; else nothing else is said.",
        ),
        Metric("omnishot_hub_samples_total", Kind.COUNTER, "", "Samples taken in.", ("table",)),
        Metric(
            "omnishot_hub_refused_total",
            Kind.COUNTER,
            "",
            "Samples or values that were dropped or clamped, and why.",
            ("table", "reason"),
        ),
        Metric(
            "omnishot_hub_overflows_total",
            Kind.COUNTER,
            "",
            "Values of a label beyond its bound, counted as other.",
            ("table", "column"),
        ),
        Metric(
            "omnishot_hub_held_bytes",
            Kind.GAUGE,
            "bytes",
            "What the hub holds in memory.",
            ("part",),
        ),
        Metric(
            "omnishot_hub_write_failures_total",
            Kind.COUNTER,
            "",
            "Times that samples could not be written to storage.",
        ),
        Metric(
            "omnishot_samples_dropped_total",
            Kind.COUNTER,
            "",
            "Samples that a process had no room for.",
            ("process",),
        ),
    )
}


def metric(name: str) -> Metric:
    """The metric of that name. Raises KeyError."""
    return CATALOGUE[name]
