"""Which columns of a table rollups are kept by, and which have sketches.

Columns named here are labels: their distinct values are bounded. Other texts, ids above all, are
kept only in the samples as they came. Numbers that are no labels are measures: they are summed, and
of the sketched ones percentiles can be had over any time.
"""

from dataclasses import dataclass, fields
from functools import cache

from omnishot_ray.metrics.samples import TABLES


@dataclass(frozen=True, slots=True)
class Shape:
    """`labels` are columns with the bits of their codes; `sketched` are measures."""

    labels: dict[str, int]
    sketched: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(self.labels.values()) > 62:
            raise ValueError("all labels of a table have to fit into 62 bits together")


SHAPES: dict[str, Shape] = {
    "requests": Shape(
        {
            "route": 6,
            "status": 7,
            "error": 6,
            "lane": 3,
            "cache": 4,
            "source_format": 4,
            "format": 4,
            "process": 12,
        },
        ("total_ms", "queue_ms", "decode_ms", "transform_ms", "encode_ms", "bytes_out"),
    ),
    "resources": Shape(
        {"kind": 4, "node": 10, "process": 12}, ("cpu", "rss_bytes", "heap_bytes", "loop_lag_ms")
    ),
    "gauges": Shape({"process": 12}, ("waiting", "waiting_ms")),
    "batches": Shape({"process": 12}, ("tasks", "took_ms")),
    "jobs": Shape({"status": 4, "priority": 5, "error": 6, "process": 12}, ("queued_ms", "run_ms")),
    "vitals": Shape({"name": 4, "rating": 3, "page": 8, "device": 5, "connection": 5}, ("value",)),
    "events": Shape({"type": 8, "page": 8}),
    "funnel": Shape({"step": 5, "segment": 8, "device": 5}),
}

LONG = {("events", "data"): 4096}
"""Characters of those texts that may be longer than others."""


def room(table: str, label: str) -> int:
    """How many values of a label are told apart, beside the empty one. Raises KeyError."""
    return int(2 ** SHAPES[table].labels[label]) - 2


_NO_MEASURES = frozenset({"at_s", "pid"})


@cache
def measures(table: str) -> tuple[str, ...]:
    """The numeric columns that are summed up. Raises KeyError."""
    labels = SHAPES[table].labels
    return tuple(
        column.name
        for column in fields(TABLES[table])
        if column.name not in _NO_MEASURES and column.name not in labels and column.type is not str
    )
