"""Batches of samples for the tests of the metrics."""

from typing import Any

import numpy as np
import pyarrow as pa

from omnishot_ray.metrics.samples import schema

NOON = 1_800_000_000.0
"""A whole hour."""


def batch(table: str = "requests", rows: int = 1, **columns: Any) -> pa.RecordBatch:
    """`rows` samples; a column is one value for all or one for each. What is not said is empty."""
    arrays = []
    for field in schema(table):
        value = columns.pop(field.name, NOON if field.name == "at_s" else None)
        if value is None:
            value = "" if pa.types.is_string(field.type) else 0
        if isinstance(value, np.ndarray | list):
            arrays.append(pa.array(value, field.type))
        else:
            arrays.append(pa.array([value] * rows, field.type))
    assert not columns
    return pa.RecordBatch.from_arrays(arrays, schema=schema(table))


def traffic(rows: int, since_s: float, until_s: float, seed: int = 0) -> pa.RecordBatch:
    """Requests as they may come: routes, statuses, formats, and times over two decades."""
    draw = np.random.default_rng(seed)
    return batch(
        "requests",
        rows,
        at_s=draw.uniform(since_s, until_s, rows),
        process=draw.choice(["gateway-1", "gateway-2"], rows).tolist(),
        route=draw.choice(["/api/optimize", "/api/variants", "/api/info"], rows).tolist(),
        status=draw.choice([200, 304, 429], rows, p=[0.9, 0.07, 0.03]),
        format=draw.choice(["jpeg", "webp", "avif"], rows).tolist(),
        cache=draw.choice(["miss", "hit-memory"], rows).tolist(),
        request_id=[f"request-{seed}-{number}" for number in range(rows)],
        total_ms=draw.lognormal(3, 1, rows),
        queue_ms=draw.exponential(2, rows),
        encode_ms=draw.lognormal(2, 1, rows),
        bytes_out=draw.integers(1_000, 100_000, rows),
    )


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now
