"""The Gateway: Serve's ingress, async only. Builds the HTTP application around a dispatcher."""

import asyncio
import gc
import logging
import secrets

from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import build_front
from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.samples import GaugeSample
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher
from omnishot_ray.serving.load import REPORT_INTERVAL_S
from omnishot_ray.serving.metrics_client import HubMetrics
from omnishot_ray.serving.pool import ReplicaPool
from omnishot_ray.serving.resizer import Resizer

logger = logging.getLogger(__name__)


class Gateway:
    """One ingress replica."""

    def __init__(
        self,
        resizers: DeploymentHandle[Resizer],
        api: ApiConfig,
        dispatch: DispatchConfig,
        limits: Limits,
        cache: CacheConfig,
        metrics: MetricsConfig,
    ) -> None:
        gateway_id = secrets.token_hex(4)
        self._metrics = HubMetrics(f"gateway-{gateway_id}", metrics) if metrics.enabled else None
        self._metrics_config = metrics
        if self._metrics:
            self._metrics.start("gateway", self._gauge)  # first: the hub takes a while to begin
        self._pool = ReplicaPool(resizers)
        self._front = build_front(cache)
        self._dispatcher = Dispatcher(
            self._pool,
            dispatch,
            limits,
            Quarantine(cache.node_dir),
            gateway_id=gateway_id,
            metrics=self._metrics,
        )
        self._api = api
        self._reporting = asyncio.get_running_loop().create_task(self._report_load())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = create_app(
            self._dispatcher,
            self._api,
            self._front,
            server_sends_request_id=True,
            metrics=self._metrics,
            metrics_config=self._metrics_config,
        )
        # What is loaded now stays for good: keep the collector from walking it on every cycle.
        gc.collect()
        gc.freeze()
        return app

    def _gauge(self) -> GaugeSample:
        assert self._metrics is not None
        gauge = self._dispatcher.gauge()
        gauge.cache_bytes, gauge.cache_entries = self._front.held
        gauge.dropped_samples = self._metrics.recorder.dropped
        return gauge

    async def _report_load(self) -> None:
        """Tell the autoscaler what waits here, also when no batch goes out to carry it."""
        while True:
            try:
                await asyncio.wait_for(
                    self._pool.report(self._dispatcher.report_load()), 5 * REPORT_INTERVAL_S
                )
            except TimeoutError:
                logger.warning("no replica took the load report")
            await asyncio.sleep(REPORT_INTERVAL_S)
