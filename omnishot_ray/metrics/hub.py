"""Everything that the metrics hub is, without Ray: tables, Parquet, and what is told of them.

For one thread; `serving/metrics_hub.py` gives it a process of its own, `LocalMetrics` none.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from omnishot_ray.errors import OmnishotError
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.latest import Latest
from omnishot_ray.metrics.query import MOST_SAMPLES, Query
from omnishot_ray.metrics.samples import TABLES
from omnishot_ray.metrics.snapshot import take_snapshot
from omnishot_ray.metrics.store import MetricStore, check_query
from omnishot_ray.metrics.streams import from_stream

logger = logging.getLogger(__name__)

_HOUR_S = 3600
_LATE_S = 120.0
"""An hour is put together so long after its end: samples of it may still come."""
_UNWRITTEN_BYTES = 64 << 20
"""Held at most while storage cannot be written to."""


class Alerting(Protocol):
    """Looks at the tables after every tick."""

    def evaluate(self, store: MetricStore, now_s: float) -> None:
        """Bring the alerts up to date."""
        ...

    def alerts(self) -> list[dict[str, Any]]:
        """Active ones first, then those resolved of late, the newest first."""
        ...


class NoAlerting:
    """Nothing is ever the matter."""

    def evaluate(self, store: MetricStore, now_s: float) -> None:
        """Look at nothing."""

    def alerts(self) -> list[dict[str, Any]]:
        """None."""
        return []


class Hub:
    """Takes samples in, answers questions. `tick` has to be called every second or so."""

    def __init__(
        self,
        config: MetricsConfig,
        clock: Callable[[], float] = time.time,
        alerting: Alerting | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._alerting = alerting or NoAlerting()
        self._archive = None
        if config.uri:
            # Parquet takes 50 ms to import and 5 MB: only for who writes it.
            from omnishot_ray.metrics.archive import Archive  # noqa: PLC0415

            self._archive = Archive(config.uri)
        self.store = MetricStore(config, clock, self._archive.read if self._archive else None)
        self.latest = {"resources": Latest(), "gauges": Latest()}
        self._unwritten: dict[str, list[pa.RecordBatch]] = {table: [] for table in TABLES}
        self._unwritten_bytes = 0
        self._written_s = clock()
        self.write_failures = 0

    def ingest(self, streams: Mapping[str, bytes]) -> None:
        """Tables as Arrow IPC streams. What cannot be read is counted and left out."""
        for table, stream in streams.items():
            try:
                batches = from_stream(stream).to_batches()
            except pa.ArrowInvalid:
                self.store.refused[table if table in TABLES else "other", "stream"] += 1
                continue
            for batch in batches:
                self.take(table, batch)

    def take(self, table: str, batch: pa.RecordBatch) -> None:
        """Samples of one table."""
        try:
            kept = self.store.ingest(table, batch)
        except (OmnishotError, pa.ArrowInvalid) as error:
            logger.warning("samples were refused: %s", error)
            self.store.refused[table if table in TABLES else "other", "table"] += batch.num_rows
            return
        if kept.num_rows and table in self.latest:
            self.latest[table].note(kept)
        if kept.num_rows and self._archive:
            self._unwritten[table].append(kept)
            self._unwritten_bytes += kept.nbytes

    def query(self, query: Query) -> pa.Table:
        """As `Metrics.query`."""
        return self.store.query(query)

    def alerts(self) -> list[dict[str, Any]]:
        """As `Metrics.alerts`."""
        return self._alerting.alerts()

    def snapshot(
        self, window_s: float, group_by: tuple[str, ...], functions: tuple[str, ...]
    ) -> dict[str, Any]:
        """As `LiveMetrics.snapshot`."""
        return take_snapshot(self, self._clock(), window_s, group_by, functions)

    def samples(self, table: str, window_s: float) -> pa.Table:
        """As `LiveMetrics.samples`."""
        check_query(Query(table, window_s))
        since_s = self._clock() - window_s
        samples = self.store.read(table, since_s)
        samples = samples.filter(pc.field("at_s") >= since_s).sort_by("at_s")
        return samples.slice(max(0, samples.num_rows - MOST_SAMPLES))

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """As `LiveMetrics.exposition`."""
        from omnishot_ray.metrics.prometheus import expose  # noqa: PLC0415  # 30 ms, and 1 MB

        return expose(self, self._clock(), accept)

    def tick(self) -> None:
        """Write what is due, let go of what is old, look after the alerts."""
        now_s = self._clock()
        self.store.tick()
        for latest in self.latest.values():
            latest.forget_old(now_s)
        if now_s >= self._written_s + self._config.write_s:
            self.write()
        try:
            self._alerting.evaluate(self.store, now_s)
        except Exception:
            logger.exception("the alerts could not be looked at")

    def write(self) -> None:
        """Write what has come since the last time; put hours that are over together."""
        now_s, before_s = self._clock(), self._written_s
        self._written_s = now_s
        if self._archive is None:
            return
        try:
            for table, batches in self._unwritten.items():
                if batches:
                    self._archive.write(table, pa.Table.from_batches(batches), now_s)
                    self._unwritten_bytes -= sum(batch.nbytes for batch in batches)
                    self._unwritten[table] = []
            if (now_s - _LATE_S) // _HOUR_S != (before_s - _LATE_S) // _HOUR_S:
                self._settle(now_s)
        except OSError as error:
            self.write_failures += 1
            logger.warning("metrics could not be written: %s", error)
            while self._unwritten_bytes > _UNWRITTEN_BYTES:
                largest = max(
                    self._unwritten.values(), key=lambda held: sum(b.nbytes for b in held)
                )
                gone = largest.pop(0)
                self._unwritten_bytes -= gone.nbytes
                self.store.refused["other", "unwritten"] += gone.num_rows

    def restore(self) -> None:
        """Take in again what was written before this hub began."""
        if self._archive is None:
            return
        now_s = self._clock()
        oldest_hour = int(now_s - self._config.retention_days * 86_400) // _HOUR_S
        for table in TABLES:
            try:
                for hour in self._archive.hours(table):
                    if hour >= oldest_hour:
                        self._restore_hour(table, hour)
            except (OSError, pa.ArrowInvalid, KeyError) as error:
                logger.warning("%s could not be read again: %s", table, error)

    def _restore_hour(self, table: str, hour: int) -> None:
        assert self._archive is not None
        rollup = self._archive.read_rollup(table, hour)
        if rollup is not None:
            self.store.restore(table, rollup[1])
        after = rollup[0] if rollup else 0
        for batch in self._archive.read_hour(table, hour, after).to_batches():
            if batch.num_rows:
                self.store.ingest(table, batch, is_new=False)

    def _settle(self, now_s: float) -> None:
        assert self._archive is not None
        over = int(now_s - _LATE_S) // _HOUR_S
        for table in TABLES:
            for hour in self._archive.hours(table):
                # Only what is still in memory by the minute can be rolled up.
                if over - 24 <= hour < over and self._archive.is_open(table, hour):
                    rollup = self.store.dump(table, hour * _HOUR_S, (hour + 1) * _HOUR_S)
                    self._archive.settle(table, hour, rollup)
        self._archive.expire(now_s - self._config.retention_days * 86_400)
