"""What is let into the tables: rows with a time, finite numbers, texts of bounded length."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnishot_ray.errors import InvalidParameters
from omnishot_ray.metrics.samples import TABLES, schema
from omnishot_ray.metrics.shapes import LONG

MAX_TEXT = 256
"""Characters of a text; of those that may be longer see `LONG`."""
_AHEAD_S = 5.0
"""How far the clocks of machines may differ."""


def clean(
    table: str, batch: pa.RecordBatch, now_s: float, oldest_s: float
) -> tuple[pa.RecordBatch, Counter[str]]:
    """The rows that can be kept, and how many rows or values were not as they should be.

    Dropped are rows whose time is no number (`time`) or before `oldest_s` (`old`). A time in the
    future becomes `now_s` (`future`), a number that is not finite 0 (`number`), a text is cut
    (`text`). Raises `InvalidParameters` for a table or column that is not there.
    """
    refused: Counter[str] = Counter()
    batch = _in_shape(table, batch)
    at = batch.column("at_s").to_numpy()
    is_time = np.isfinite(at)
    is_old = is_time & (at < oldest_s)
    kept = is_time & ~is_old
    if not kept.all():
        refused["time"] += int(np.count_nonzero(~is_time))
        refused["old"] += int(np.count_nonzero(is_old))
        batch = batch.filter(pa.array(kept))
        at = at[kept]
    is_ahead = at > now_s + _AHEAD_S
    if is_ahead.any():
        refused["future"] += int(np.count_nonzero(is_ahead))
        batch = batch.set_column(
            0, batch.schema.field(0), pa.array(np.where(is_ahead, now_s, at), pa.float64())
        )
    for place, field in enumerate(batch.schema):
        column = batch.column(place)
        if pa.types.is_floating(field.type) and place:
            values = column.to_numpy()
            wrong = ~np.isfinite(values)
            if wrong.any():
                refused["number"] += int(np.count_nonzero(wrong))
                mended = pa.array(np.where(wrong, 0.0, values), pa.float64())
                batch = batch.set_column(place, field, mended)
        elif pa.types.is_string(field.type) and batch.num_rows:
            most = LONG.get((table, field.name), MAX_TEXT)
            if (pc.max(pc.binary_length(column)).as_py() or 0) > most:
                cut = pc.utf8_slice_codeunits(column, 0, most)
                refused["text"] += int(pc.sum(pc.not_equal(cut, column)).as_py() or 0)
                batch = batch.set_column(place, field, cut)
    return batch, +refused


def _in_shape(table: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """With all columns of the table in their order; those that are missing are empty."""
    if table not in TABLES:
        raise InvalidParameters(f"There is no table {table[:40]!r}; there are {', '.join(TABLES)}.")
    wanted = schema(table)
    if batch.schema.equals(wanted) and not any(column.null_count for column in batch.columns):
        return batch
    unknown = [name for name in batch.schema.names if name not in wanted.names]
    if unknown:
        raise InvalidParameters(f"{table} has no column {unknown[0][:40]!r}.")
    columns = []
    for field in wanted:
        place = batch.schema.get_field_index(field.name)
        if place < 0:
            columns.append(pa.repeat(pa.scalar(_empty(field), field.type), batch.num_rows))
        else:
            columns.append(batch.column(place).cast(field.type).fill_null(_empty(field)))
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _empty(field: pa.Field) -> str | float | int:
    if pa.types.is_string(field.type):
        return ""
    return float("nan") if field.name == "at_s" else 0
