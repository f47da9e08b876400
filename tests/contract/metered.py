"""The HTTP face with metrics in the same process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.cache.memory import MemoryTier
from omnishot_ray.errors import EngineUnavailable
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.protocol import Optimizer
from tests.contract.checks import CheckedClient


class Absent(LocalMetrics):
    """A hub that has died."""

    async def query(self, query: Any) -> Any:
        raise EngineUnavailable("The metrics hub does not answer; it is begun anew.")

    async def snapshot(self, *given: Any) -> Any:
        raise EngineUnavailable("The metrics hub does not answer; it is begun anew.")

    async def exposition(self, accept: str) -> Any:
        raise EngineUnavailable("The metrics hub does not answer; it is begun anew.")

    async def check_ready(self) -> str:
        return "the metrics hub does not answer within 2 s"


@contextmanager
def watched(
    metrics: LocalMetrics, optimizer: Optimizer | None = None, **config: Any
) -> Iterator[CheckedClient]:
    cache = CacheConfig()
    front = CachingOptimizer(cache, MemoryTier(cache.memory_bytes))
    app = create_app(
        optimizer or LocalOptimizer(Limits()),
        ApiConfig(),
        front,
        metrics=metrics,
        metrics_config=MetricsConfig(**config),
    )
    with CheckedClient(app) as client:
        yield client
