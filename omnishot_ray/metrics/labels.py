"""Labels as small numbers, and how many different ones there may be."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from omnishot_ray.metrics.catalogue import OTHER

Ints = NDArray[np.int64]


class Codebook:
    """The codes of one column. 0 stands for all values that came when the book was full."""

    def __init__(self, bits: int, is_text: bool) -> None:
        self.limit = (1 << bits) - 1
        self.other: Any = OTHER if is_text else -1
        self._codes: dict[Any, int] = {}
        self._values: list[Any] = [self.other]
        self.overflows = 0
        """Rows that had no code of their own."""

    def __len__(self) -> int:
        return len(self._codes)

    def code_of(self, value: Any) -> int:
        """The code of a value; a new one where there is room."""
        code = self._codes.get(value)
        if code is None:
            if value == self.other or len(self._codes) >= self.limit:
                return 0
            code = self._codes[value] = len(self._values)
            self._values.append(value)
        return code

    def known(self, values: Sequence[Any]) -> list[int]:
        """The codes of those values that have one."""
        return [
            0 if value == self.other else self._codes[value]
            for value in values
            if value in self._codes or value == self.other
        ]

    def encode(self, column: pa.Array) -> tuple[Ints, pa.Array]:
        """The codes of a column, and the column as it is kept: with `other` where it overflowed."""
        packed = column.dictionary_encode()
        values = packed.dictionary.to_pylist()
        codes = np.array([self.code_of(value) for value in values], np.int64)
        rows: Ints = codes[packed.indices.to_numpy(zero_copy_only=False)]
        if len(values) and not codes.all():
            self.overflows += int(np.count_nonzero(rows == 0))
            kept = pa.array(
                [value if code else self.other for value, code in zip(values, codes, strict=True)],
                column.type,
            )
            column = kept.take(packed.indices)
        return rows, column

    def decode(self, codes: Ints) -> list[Any]:
        """The values of codes."""
        return [self._values[code] for code in codes.tolist()]


class Labels:
    """The labels of one table, packed into one number a row."""

    def __init__(self, bits: dict[str, int], texts: frozenset[str]) -> None:
        self.books = {name: Codebook(width, name in texts) for name, width in bits.items()}
        self._places: dict[str, tuple[int, int]] = {}
        shift = 0
        for name, width in bits.items():
            self._places[name] = shift, (1 << width) - 1
            shift += width

    def encode(self, batch: pa.RecordBatch) -> tuple[Ints, pa.RecordBatch]:
        """The packed labels of each row, and the batch as it is kept."""
        packed = np.zeros(batch.num_rows, np.int64)
        for name, (shift, _) in self._places.items():
            place = batch.schema.get_field_index(name)
            column = batch.column(place)
            codes, kept = self.books[name].encode(column)
            packed |= codes << shift
            if kept is not column:
                batch = batch.set_column(place, batch.schema.field(place), kept)
        return packed, batch

    def mask(self, names: Sequence[str]) -> int:
        """What is left of a packed number when only these labels count."""
        mask = 0
        for name in names:
            shift, ones = self._places[name]
            mask |= ones << shift
        return mask

    def codes(self, name: str, packed: Ints) -> Ints:
        """The codes of one label."""
        shift, ones = self._places[name]
        return (packed >> shift) & ones

    def values(self, name: str, packed: Ints) -> list[Any]:
        """The values of one label."""
        return self.books[name].decode(self.codes(name, packed))

    def allowed(self, name: str, values: Sequence[Any], packed: Ints) -> NDArray[np.bool_]:
        """Which rows have one of the values in a label."""
        found: NDArray[np.bool_] = np.isin(self.codes(name, packed), self.books[name].known(values))
        return found
