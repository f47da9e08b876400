"""The Gateway: Serve's ingress, async only. Builds the HTTP application around a dispatcher."""

import gc

from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.serving.dispatch import DispatchConfig, Dispatcher
from omnishot_ray.serving.pool import ReplicaPool
from omnishot_ray.serving.resizer import Resizer


class Gateway:
    """One ingress replica."""

    def __init__(
        self,
        resizers: DeploymentHandle[Resizer],
        api: ApiConfig,
        dispatch: DispatchConfig,
        limits: Limits,
    ) -> None:
        self._dispatcher = Dispatcher(ReplicaPool(resizers), dispatch, limits)
        self._api = api

    def __serve_build_asgi_app__(self) -> ASGIApp:
        app = create_app(self._dispatcher, self._api, server_sends_request_id=True)
        # What is loaded now stays for good: keep the collector from walking it on every cycle.
        gc.collect()
        gc.freeze()
        return app
