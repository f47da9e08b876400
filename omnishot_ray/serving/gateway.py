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
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher
from omnishot_ray.serving.load import REPORT_INTERVAL_S
from omnishot_ray.serving.parcels import Hatch
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
    ) -> None:
        self._pool = ReplicaPool(resizers, Hatch(cache.node_dir))
        self._front = build_front(cache)
        self._dispatcher = Dispatcher(
            self._pool,
            dispatch,
            limits,
            Quarantine(cache.node_dir),
            gateway_id=secrets.token_hex(4),
        )
        self._api = api
        self._reporting = asyncio.get_running_loop().create_task(self._report_load())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = create_app(self._dispatcher, self._api, self._front, server_sends_request_id=True)
        # What is loaded now stays for good: keep the collector from walking it on every cycle.
        gc.collect()
        gc.freeze()
        return app

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
