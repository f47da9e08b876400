"""The latest samples as they came, bounded by time and by bytes."""

from collections import deque

import pyarrow as pa

from omnishot_ray.metrics.samples import schema

_TOGETHER = 64
"""Small batches that are made one: a batch of a few rows takes kilobytes beside them."""


class Ring:
    """Of one table. About `part_bytes` are forgotten at once."""

    def __init__(self, table: str, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._schema = schema(table)
        self._held: deque[tuple[float, pa.RecordBatch]] = deque()
        self._fresh: list[tuple[float, pa.RecordBatch]] = []
        self._fresh_bytes = 0
        self.nbytes = 0
        self.complete_from_s = 0.0
        """Before this time samples are missing."""

    def add(self, batch: pa.RecordBatch) -> None:
        """The latest samples; their times need no order."""
        newest = max(batch.column("at_s").to_numpy().max(), self.complete_from_s)
        self._fresh.append((float(newest), batch))
        self.nbytes += batch.nbytes
        self._fresh_bytes += batch.nbytes
        if len(self._fresh) >= _TOGETHER or self._fresh_bytes >= self._part_bytes:
            self._settle()

    def read(self, since_s: float) -> pa.Table:
        """All batches with samples of that time or later, and perhaps some before."""
        batches = [batch for newest, batch in (*self._held, *self._fresh) if newest >= since_s]
        return pa.Table.from_batches(batches, self._schema)

    def forget_old(self, oldest_s: float) -> None:
        """Batches whose time is over."""
        while self._held and self._held[0][0] < oldest_s:
            self._drop()

    def forget_oldest(self) -> bool:
        """Its oldest batch; false when there is none."""
        if not self._held:
            self._settle()
        if not self._held:
            return False
        self._drop()
        return True

    def _drop(self) -> None:
        newest, batch = self._held.popleft()
        self.nbytes -= batch.nbytes
        self.complete_from_s = max(self.complete_from_s, newest)

    def _settle(self) -> None:
        if self._fresh:
            table = pa.Table.from_batches([batch for _, batch in self._fresh], self._schema)
            (whole,) = table.combine_chunks().to_batches() or (self._fresh[0][1],)
            self.nbytes += whole.nbytes - sum(batch.nbytes for _, batch in self._fresh)
            self._held.append((max(newest for newest, _ in self._fresh), whole))
            self._fresh, self._fresh_bytes = [], 0
