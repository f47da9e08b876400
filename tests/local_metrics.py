"""Metrics in this process: the real store behind the protocol."""

from dataclasses import asdict
from time import time
from typing import Any

import pyarrow as pa

from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.samples import Sample, schema
from omnishot_ray.metrics.store import MetricStore


class LocalMetrics:
    """What is recorded can be asked for at once."""

    def __init__(self) -> None:
        # A second ahead: what came within this one belongs to the past only when it is over.
        self.store = MetricStore(MetricsConfig(), lambda: time() + 1.0)
        self.samples: list[Sample] = []
        self.listed: list[dict[str, Any]] = []

    def record(self, *samples: Sample) -> None:
        self.samples += samples
        for table in {sample.table for sample in samples}:
            rows = [asdict(sample) for sample in samples if sample.table == table]
            self.store.ingest(table, pa.RecordBatch.from_pylist(rows, schema(table)))

    async def query(self, query: Query) -> pa.Table:
        return self.store.query(query)

    async def alerts(self) -> list[dict[str, Any]]:
        return self.listed
