"""Where nothing is measured."""

from typing import Any

import pyarrow as pa

from omnishot_ray.errors import EngineUnavailable
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.samples import Sample


class NoMetrics:
    """`Metrics` that forgets what it is told and can say nothing."""

    def record(self, sample: Sample) -> None:
        """Forget it."""

    async def query(self, query: Query) -> pa.Table:  # noqa: ARG002
        """Raises `EngineUnavailable`."""
        raise EngineUnavailable("Nothing is measured here; switch the metrics on to ask for them.")

    async def alerts(self) -> list[dict[str, Any]]:
        """There are none."""
        return []
