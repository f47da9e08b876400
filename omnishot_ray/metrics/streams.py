"""Samples as Arrow record batches, and tables as Arrow IPC streams."""

from operator import attrgetter

import pyarrow as pa

from omnishot_ray.metrics.samples import Sample, schema


def columns(table: str, samples: list[Sample], process: str) -> pa.RecordBatch:
    """Samples of one table as columns; `process` is said of those that say none."""
    fields = schema(table)
    read = attrgetter(*fields.names)
    values = list(zip(*map(read, samples), strict=True))
    place = fields.names.index("process")
    values[place] = tuple(name or process for name in values[place])
    arrays = [pa.array(column, field.type) for column, field in zip(values, fields, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=fields)


def pack(table: str, samples: list[Sample], process: str) -> bytes:
    """The same as an Arrow IPC stream."""
    return to_stream(columns(table, samples, process))


def to_stream(batch: pa.RecordBatch | pa.Table) -> bytes:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write(batch)
    return bytes(sink.getvalue())


def from_stream(stream: bytes) -> pa.Table:
    """The table of an Arrow IPC stream. Raises `pyarrow.ArrowInvalid`."""
    with pa.ipc.open_stream(stream) as reader:
        return reader.read_all()
