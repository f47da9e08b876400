"""What is measured: each class is a table, each field a column, each instance a row.

Times are Unix seconds, durations milliseconds, sizes bytes. Text that callers make up (pages,
types, segments) is bounded where it comes in; empty text means that there is nothing to say.
Samples are not changed once they are recorded. They are not frozen only because every request makes
one, and a frozen one of that many fields takes 2 µs to make where this takes 0.7.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True, kw_only=True)
class Sample:
    """When it was seen, and by which process: `gateway-1a2b`, `resizer-3c4d`."""

    table: ClassVar[str]

    at_s: float
    process: str = ""


@dataclass(slots=True, kw_only=True)
class RequestSample(Sample):
    """One answered request."""

    table: ClassVar[str] = "requests"

    route: str
    status: int
    error: str = ""
    """The code of the problem, as in `/problems/<code>`."""
    request_id: str = ""
    lane: str = ""
    """`loop`, `inline` or `pool`; empty where nothing was made."""
    cache: str = ""
    """As in `X-Cache`."""
    source_format: str = ""
    format: str = ""
    """Of the result; of several, the first."""
    renditions: int = 0
    pixels: int = 0
    """Of the source."""
    total_ms: float = 0.0
    queue_ms: float = 0.0
    decode_ms: float = 0.0
    transform_ms: float = 0.0
    encode_ms: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_saved: int = 0
    """Of one-to-one work: the source less the result, where that is not negative."""
    replica: str = ""
    """Who made it."""


@dataclass(slots=True, kw_only=True)
class ResourceSample(Sample):
    """What one process of the service takes, and what its machine has left."""

    table: ClassVar[str] = "resources"

    kind: str
    """`gateway`, `resizer`, `hub`, `runner`, `batch`, `haproxy` or `ray`."""
    node: str = ""
    pid: int = 0
    cpu: float = 0.0
    """Cores, since the sample before."""
    rss_bytes: int = 0
    heap_bytes: int = 0
    """Handed out by malloc."""
    threads: int = 0
    open_files: int = 0
    loop_lag_ms: float = 0.0
    """How late the event loop was at most."""
    shm_used_share: float = 0.0
    disk_used_share: float = 0.0
    memory_used_share: float = 0.0


@dataclass(slots=True, kw_only=True)
class GaugeSample(Sample):
    """What stands in a gateway at the moment."""

    table: ClassVar[str] = "gauges"

    waiting: int = 0
    waiting_ms: float = 0.0
    """Estimated core-milliseconds in the queue."""
    active: int = 0
    replicas: int = 0
    cache_bytes: int = 0
    cache_entries: int = 0
    dropped_samples: int = 0
    """Since the process began: what the recorder had no room for."""


@dataclass(slots=True, kw_only=True)
class BatchSample(Sample):
    """One batch of the pool."""

    table: ClassVar[str] = "batches"

    tasks: int
    bytes_in: int = 0
    cost_ms: float = 0.0
    """As estimated."""
    took_ms: float = 0.0
    failed: int = 0


@dataclass(slots=True, kw_only=True)
class JobSample(Sample):
    """One attempt at a job that has come to an end."""

    table: ClassVar[str] = "jobs"

    job_id: str
    status: str
    priority: int = 5
    attempt: int = 1
    variants: int = 0
    queued_ms: float = 0.0
    run_ms: float = 0.0
    error: str = ""


@dataclass(slots=True, kw_only=True)
class VitalSample(Sample):
    """One web vital of one page view, in milliseconds (CLS has no unit)."""

    table: ClassVar[str] = "vitals"

    name: str
    value: float
    rating: str = ""
    page: str = ""
    session_id: str = ""
    device: str = ""
    connection: str = ""


@dataclass(slots=True, kw_only=True)
class EventSample(Sample):
    """Something that happened in a browser."""

    table: ClassVar[str] = "events"

    type: str
    page: str = ""
    session_id: str = ""
    data: str = ""
    """JSON."""


@dataclass(slots=True, kw_only=True)
class FunnelSample(Sample):
    """A visitor's session has come to a step."""

    table: ClassVar[str] = "funnel"

    step: str
    session_id: str
    user_id: str = ""
    segment: str = ""
    device: str = ""


TABLES: dict[str, type[Sample]] = {
    kind.table: kind
    for kind in (
        RequestSample,
        ResourceSample,
        GaugeSample,
        BatchSample,
        JobSample,
        VitalSample,
        EventSample,
        FunnelSample,
    )
}


@cache
def schema(table: str) -> "pa.Schema":
    """The columns of a table, in the order of the fields. Raises KeyError."""
    # 7 MB in each of a dozen processes, most of which measure nothing.
    import pyarrow as pa  # noqa: PLC0415

    types: dict[object, pa.DataType] = {float: pa.float64(), int: pa.int64(), str: pa.string()}
    return pa.schema(
        [pa.field(field.name, types[field.type], nullable=False) for field in fields(TABLES[table])]
    )
