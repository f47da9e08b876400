"""The metrics hub as an actor of its own."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from omnishot_ray.errors import OmnishotError
from omnishot_ray.frugal import spare_arrow_pandas
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.samples import Sample
from omnishot_ray.metrics.streams import columns, to_stream
from omnishot_ray.serving.pulse import Pulse
from omnishot_ray.serving.resources import Neighbours, Watch
from omnishot_ray.telemetry.config import LogConfig
from omnishot_ray.telemetry.logs import configure_logs

logger = logging.getLogger(__name__)

T = TypeVar("T")

_TICK_S = 1.0
_MOST_WAITING = 256
"""Deliveries that wait to be taken in; beyond it they are dropped and counted."""


class HubActor:
    """A `Hub` on a thread of its own, so that the actor answers while it works."""

    def __init__(
        self,
        config: MetricsConfig,
        logs: LogConfig | None = None,
    ) -> None:
        if logs is not None:
            configure_logs(logs, "hub")
        spare_arrow_pandas()
        self._config = config
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hub")
        self._waiting = 0
        self._hub = Hub(config)
        self._own: list[Sample] = []
        self._neighbours = Neighbours()
        self._tasks = [asyncio.ensure_future(self._tick_for_ever())]
        pulse = Pulse(self._own.append, Watch("hub", "hub"), config.resources_s)
        self._tasks.append(asyncio.ensure_future(pulse.beat()))

    async def ingest(self, streams: Mapping[str, bytes]) -> None:
        """Tables as Arrow IPC streams."""
        if self._waiting >= _MOST_WAITING:
            self._hub.store.refused["other", "busy"] += 1
            return
        self._waiting += 1
        try:
            await self._do(partial(self._hub.ingest, streams))
        finally:
            self._waiting -= 1

    async def query(self, query: Query) -> bytes | OmnishotError:
        """The answer as an Arrow IPC stream."""
        return await self._answer(lambda: to_stream(self._hub.query(query)))

    async def samples(self, table: str, window_s: float) -> bytes | OmnishotError:
        """As `LiveMetrics.samples`, as an Arrow IPC stream."""
        return await self._answer(lambda: to_stream(self._hub.samples(table, window_s)))

    async def snapshot(
        self, window_s: float, group_by: tuple[str, ...], functions: tuple[str, ...]
    ) -> dict[str, Any] | OmnishotError:
        """As `LiveMetrics.snapshot`."""
        return await self._answer(lambda: self._hub.snapshot(window_s, group_by, functions))

    async def exposition(self, accept: str) -> tuple[bytes, str] | OmnishotError:
        """As `LiveMetrics.exposition`."""
        return await self._answer(lambda: self._hub.exposition(accept))

    async def alerts(self) -> list[dict[str, Any]] | OmnishotError:
        """As `Metrics.alerts`."""
        return await self._answer(self._hub.alerts)

    async def ping(self) -> str:
        """Answer `ok`."""
        return "ok"

    async def write(self) -> None:
        """Write what has not been written yet."""
        await self._do(self._hub.write)

    async def _do(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _answer(self, work: Callable[[], T]) -> T | OmnishotError:
        """Failures as values: an exception of an actor comes wrapped, with its traces."""
        try:
            return await self._do(work)
        except OmnishotError as error:
            return error.stripped()

    async def _tick_for_ever(self) -> None:
        await self._do(self._hub.restore)
        looked_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            is_due = loop.time() - looked_at >= self._config.resources_s
            if is_due:
                looked_at = loop.time()
            try:
                await self._do(partial(self._tick, is_due))
            except Exception:
                logger.exception("the metrics hub stumbled")
            await asyncio.sleep(_TICK_S)

    def _tick(self, looks: bool) -> None:
        samples, self._own[:] = self._own[:], []
        if looks:
            samples += self._neighbours.look()
        if samples:
            self._hub.take("resources", columns("resources", samples, "hub"))
        self._hub.tick()
