"""What is on each dashboard. Every metric of the catalogue is somewhere; a test sees to it."""

from dataclasses import dataclass

from omnishot_ray.dashboards.queries import count_rate, level, quantile, rate, share

SECONDS, BYTES, BYTES_PER_S, SHARE = "s", "bytes", "Bps", "percentunit"
PER_S, NUMBER = "ops", "short"
"""Grafana's names of units."""


@dataclass(frozen=True, slots=True)
class Series:
    """One query and what its lines are called; `{{label}}` is filled in by Grafana."""

    query: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. `warn` and `bad` colour it from there on."""

    title: str
    unit: str
    series: tuple[Series, ...]
    help: str = ""
    single: bool = False
    """One large number in place of lines."""
    stacked: bool = False
    warn: float | None = None
    bad: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard; `name` is its file and its uid is made of it."""

    name: str
    title: str
    help: str
    rows: tuple[Row, ...]


def _line(title: str, unit: str, query: str, legend: str, **more: object) -> Panel:
    return Panel(title, unit, (Series(query, legend),), **more)  # type: ignore[arg-type]


def _number(title: str, unit: str, query: str, **more: object) -> Panel:
    return _line(title, unit, query, title, single=True, **more)


def _quantiles(title: str, name: str, help: str = "") -> Panel:
    series = (Series(quantile(q, name), f"p{q * 100:g}") for q in (0.5, 0.95, 0.99))
    return Panel(title, SECONDS, tuple(series), help)


_REQUESTS = "omnishot_requests_total"
_DURATION = "omnishot_request_duration_seconds"
_FAILED = {"status": '=~"5.."'}
_NOT_MADE_NOW = {"cache": '!~"miss|"'}
_TOLD = {"cache": '!=""'}

OVERVIEW = Board(
    "overview",
    "OmniShot Ray: overview",
    "How much is asked for, how fast and how well it is answered.",
    (
        Row(
            "Now",
            (
                _number("Requests a second", PER_S, rate(_REQUESTS)),
                _number(
                    "Failed",
                    SHARE,
                    share(rate(_REQUESTS, where=_FAILED), rate(_REQUESTS)),
                    help="Answers with a status of 500 and more.",
                    warn=0.01,
                    bad=0.05,
                ),
                _number(
                    "95 % take less than", SECONDS, quantile(0.95, _DURATION), warn=1.0, bad=3.0
                ),
                _number(
                    "From a cache",
                    SHARE,
                    share(
                        rate("omnishot_cache_answers_total", where=_NOT_MADE_NOW),
                        rate("omnishot_cache_answers_total", where=_TOLD),
                    ),
                    help="Of the renditions answered, those that were not made for the request.",
                ),
                _number("Waiting", NUMBER, level("omnishot_queue_waiting"), warn=20.0, bad=100.0),
                _number(
                    "Active alerts",
                    NUMBER,
                    f"{level('omnishot_alerts_active')} or vector(0)",
                    bad=1.0,
                ),
            ),
        ),
        Row(
            "Requests",
            (
                _line("By route", PER_S, rate(_REQUESTS, "route"), "{{route}}", stacked=True),
                _line("By status", PER_S, rate(_REQUESTS, "status"), "{{status}}", stacked=True),
                _quantiles("Time to answer", _DURATION),
                _line(
                    "Time to answer by route, p95",
                    SECONDS,
                    quantile(0.95, _DURATION, "route"),
                    "{{route}}",
                ),
                _line(
                    "Problems",
                    PER_S,
                    rate("omnishot_errors_total", "error", rare=True),
                    "{{error}}",
                    help="By code, as in /problems/<code>.",
                ),
                _line(
                    "Problems by route",
                    PER_S,
                    rate("omnishot_errors_total", "route", rare=True),
                    "{{route}}",
                ),
            ),
        ),
        Row(
            "Work",
            (
                _line(
                    "Stages, p95",
                    SECONDS,
                    quantile(0.95, "omnishot_stage_duration_seconds", "stage"),
                    "{{stage}}",
                    help="Where the time of what was made went.",
                ),
                _line("By lane", PER_S, rate(_REQUESTS, "lane"), "{{lane}}", stacked=True),
                _line("By format", PER_S, rate(_REQUESTS, "format"), "{{format}}", stacked=True),
                _line("Renditions", PER_S, rate("omnishot_renditions_total", "route"), "{{route}}"),
                _line("Source pixels", PER_S, rate("omnishot_pixels_total"), "pixels a second"),
                Panel(
                    "Bytes",
                    BYTES_PER_S,
                    (
                        Series(rate("omnishot_received_bytes_total"), "received"),
                        Series(rate("omnishot_sent_bytes_total"), "sent"),
                        Series(rate("omnishot_saved_bytes_total"), "saved"),
                    ),
                ),
            ),
        ),
    ),
)

POOL = Board(
    "pool",
    "OmniShot Ray: pool and caches",
    "The line, the replicas that work it off, and what need not be made at all.",
    (
        Row(
            "The line",
            (
                _line("Waiting", NUMBER, level("omnishot_queue_waiting"), "tasks", bad=100.0),
                _line(
                    "Waiting work",
                    SECONDS,
                    level("omnishot_queue_waiting_core_seconds"),
                    "core-seconds",
                    help="Estimated.",
                ),
                _line(
                    "Processes",
                    NUMBER,
                    level("omnishot_replicas", "kind"),
                    "{{kind}}",
                    stacked=True,
                ),
                _line("Batches at work", NUMBER, level("omnishot_queue_active"), "batches"),
            ),
        ),
        Row(
            "Batches",
            (
                Panel(
                    "Batches and tasks",
                    PER_S,
                    (
                        Series(rate("omnishot_batches_total"), "batches"),
                        Series(rate("omnishot_batch_tasks_total"), "tasks"),
                    ),
                ),
                _line(
                    "Tasks a batch",
                    NUMBER,
                    f"{rate('omnishot_batch_tasks_total')}"
                    f" / ({rate('omnishot_batches_total')} > 0)",
                    "tasks",
                ),
                _quantiles("Time of a batch", "omnishot_batch_duration_seconds"),
                _line(
                    "Tasks that failed",
                    PER_S,
                    rate("omnishot_batch_failures_total", rare=True),
                    "tasks",
                ),
            ),
        ),
        Row(
            "Caches",
            (
                _line(
                    "Where results came from",
                    PER_S,
                    rate("omnishot_cache_answers_total", "cache"),
                    "{{cache}}",
                    stacked=True,
                ),
                _line("Held", BYTES, level("omnishot_cache_bytes", "tier"), "{{tier}}"),
                _line("Results held", NUMBER, level("omnishot_cache_entries", "tier"), "{{tier}}"),
            ),
        ),
    ),
)


def _of_processes(title: str, unit: str, name: str, **more: object) -> Panel:
    return _line(title, unit, level(name, "process", how="max"), "{{process}}", **more)


def _of_nodes(title: str, name: str, warn: float, bad: float) -> Panel:
    query = level(name, "node", how="max")
    return _line(title, SHARE, query, "{{node}}", warn=warn, bad=bad)


PROCESSES = Board(
    "processes",
    "OmniShot Ray: processes",
    "What the service's processes take and what their machines have left.",
    (
        Row(
            "Processes",
            (
                _of_processes("CPU, cores", NUMBER, "omnishot_process_cpu_cores", stacked=True),
                _of_processes("Resident memory", BYTES, "omnishot_process_resident_bytes"),
                _of_processes("Heap", BYTES, "omnishot_process_heap_bytes"),
                _of_processes(
                    "Event loop late", SECONDS, "omnishot_process_loop_lag_seconds", bad=1.0
                ),
                _of_processes("Threads", NUMBER, "omnishot_process_threads"),
                _of_processes("Open files", NUMBER, "omnishot_process_open_files"),
            ),
        ),
        Row(
            "Machines",
            (
                _of_nodes("Memory in use", "omnishot_memory_used_ratio", 0.8, 0.9),
                _of_nodes("/dev/shm in use", "omnishot_shm_used_ratio", 0.8, 0.9),
                _of_nodes("Disk in use", "omnishot_disk_used_ratio", 0.8, 0.9),
            ),
        ),
        Row(
            "Metrics hub",
            (
                _line("Hub answers", NUMBER, level("omnishot_hub_up", how="min"), "up"),
                _line(
                    "Samples",
                    PER_S,
                    rate("omnishot_hub_samples_total", "table"),
                    "{{table}}",
                    stacked=True,
                ),
                _line("Held", BYTES, level("omnishot_hub_held_bytes", "part"), "{{part}}"),
                _line(
                    "Refused or clamped",
                    PER_S,
                    rate("omnishot_hub_refused_total", "table", "reason", rare=True),
                    "{{table}}: {{reason}}",
                ),
                _line(
                    "Labels beyond their bound",
                    PER_S,
                    rate("omnishot_hub_overflows_total", "table", "column", rare=True),
                    "{{table}}.{{column}}",
                ),
                Panel(
                    "Lost",
                    PER_S,
                    (
                        Series(
                            rate("omnishot_samples_dropped_total", "process", rare=True),
                            "dropped by {{process}}",
                        ),
                        Series(
                            rate("omnishot_hub_write_failures_total", rare=True),
                            "failures to write",
                        ),
                    ),
                ),
            ),
        ),
    ),
)

PEOPLE = Board(
    "people",
    "OmniShot Ray: jobs and front end",
    "Work that is done later, and what people see in their browsers.",
    (
        Row(
            "Jobs",
            (
                _line(
                    "Ended",
                    PER_S,
                    rate("omnishot_jobs_total", "status", rare=True),
                    "{{status}}",
                    stacked=True,
                ),
                _quantiles("Waited", "omnishot_job_queued_seconds"),
                _quantiles("Ran", "omnishot_job_duration_seconds"),
                _line(
                    "Begun and ended",
                    PER_S,
                    f"{count_rate('omnishot_job_duration_seconds')} or vector(0)",
                    "attempts",
                ),
            ),
        ),
        Row(
            "Front end",
            (
                _line(
                    "Web vitals, p75",
                    NUMBER,
                    level("omnishot_vital_p75", "name", how="max"),
                    "{{name}}",
                    help="Milliseconds; CLS has no unit. https://web.dev/articles/vitals",
                ),
                _line(
                    "Ratings",
                    PER_S,
                    rate("omnishot_vitals_total", "name", "rating", rare=True),
                    "{{name}}: {{rating}}",
                    stacked=True,
                ),
                _line(
                    "Events",
                    PER_S,
                    rate("omnishot_frontend_events_total", "type", rare=True),
                    "{{type}}",
                ),
                _line(
                    "Steps of the funnel",
                    PER_S,
                    rate("omnishot_funnel_steps_total", "step", rare=True),
                    "{{step}}",
                ),
            ),
        ),
    ),
)

BOARDS = (OVERVIEW, POOL, PROCESSES, PEOPLE)
