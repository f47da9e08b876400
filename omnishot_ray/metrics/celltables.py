"""Cells as an Arrow table with their labels in words, and back: what rollups look like on disk.

A row is a cell: `at_s`, the labels, `rows`, and `sum_`, `low_`, `high_` of each measure. Of each
sketched measure there are `bins_` and `counts_`, lists of the same length (`sketches.py` says what
a bin is).
"""

import numpy as np
import pyarrow as pa

from omnishot_ray.metrics.cells import Bins, Cells
from omnishot_ray.metrics.labels import Labels
from omnishot_ray.metrics.samples import schema
from omnishot_ray.metrics.shapes import SHAPES, measures

_PLAIN = (("sum", "sums"), ("low", "lows"), ("high", "highs"))


def to_table(table: str, cells: Cells, labels: Labels) -> pa.Table:
    """A row for each cell."""
    columns: dict[str, pa.Array] = {"at_s": pa.array(cells.at)}
    for name in SHAPES[table].labels:
        kind = schema(table).field(name).type
        columns[name] = pa.array(labels.values(name, cells.group), kind)
    columns["rows"] = pa.array(cells.rows)
    for number, name in enumerate(measures(table)):
        for prefix, field in _PLAIN:
            columns[f"{prefix}_{name}"] = pa.array(getattr(cells, field)[number])
    for name, sketch in zip(SHAPES[table].sketched, cells.sketches, strict=True):
        offsets = np.searchsorted(sketch.cell, np.arange(len(cells) + 1)).astype(np.int32)
        columns[f"bins_{name}"] = pa.ListArray.from_arrays(offsets, pa.array(sketch.bin))
        columns[f"counts_{name}"] = pa.ListArray.from_arrays(offsets, pa.array(sketch.count))
    return pa.table(columns)


def from_table(table: str, rows: pa.Table, labels: Labels) -> Cells:
    """The cells of such a table, which has to be in the order of time. Raises KeyError."""
    rows = rows.combine_chunks()
    (batch,) = rows.to_batches()
    group, _ = labels.encode(batch.select(["at_s", *SHAPES[table].labels]))
    plain = {
        field: np.array([rows[f"{prefix}_{name}"].to_numpy() for name in measures(table)]).reshape(
            len(measures(table)), len(rows)
        )
        for prefix, field in _PLAIN
    }
    sketches = []
    for name in SHAPES[table].sketched:
        bins, counts = batch.column(f"bins_{name}"), batch.column(f"counts_{name}")
        lengths = np.diff(bins.offsets.to_numpy())
        sketches.append(
            Bins(
                np.repeat(np.arange(len(rows), dtype=np.int32), lengths),
                bins.flatten().to_numpy(),
                counts.flatten().to_numpy(),
            )
        )
    return Cells(
        rows["at_s"].to_numpy(), group, rows["rows"].to_numpy(), **plain, sketches=tuple(sketches)
    )
