"""The tables in memory: samples as they came, and their rollups. Knows no files and no Ray."""

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnishot_ray.errors import FieldError, InvalidParameters
from omnishot_ray.metrics.answering import fits_cells, from_cells, from_samples
from omnishot_ray.metrics.cells import Cells, merge, summarise
from omnishot_ray.metrics.celltables import from_table, to_table
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.intake import clean
from omnishot_ray.metrics.labels import Labels
from omnishot_ray.metrics.query import FUNCTIONS, Query
from omnishot_ray.metrics.ring import Ring
from omnishot_ray.metrics.rollups import Level, Rollups
from omnishot_ray.metrics.samples import TABLES, schema
from omnishot_ray.metrics.shapes import SHAPES, measures

_DAY_S = 86_400.0
_MAX_STEPS = 20_000
_EVER = 1 << 40
"""Seconds that never end."""
_MEASURE_S = 5.0
"""How often it is looked how large the rollups are."""

Older = Callable[[str, float, float], pa.Table]
"""Samples of a table between two times, both included, of where they are kept for longer."""


class MetricStore:
    """All tables. For one thread.

    `older` is asked where a question needs samples as they came that are no longer in memory.
    """

    def __init__(
        self,
        config: MetricsConfig,
        clock: Callable[[], float] = time.time,
        older: Older | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._older = older
        keep_s = config.retention_days * _DAY_S
        self._keep_s = keep_s
        self._measured_s = clock()
        self._rings = {table: Ring(table, config.raw_bytes // 32) for table in TABLES}
        self._rollups = {table: Rollups(keep_s) for table in TABLES}
        self._totals = {table: Level(_EVER, 2 * _EVER, math.inf) for table in TABLES}
        self.labels = {
            table: Labels(
                shape.labels,
                frozenset(f.name for f in schema(table) if pa.types.is_string(f.type)),
            )
            for table, shape in SHAPES.items()
        }
        self.samples: Counter[str] = Counter()
        """Taken in, by table."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """Rows or values that were dropped or clamped, by table and reason."""

    def ingest(self, table: str, batch: pa.RecordBatch, is_new: bool = True) -> pa.RecordBatch:
        """Take in samples; what was kept of them comes back. Raises `InvalidParameters`.

        What is not new, because an earlier store has seen it, does not count in `totals`.
        """
        now_s = self._clock()
        batch, refused = clean(table, batch, now_s, now_s - self._keep_s)
        for reason, count in refused.items():
            self.refused[table, reason] += count
        if not batch.num_rows:
            return batch
        group, batch = self.labels[table].encode(batch)
        names = measures(table)
        values = np.empty((len(names), batch.num_rows))
        for number, name in enumerate(names):
            values[number] = batch.column(name).to_numpy()
        sketched = [names.index(name) for name in SHAPES[table].sketched]
        at_s = batch.column("at_s").to_numpy()
        cells = summarise(at_s, group, values, sketched)
        self._rollups[table].add(cells)
        self._rings[table].add(batch)
        if is_new:
            self._totals[table].add(cells)
            self.samples[table] += batch.num_rows
        self._keep_within_bytes()
        return batch

    def query(self, query: Query) -> pa.Table:
        """The answer as `Metrics.query` says it. Raises `InvalidParameters`."""
        check_query(query)
        until_s = self._clock() if query.until_s is None else query.until_s
        since_s = until_s - query.window_s
        if fits_cells(query):
            step_s = None if query.step_s is None else int(query.step_s)
            parts = list(self._rollups[query.table].read(since_s, until_s, step_s))
            return from_cells(query, parts, self.labels[query.table], (since_s, until_s))
        return from_samples(query, self.read(query.table, since_s), (since_s, until_s))

    def read(self, table: str, since_s: float) -> pa.Table:
        """Samples as they came, of that time and later and perhaps some before."""
        ring = self._rings[table]
        samples = ring.read(since_s)
        if self._older is None or ring.complete_from_s <= since_s:
            return samples
        # The same rows may be on both sides of the border; they are told apart by their time.
        border_s = ring.complete_from_s
        older = self._older(table, since_s, border_s)
        newer = samples.filter(pc.field("at_s") > border_s)
        return pa.concat_tables([older, newer])

    def recent_errors(self, since_s: float, most: int) -> list[dict[str, Any]]:
        """The newest requests in memory that failed, the newest first."""
        samples = self._rings["requests"].read(since_s)
        failed = samples.filter((pc.field("status") >= 400) & (pc.field("at_s") >= since_s))
        newest: list[dict[str, Any]] = (
            failed.sort_by([("at_s", "descending")]).slice(0, most).to_pylist()
        )
        return newest

    def dump(self, table: str, since_s: int, until_s: int) -> pa.Table | None:
        """Rollups by the minute, to be restored by another store; None where there are none."""
        parts = list(self._rollups[table].minutes(since_s, until_s))
        return to_table(table, merge(parts, 60), self.labels[table]) if parts else None

    def restore(self, table: str, minutes: pa.Table) -> None:
        """Take in what was dumped. The shorter steps and the samples are not had of it."""
        cells = from_table(table, minutes, self.labels[table])
        self._rollups[table].restore(cells)
        ring = self._rings[table]
        ring.complete_from_s = max(ring.complete_from_s, float(cells.at[-1]) + 60.0)

    def totals(self, table: str) -> Cells | None:
        """A cell for each combination of labels, of all new samples; None before the first."""
        parts = list(self._totals[table].read(0, _EVER))
        return merge(parts, _EVER) if parts else None

    def tick(self) -> None:
        """Let go of what is too old."""
        now_s = self._clock()
        for rollups in self._rollups.values():
            rollups.forget_old(now_s)
        for ring in self._rings.values():
            ring.forget_old(now_s - self._config.raw_s)

    @property
    def overflows(self) -> dict[tuple[str, str], int]:
        """Rows whose label became `other` because there were too many, by table and column."""
        return {
            (table, column): book.overflows
            for table, labels in self.labels.items()
            for column, book in labels.books.items()
            if book.overflows
        }

    @property
    def held_bytes(self) -> dict[str, int]:
        """Of memory, by part."""
        return {
            "samples": sum(ring.nbytes for ring in self._rings.values()),
            "rollups": sum(rollups.nbytes for rollups in self._rollups.values()),
        }

    def _keep_within_bytes(self) -> None:
        rings = self._rings.values()
        while sum(ring.nbytes for ring in rings) > self._config.raw_bytes:
            if not max(rings, key=lambda ring: ring.nbytes).forget_oldest():
                break
        if self._clock() < self._measured_s + _MEASURE_S:
            return
        self._measured_s = self._clock()
        levels = [level for rollups in self._rollups.values() for level in rollups.levels]
        held = {level: level.nbytes for level in levels}
        over = sum(held.values()) - self._config.rollup_bytes
        while over > 0 and held:
            largest = max(held, key=lambda level: held[level])
            if not largest.forget_oldest():
                del held[largest]
                continue
            over -= held[largest] - largest.nbytes
            held[largest] = largest.nbytes


def check_query(query: Query) -> None:
    """Raises `InvalidParameters`, with the fields, unless a query can be answered."""
    if query.table not in TABLES:
        _refuse("table", f"there are {', '.join(TABLES)}")
    columns = schema(query.table).names
    for name in (*query.group_by, *query.where):
        if name not in columns or name == "at_s":
            _refuse("group_by", f"{query.table} has no label {name[:40]!r}")
    if len(set(query.group_by)) < len(query.group_by):
        _refuse("group_by", "a name is there twice")
    for aggregate in query.aggregates:
        if aggregate.function not in FUNCTIONS:
            _refuse("aggregations", f"there are {', '.join(FUNCTIONS)}")
        if aggregate.function not in ("count", "rate") and aggregate.column not in measures(
            query.table
        ):
            _refuse("aggregations", f"{query.table} has no measure {aggregate.column[:40]!r}")
    if not 0 < query.window_s < math.inf:
        _refuse("window", "more than 0 seconds")
    if query.step_s is not None and (
        query.step_s < 1 or query.step_s % 1 or query.window_s / query.step_s > _MAX_STEPS
    ):
        _refuse("step", f"whole seconds, at least 1, and at most {_MAX_STEPS} steps")


def _refuse(name: str, detail: str) -> NoReturn:
    raise InvalidParameters(f"{name}: {detail}.", (FieldError(name, detail),))
