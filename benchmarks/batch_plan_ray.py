"""The Ray side of `benchmarks.batch_plan`: shards of a made-up index, nothing done."""

from collections.abc import Iterator
from functools import partial
from time import perf_counter
from typing import Any

import pyarrow as pa
import ray
from ray.data import Datasource
from ray.data.block import BlockMetadata
from ray.data.datasource import ReadTask

from benchmarks.batch_plan import shards
from benchmarks.rss import resident_bytes
from omnishot_ray.batch.bundles import bundled
from omnishot_ray.batch.manifest import Counts
from omnishot_ray.batch.pipeline import cluster, flow, row_of, values_of
from omnishot_ray.batch.worker import ShardReport

_SETTLED_SHARDS = 16


class MadeUp(Datasource):
    """A plan of so many members."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known."""
        return None

    def get_read_tasks(self, *_: Any, **__: Any) -> list[ReadTask]:
        """One for all."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None, input_files=None)
        return [ReadTask(partial(_rows, self._count), unknown)]


def _rows(count: int) -> Iterator[pa.Table]:
    return map(row_of, bundled(shards(count)))


class Nothing:
    """A stage that counts."""

    def __call__(self, rows: pa.Table) -> pa.Table:
        """A report for each shard."""
        return row_of(
            [ShardReport(0, v.ordinal, Counts(shards=1), 0, False) for v in values_of(rows)]
        )


def run(count: int) -> dict[str, float]:
    """The growth of this process, the driver, from the first shards to its peak."""
    with cluster(None, 2):
        began = perf_counter()
        done, first, most = 0, 0, 0
        for _ in flow(MadeUp(count), 1, Nothing, (), 2):
            done += 1
            if done == _SETTLED_SHARDS:
                first = resident_bytes()
            if done % 64 == 0:
                most = max(most, resident_bytes())
        seconds = perf_counter() - began
        most = max(most, resident_bytes())
    ray.shutdown()
    return {"shards": done, "seconds": seconds, "grown_mb": (most - (first or most)) / 1e6}
