"""The metrics of one process by itself, for tests and for commands that run no Ray."""

import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Alerting, Hub
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.samples import Sample
from omnishot_ray.metrics.streams import columns


class LocalMetrics:
    """A `LiveMetrics` without a hub elsewhere: samples are taken in when somebody asks."""

    def __init__(
        self,
        config: MetricsConfig | None = None,
        clock: Callable[[], float] = time.time,
        alerting: Alerting | None = None,
    ) -> None:
        self._config = config or MetricsConfig()
        self.hub = Hub(self._config, clock, alerting)
        self._held: list[Sample] = []
        self.dropped = 0

    def record(self, sample: Sample) -> None:
        """Take note of it."""
        if len(self._held) >= self._config.buffer_samples:
            self.dropped += 1
            return
        self._held.append(sample)

    async def query(self, query: Query) -> pa.Table:
        """As `Metrics.query`."""
        self.flush()
        return self.hub.query(query)

    async def alerts(self) -> list[dict[str, Any]]:
        """As `Metrics.alerts`."""
        self.flush()
        return self.hub.alerts()

    async def snapshot(
        self, window_s: float, group_by: tuple[str, ...] = (), functions: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        """As `LiveMetrics.snapshot`."""
        self.flush()
        return self.hub.snapshot(window_s, group_by, functions)

    async def samples(self, table: str, window_s: float) -> pa.Table:
        """As `LiveMetrics.samples`."""
        self.flush()
        return self.hub.samples(table, window_s)

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """As `LiveMetrics.exposition`."""
        self.flush()
        return self.hub.exposition(accept)

    async def check_ready(self) -> str:
        """It is there."""
        return "ok"

    def flush(self) -> None:
        """Take in what was recorded, and do what is due."""
        held, self._held = self._held, []
        for table in {sample.table for sample in held}:
            rows = [sample for sample in held if sample.table == table]
            self.hub.take(table, columns(table, rows, "local"))
        self.hub.tick()
