"""Sums and sketches by time and labels, as columns: what rollups are made of.

A cell is all rows of one step of time with the same labels. Everything here is whole-array work:
a row costs a microsecond to sum up, and cells merge without loss into longer steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omnishot_ray.metrics.sketches import bins_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_BIN_BITS = 16
_BIN_OFFSET = 1 << (_BIN_BITS - 1)


@dataclass(frozen=True, slots=True)
class Bins:
    """One sketched measure: how many rows of a cell fell into a bin, by cell and bin."""

    cell: NDArray[np.int32]
    bin: NDArray[np.int16]
    count: NDArray[np.int32]

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return int(self.cell.nbytes + self.bin.nbytes + self.count.nbytes)


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells by time and labels, in their order.

    `at` (whole seconds) is the beginning of a step, `group` packed labels, `rows` a count. `sums`,
    `lows` and `highs` are (measures, cells); `sketches` has an entry for each sketched measure.
    """

    at: Ints
    group: Ints
    rows: Ints
    sums: Floats
    lows: Floats
    highs: Floats
    sketches: tuple[Bins, ...]

    def __len__(self) -> int:
        return len(self.at)

    @property
    def nbytes(self) -> int:
        """Of memory."""
        plain = (self.at, self.group, self.rows, self.sums, self.lows, self.highs)
        return int(sum(a.nbytes for a in plain)) + sum(bins.nbytes for bins in self.sketches)

    def between(self, since_s: int, until_s: int) -> "Cells":
        """Those that begin within these seconds."""
        first, last = np.searchsorted(self.at, (since_s, until_s)).tolist()
        sketches = []
        for bins in self.sketches:
            one, end = np.searchsorted(bins.cell, (first, last)).tolist()
            cell = bins.cell[one:end] - np.int32(first)
            sketches.append(Bins(cell, bins.bin[one:end], bins.count[one:end]))
        return Cells(
            self.at[first:last],
            self.group[first:last],
            self.rows[first:last],
            self.sums[:, first:last],
            self.lows[:, first:last],
            self.highs[:, first:last],
            tuple(sketches),
        )

    def take(self, wanted: NDArray[np.bool_]) -> "Cells":
        """Only some of them."""
        if wanted.all():
            return self
        number = np.cumsum(wanted) - 1
        sketches = []
        for bins in self.sketches:
            kept = wanted[bins.cell]
            cell = number[bins.cell[kept]].astype(np.int32)
            sketches.append(Bins(cell, bins.bin[kept], bins.count[kept]))
        return Cells(
            self.at[wanted],
            self.group[wanted],
            self.rows[wanted],
            self.sums[:, wanted],
            self.lows[:, wanted],
            self.highs[:, wanted],
            tuple(sketches),
        )


def summarise(at_s: Floats, group: Ints, values: Floats, sketched: Sequence[int]) -> Cells:
    """Cells of a second each. `values` is (measures, rows); `sketched` numbers measures."""
    at = np.floor(at_s).astype(np.int64)
    order, starts, cell = _sorted_runs(at, group)
    values = values[:, order]
    first = order[starts]
    sketches = []
    for number in sketched:
        keys = _key(cell, bins_of(values[number]))
        sketches.append(_count(keys, np.ones(len(keys), np.int64)))
    return Cells(
        at[first],
        group[first],
        np.diff(np.append(starts, len(order))),
        np.add.reduceat(values, starts, axis=1),
        np.minimum.reduceat(values, starts, axis=1),
        np.maximum.reduceat(values, starts, axis=1),
        tuple(sketches),
    )


def merge(parts: Sequence[Cells], step_s: int) -> Cells:
    """The same rows in steps of `step_s` seconds. At least one part with at least one cell."""
    at = np.concatenate([part.at for part in parts])
    group = np.concatenate([part.group for part in parts])
    at -= at % step_s
    order, starts, sorted_cell = _sorted_runs(at, group)
    cell = np.empty(len(at), np.int64)
    cell[order] = sorted_cell
    first = order[starts]

    def joined(arrays: Sequence[Floats]) -> Floats:
        return np.concatenate(arrays, axis=-1)[..., order]

    offsets = np.cumsum([0, *(len(part) for part in parts)])
    sketches = []
    for number in range(len(parts[0].sketches)):
        pieces = [part.sketches[number] for part in parts]
        old = np.concatenate(
            [piece.cell + offset for piece, offset in zip(pieces, offsets[:-1], strict=True)]
        )
        bins = np.concatenate([piece.bin for piece in pieces]).astype(np.int64)
        counts = np.concatenate([piece.count for piece in pieces]).astype(np.int64)
        sketches.append(_count(_key(cell[old], bins), counts))
    return Cells(
        at[first],
        group[first],
        np.add.reduceat(np.concatenate([part.rows for part in parts])[order], starts),
        np.add.reduceat(joined([part.sums for part in parts]), starts, axis=1),
        np.minimum.reduceat(joined([part.lows for part in parts]), starts, axis=1),
        np.maximum.reduceat(joined([part.highs for part in parts]), starts, axis=1),
        tuple(sketches),
    )


def _sorted_runs(at: Ints, group: Ints) -> tuple[Ints, Ints, Ints]:
    """An order by time and group, where its runs of equals begin, and the run of each in order."""
    order = np.lexsort((group, at))
    at, group = at[order], group[order]
    begins = np.empty(len(at), np.bool_)
    begins[:1] = True
    begins[1:] = (at[1:] != at[:-1]) | (group[1:] != group[:-1])
    return order, np.flatnonzero(begins), np.cumsum(begins) - 1


def _key(cell: Ints, bins: Ints) -> Ints:
    return (cell << _BIN_BITS) | (bins + _BIN_OFFSET)


def _count(keys: Ints, counts: Ints) -> Bins:
    """Equal keys put together, in order."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    begins = np.empty(len(keys), np.bool_)
    begins[:1] = True
    begins[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(begins)
    summed = np.add.reduceat(counts[order], starts) if len(starts) else counts[:0]
    keys = keys[starts]
    return Bins(
        (keys >> _BIN_BITS).astype(np.int32),
        ((keys & ((1 << _BIN_BITS) - 1)) - _BIN_OFFSET).astype(np.int16),
        np.minimum(summed, 2**31 - 1).astype(np.int32),
    )
