"""Answers to questions: by cells where labels are asked for, else row by row."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from omnishot_ray.metrics.cells import Cells
from omnishot_ray.metrics.labels import Labels
from omnishot_ray.metrics.query import Aggregate, Query
from omnishot_ray.metrics.samples import schema
from omnishot_ray.metrics.shapes import SHAPES, measures
from omnishot_ray.metrics.sketches import quantiles

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MAX_ROWS = 100_000
"""Of an answer; a question that would give more is cut at the first ones."""


def fits_cells(query: Query) -> bool:
    """Whether the labels and sketches hold all that is asked for."""
    shape = SHAPES[query.table]
    sketched = all(
        aggregate.column in shape.sketched
        for aggregate in query.aggregates
        if share_of(aggregate.function) is not None
    )
    return sketched and all(name in shape.labels for name in (*query.group_by, *query.where))


def share_of(function: str) -> float | None:
    """0.99 of `p99`; None of what is no percentile."""
    return int(function[1:]) / 100 if function[0] == "p" else None


def from_cells(
    query: Query, parts: Sequence[Cells], labels: Labels, span_s: tuple[float, float]
) -> pa.Table:
    """The answer by rollups; percentiles are off by at most `sketches.ACCURACY` of their value."""
    shape, columns = SHAPES[query.table], measures(query.table)
    mask = labels.mask(query.group_by)
    at_parts, group_parts, kept_parts = [], [], []
    for part in parts:
        wanted = np.ones(len(part), np.bool_)
        for name, values in query.where.items():
            wanted &= labels.allowed(name, values, part.group)
        kept = part.take(wanted)
        kept_parts.append(kept)
        at_parts.append(kept.at)
        group_parts.append(kept.group & mask)
    at = np.concatenate([np.empty(0, np.int64), *at_parts])
    group = np.concatenate([np.empty(0, np.int64), *group_parts])
    rows = _Rows(query, at, [group])

    def joined(name: str, pick: Callable[[Cells], Floats]) -> Floats:
        number = columns.index(name)
        return np.concatenate([np.empty(0), *(pick(part)[number] for part in kept_parts)])

    counts = rows.total(np.concatenate([np.empty(0, np.int64), *(p.rows for p in kept_parts)]))

    def reduce(aggregate: Aggregate) -> Floats:
        name = aggregate.column
        match aggregate.function:
            case "sum":
                return rows.total(joined(name, lambda part: part.sums))
            case "avg":
                return rows.total(joined(name, lambda part: part.sums)) / counts
            case "min":
                return rows.least(joined(name, lambda part: part.lows))
            case "max":
                return -rows.least(-joined(name, lambda part: part.highs))
            case _:
                return _sketched(rows, kept_parts, shape.sketched.index(name), aggregate)

    keys = {name: labels.values(name, rows.firsts(group)) for name in query.group_by}
    return _table(query, rows, keys, counts, reduce, span_s)


def _sketched(rows: "_Rows", parts: Sequence[Cells], number: int, aggregate: Aggregate) -> Floats:
    share = share_of(aggregate.function)
    assert share is not None
    row_of, bins, counts, offset = [], [], [], 0
    for part in parts:
        sketch = part.sketches[number]
        row_of.append(rows.index[sketch.cell + offset])
        bins.append(sketch.bin)
        counts.append(sketch.count)
        offset += len(part)
    if not parts:
        return np.full(rows.count, np.nan)
    return quantiles(
        np.concatenate(row_of),
        np.concatenate(bins).astype(np.int64),
        np.concatenate(counts).astype(np.int64),
        share,
        rows.count,
    )


def from_samples(query: Query, samples: pa.Table, span_s: tuple[float, float]) -> pa.Table:
    """The exact answer by the samples themselves."""
    at = samples["at_s"].to_numpy()
    wanted = (at >= span_s[0]) & (at < span_s[1])
    for name, values in query.where.items():
        chosen = pa.array(list(values), schema(query.table).field(name).type)
        wanted &= pc.is_in(samples[name], value_set=chosen).to_numpy()
    samples = samples.filter(pa.array(wanted))
    at = samples["at_s"].to_numpy()
    codes, books = [], []
    for name in query.group_by:
        packed = samples[name].combine_chunks().dictionary_encode()
        if isinstance(packed, pa.ChunkedArray):
            packed = packed.combine_chunks()
        codes.append(packed.indices.to_numpy(zero_copy_only=False).astype(np.int64))
        books.append(packed.dictionary)
    rows = _Rows(query, np.floor(at).astype(np.int64), codes)
    counts = rows.total(np.ones(len(at), np.int64))

    def reduce(aggregate: Aggregate) -> Floats:
        values = samples[aggregate.column].to_numpy().astype(np.float64)
        match aggregate.function:
            case "sum":
                return rows.total(values)
            case "avg":
                return rows.total(values) / counts
            case "min":
                return rows.least(values)
            case "max":
                return -rows.least(-values)
            case _:
                return _ranked(rows, values, aggregate)

    keys = {
        name: book.take(pa.array(rows.firsts(code))).to_pylist()
        for name, code, book in zip(query.group_by, codes, books, strict=True)
    }
    return _table(query, rows, keys, counts, reduce, span_s)


def _ranked(rows: "_Rows", values: Floats, aggregate: Aggregate) -> Floats:
    share = share_of(aggregate.function)
    assert share is not None
    answer = np.full(rows.count, np.nan)
    if len(values):
        order = np.lexsort((values, rows.index))
        present, first = np.unique(rows.index[order], return_index=True)
        sizes = np.diff(np.append(first, len(order)))
        ranks = np.floor(share * (sizes - 1) + 1e-9).astype(np.int64)
        answer[present] = values[order][first + ranks]
    return answer


class _Rows:
    """Which row of the answer each input belongs to; without grouping there is always one."""

    def __init__(self, query: Query, at: Ints, codes: Sequence[Ints]) -> None:
        step = None if query.step_s is None else int(query.step_s)
        index = np.zeros(len(at), np.int64) if step is None else at // step
        for code in codes:
            _, number = np.unique(code, return_inverse=True)
            _, base = np.unique(index, return_inverse=True)
            index = base * (int(number.max(initial=0)) + 1) + number
        _, first, self.index = np.unique(index, return_index=True, return_inverse=True)
        self.count = len(first)
        self._first = first
        if not self.count and step is None and not query.group_by:
            self.count = 1
        self.at = np.zeros(0) if step is None else (at[first] // step * step).astype(np.float64)

    def firsts(self, values: Ints) -> Ints:
        """The value of the first input of each row."""
        return values[self._first]

    def total(self, values: Any) -> Floats:
        return np.bincount(self.index, values, self.count).astype(np.float64)

    def least(self, values: Floats) -> Floats:
        lowest = np.full(self.count, np.nan)
        if len(values):
            order = np.argsort(self.index, kind="stable")
            starts = np.searchsorted(self.index[order], np.arange(self.count))
            lowest = np.minimum.reduceat(values[order], starts)
        return lowest


def _table(
    query: Query,
    rows: _Rows,
    keys: dict[str, list[Any]],
    counts: Floats,
    reduce: Callable[[Aggregate], Floats],
    span_s: tuple[float, float],
) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    if query.step_s is not None:
        columns["at_s"] = pa.array(rows.at, pa.float64())
    for name, values in keys.items():
        columns[name] = pa.array(values, schema(query.table).field(name).type)
    seconds = query.step_s or max(span_s[1] - span_s[0], 1e-9)
    with np.errstate(invalid="ignore", divide="ignore"):
        for aggregate in query.aggregates:
            if aggregate.function == "count":
                columns[aggregate.name] = pa.array(counts.astype(np.int64))
            elif aggregate.function == "rate":
                columns[aggregate.name] = pa.array(counts / seconds)
            else:
                columns[aggregate.name] = pa.array(reduce(aggregate), from_pandas=True)
    return pa.table(columns).slice(0, MAX_ROWS)
