"""The newest sample of each process: what a gauge shows."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

HEARD_S = 15.0
"""A process that has not been heard of for so long is taken for gone."""
_MOST = 4096


class Latest:
    """Of one table."""

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}

    def note(self, batch: pa.RecordBatch) -> None:
        """The newest samples of some processes."""
        for row in batch.slice(max(0, batch.num_rows - _MOST)).to_pylist():
            known = self._rows.get(row["process"])
            if known is None and len(self._rows) >= _MOST:
                continue
            if known is None or known["at_s"] <= row["at_s"]:
                self._rows[row["process"]] = row

    def rows(self, now_s: float) -> Iterator[dict[str, Any]]:
        """Of those who have been heard of lately."""
        for row in self._rows.values():
            if row["at_s"] >= now_s - HEARD_S:
                yield row

    def forget_old(self, now_s: float) -> None:
        """Those who are gone."""
        self._rows = {row["process"]: row for row in self.rows(now_s)}
