"""The HTTP application, put together."""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from omnishot_ray import __version__
from omnishot_ray.api.caching import build_cache_routes
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.edge import Edge
from omnishot_ray.api.images import build_image_routes
from omnishot_ray.api.info import build_info_routes
from omnishot_ray.api.operations import build_operation_routes
from omnishot_ray.api.problems import handle_error, handle_http_error
from omnishot_ray.api.shortcut import Shortcut
from omnishot_ray.cache.front import CachingOptimizer
from omnishot_ray.errors import OmnishotError
from omnishot_ray.protocol import Optimizer

_DESCRIPTION = """\
One image in, every rendition people need out. Send a picture to `/api/optimize` and get it back
sized, cropped and smaller; send it to `/api/variants` and get every size at once from one decode;
send it to `/api/info` and learn what it is and how it looks.
Errors are always `application/problem+json`.
"""


def create_app(
    optimizer: Optimizer,
    config: ApiConfig,
    front: CachingOptimizer | None = None,
    *,
    server_sends_request_id: bool = False,
) -> ASGIApp:
    """Build the ASGI application in front of an `Optimizer`, with caches in `front` of it.

    `server_sends_request_id` is for a server that gives every request an `X-Request-Id` and sends
    it back by itself, as Ray Serve does.
    """
    routers = _build_routers(optimizer, config, front)
    short = Shortcut(_documented(routers), routers)
    return Edge(short, server_sends_request_id=server_sends_request_id)


def describe_api(optimizer: Optimizer, config: ApiConfig) -> dict[str, Any]:
    """The OpenAPI document, the same as at `/openapi.json`."""
    return _documented(_build_routers(optimizer, config)).openapi()


def _build_routers(
    optimizer: Optimizer, config: ApiConfig, front: CachingOptimizer | None = None
) -> tuple[APIRouter, ...]:
    return (
        build_image_routes(optimizer, config, front),
        build_info_routes(optimizer, config),
        build_operation_routes(optimizer, front),
        build_cache_routes(optimizer, config, front),
    )


def _documented(routers: Iterable[APIRouter]) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        title="OmniShot Ray",
        version=__version__,
        description=_DESCRIPTION,
        redoc_url=None,
        exception_handlers={OmnishotError: handle_error, HTTPException: handle_http_error},
    )
    for router in routers:
        app.include_router(router)
    return app
