"""What is in Parquet and Arrow files: pictures in a binary column, or addresses as text."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnishot_ray.batch.members import Found, Listed, Row
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.spans import Fault

_GUESSES = ("image", "jpg", "png", "webp", "bytes", "data", "content", "picture", "photo")
_ADDRESS_GUESSES = ("url", "uri", "path", "file", "file_name", "filename", "image_url", "image")
_ROWS_PER_CUT = 1024
"""A shard may begin within a large row group: after so many rows, because it then reads the column
from the group's beginning."""
_ROWS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Column:
    """Which column holds what. `field` is the path of a leaf: `image.bytes`."""

    field: str
    is_binary: bool
    name_field: str = ""
    """A text leaf that names the picture: `image.path` of Hugging Face's data sets."""


class NoColumn(ValueError):
    """The table has no column that could hold pictures or addresses."""


def choose_column(schema: pa.Schema, wanted: str | None) -> Column:
    """The column of pictures: the one asked for, or by its type and name.

    A struct with `bytes` and `path` counts as pictures: Hugging Face's `Image` feature.

    Raises `NoColumn` with a sentence for the user.
    """
    fields = [field for field in schema if wanted in (None, field.name)]
    if not fields:
        raise NoColumn(f"there is no column {wanted!r}; there are {', '.join(schema.names)}")
    fields.sort(key=lambda field: _rank(field.name, _GUESSES))
    for field in fields:
        kind = field.type
        if _is_binary(kind):
            return Column(field.name, True)
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            has_path = kind.get_field_index("path") >= 0 and _is_text(kind.field("path").type)
            return Column(f"{field.name}.bytes", True, f"{field.name}.path" if has_path else "")
    fields.sort(key=lambda field: _rank(field.name, _ADDRESS_GUESSES))
    for field in fields:
        known = _rank(field.name, _ADDRESS_GUESSES) < len(_ADDRESS_GUESSES)
        if _is_text(field.type) and (wanted or known):
            return Column(field.name, False)
    raise NoColumn("no column holds bytes or addresses; name one with --column")


def _rank(name: str, guesses: tuple[str, ...]) -> int:
    return guesses.index(name.lower()) if name.lower() in guesses else len(guesses)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


@contextmanager
def _parquet(place: Place) -> Iterator[pq.ParquetFile]:
    with place.open() as file, pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as table:
        yield table


def index_parquet(place: Place, wanted: str | None) -> Iterator[Found | Listed]:
    """Rows with a picture, as members, or the addresses in a text column.

    Of pictures only the footer is read, and their names where there are any.
    """
    try:
        with _parquet(place) as table:
            column = choose_column(table.schema_arrow, wanted)
            for group in range(table.num_row_groups):
                about = table.metadata.row_group(group)
                columns = map(about.column, range(about.num_columns))
                size = sum(one.total_compressed_size for one in columns)
                each = size // max(1, about.num_rows)
                if column.is_binary:
                    names = _names(table, group, column)
                    yield from _rows(group, about.num_rows, names, place.name, each)
                else:
                    for batch in table.iter_batches(row_groups=[group], columns=[column.field]):
                        yield from _addresses(batch.column(0), each)
    except NoColumn as error:
        yield Found("", -1, Fault("no-column", f"The table: {error}."))
    except pa.ArrowException:
        yield Found("", -1, Fault("archive-damaged", "The Parquet file cannot be read."))


def _names(table: pq.ParquetFile, group: int, column: Column) -> Iterator[str | None]:
    if column.name_field:
        leaf = column.name_field.rpartition(".")[2]
        for batch in table.iter_batches(row_groups=[group], columns=[column.name_field]):
            yield from _texts(batch.column(0).field(leaf))


def _rows(
    group: int, rows: int, names: Iterator[str | None], stem: str, each: int
) -> Iterator[Found]:
    for index in range(rows):
        name = next(names, None) or f"{stem.partition('.')[0]}-{group:04d}-{index:06d}"
        may_cut = index % _ROWS_PER_CUT == 0
        yield Found(name, -1, Row(group, index), may_cut=may_cut, stands_for=each)


def _addresses(column: pa.Array, each: int) -> Iterator[Listed]:
    return (Listed(text or "", each) for text in _texts(column))


def _texts(column: pa.Array) -> Iterator[str | None]:
    """By its bytes: they may be no UTF-8, which nobody checks who writes a table."""
    for value in column.cast(pa.large_binary()):
        raw = value.as_py()
        yield None if raw is None else raw.decode("utf-8", "surrogateescape")


def index_arrow(place: Place, wanted: str | None) -> Iterator[Found | Listed]:
    """The same of an Arrow IPC file or stream (Hugging Face's caches are streams)."""
    try:
        with _arrow(place) as batches:
            for group, batch in enumerate(batches):
                column = choose_column(batch.schema, wanted)
                each = batch.nbytes // max(1, batch.num_rows)
                if column.is_binary:
                    field = column.name_field
                    names = _texts(_leaf(batch, field)) if field else iter(())
                    yield from _rows(group, batch.num_rows, names, place.name, each)
                else:
                    yield from _addresses(batch.column(column.field), each)
    except NoColumn as error:
        yield Found("", -1, Fault("no-column", f"The table: {error}."))
    except pa.ArrowException:
        yield Found("", -1, Fault("archive-damaged", "The Arrow file cannot be read."))


@contextmanager
def _arrow(place: Place) -> Iterator[Iterator[pa.RecordBatch]]:
    with pa.memory_map(place.path) if place.is_local else place.open() as file:
        try:
            opened = pa.ipc.open_file(file)
            yield (opened.get_batch(at) for at in range(opened.num_record_batches))
        except pa.ArrowInvalid:
            file.seek(0)
            yield iter(pa.ipc.open_stream(file))


def _leaf(batch: Any, field: str) -> Any:
    head, _, leaf = field.partition(".")
    column = batch.column(head)
    return column.field(leaf) if leaf else column


def read_rows(place: Place, kind: str, wanted: str | None, rows: list[Row]) -> Iterator[Any]:
    """The values of rows in ascending order, as `pa.BinaryScalar`s: a large one is not yet copied.

    Of a row group a few rows at a time are in memory.
    """
    groups = {group: [row.index for row in some] for group, some in groupby(rows, _group_of)}
    if kind == "arrow":
        with _arrow(place) as batches:
            for group, batch in enumerate(batches):
                if group in groups:
                    values = _leaf(batch, choose_column(batch.schema, wanted).field)
                    yield from (values[index] for index in groups[group])
        return
    with _parquet(place) as table:
        field = choose_column(table.schema_arrow, wanted).field
        for group, indices in groups.items():
            yield from _of_row_group(table, group, field, indices)


def _group_of(row: Row) -> int:
    return row.group


def _of_row_group(
    table: pq.ParquetFile, group: int, field: str, indices: list[int]
) -> Iterator[Any]:
    start, at = 0, 0
    for batch in table.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=[field]):
        values = _leaf(batch, field)
        while at < len(indices) and indices[at] < start + len(values):
            yield values[indices[at] - start]
            at += 1
        start += len(values)
        if at == len(indices):
            return
