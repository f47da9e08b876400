"""The rows of the manifest, one for each rendition, and the sums over them.

The manifest tells what was made of what and is the same, byte by byte, however often a job was
interrupted. How long it took never is; that is in `timings.parquet`, under the same `source`,
`member` and `index`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

_ROWS_PER_GROUP = 64 * 1024


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One rendition of one member, or the failure of one or of all of them."""

    source: str
    """The container, as an address without its query."""
    member: str
    index: int
    """The member's place among the pictures of the container."""
    rendition: str
    """Empty where the picture itself failed."""
    status: str
    """`ok`, `failed`, or `copied` (`on_error=copy`)."""
    error: str = ""
    """The code, as in `/problems/<code>`, or of what is wrong with an archive."""
    detail: str = ""
    sha256_in: str = ""
    sha256_out: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    width_in: int = 0
    height_in: int = 0
    format_in: str = ""
    width: int = 0
    height: int = 0
    format: str = ""
    quality: str = ""
    """As asked for: a number, `auto`, `lossless`, or empty for the format's default."""
    crop_x: int | None = None
    """Of the upright source in pixels, where something was cropped."""
    crop_y: int | None = None
    crop_width: int | None = None
    crop_height: int | None = None
    frames: int = 0
    output: str = ""
    """The file, relative to the output's folder."""
    entry: str = ""
    """The member of that file, where outputs are packed."""


@dataclass(frozen=True, slots=True)
class TimingRow:
    """How long one picture took, in milliseconds."""

    source: str
    member: str
    index: int
    finished_at: float
    """Unix seconds."""
    read_ms: float
    decode_ms: float
    transform_ms: float
    encode_ms: float
    total_ms: float


_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    int | None: pa.int64(),
}


def _schema(kind: type) -> pa.Schema:
    return pa.schema(
        [
            pa.field(item.name, _TYPES[item.type], nullable=item.type == int | None)
            for item in fields(kind)
        ]
    )


MANIFEST = _schema(ManifestRow)
TIMINGS = _schema(TimingRow)


def table_of(rows: Iterable[Any], schema: pa.Schema) -> pa.Table:
    """Rows of one kind as a table."""
    rows = list(rows)
    columns = [
        pa.array([getattr(row, field.name) for row in rows], type=field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def write_parts(parts: Iterable[pa.Table], schema: pa.Schema, file: IO[bytes]) -> None:
    """One Parquet file of many small tables; in memory is one row group."""
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        pending: list[pa.Table] = []
        count = 0
        for part in parts:
            pending.append(part)
            count += part.num_rows
            if count >= _ROWS_PER_GROUP:
                writer.write_table(pa.concat_tables(pending), row_group_size=_ROWS_PER_GROUP * 2)
                pending, count = [], 0
        if pending:
            writer.write_table(pa.concat_tables(pending), row_group_size=_ROWS_PER_GROUP * 2)


@dataclass(frozen=True, slots=True)
class Counts:
    """Sums over some rows; those of a job are the sums of its shards."""

    shards: int = 0
    pictures: int = 0
    failed_pictures: int = 0
    """With at least one failure."""
    renditions: int = 0
    failed: int = 0
    """Rows with a failure."""
    copied: int = 0
    others: int = 0
    """Members that are no pictures by name."""
    bytes_in: int = 0
    bytes_out: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def count_rows(rows: Iterable[ManifestRow], others: int) -> Counts:
    """The counts of one shard."""
    pictures: dict[int, int] = {}
    failed_pictures: set[int] = set()
    renditions = failed = copied = bytes_out = 0
    for row in rows:
        pictures[row.index] = row.bytes_in
        bytes_out += row.bytes_out
        if row.status == "failed":
            failed += 1
            failed_pictures.add(row.index)
        elif row.status == "copied":
            copied += 1
            failed_pictures.add(row.index)
        else:
            renditions += 1
    return Counts(
        shards=1,
        pictures=len(pictures),
        failed_pictures=len(failed_pictures),
        renditions=renditions,
        failed=failed,
        copied=copied,
        others=others,
        bytes_in=sum(pictures.values()),
        bytes_out=bytes_out,
    )


def iter_rows(path: Any, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a manifest or of timings, a few at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(4096, columns=columns):
            yield from batch.to_pylist()
