"""The HTTP application, put together."""

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from omnishot_ray import __version__
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.edge import Edge
from omnishot_ray.api.images import build_image_routes
from omnishot_ray.api.info import build_info_routes
from omnishot_ray.api.operations import build_operation_routes
from omnishot_ray.api.problems import handle_error, handle_http_error
from omnishot_ray.errors import OmnishotError
from omnishot_ray.protocol import Optimizer

_DESCRIPTION = """\
One image in, every rendition people need out. Send a picture to `/api/optimize` and get it back
sized, cropped and smaller; send it to `/api/variants` and get every size at once from one decode;
send it to `/api/info` and learn what it is and how it looks.
Errors are always `application/problem+json`.
"""


def create_app(
    optimizer: Optimizer, config: ApiConfig, *, server_sends_request_id: bool = False
) -> Starlette:
    """Build the ASGI application in front of an `Optimizer`.

    `server_sends_request_id` is for a server that gives every request an `X-Request-Id` and sends
    it back by itself, as Ray Serve does.
    """
    app: FastAPI = FastAPIOffline(
        title="OmniShot Ray",
        version=__version__,
        description=_DESCRIPTION,
        redoc_url=None,
        exception_handlers={OmnishotError: handle_error, HTTPException: handle_http_error},
    )
    app.include_router(build_image_routes(optimizer, config))
    app.include_router(build_info_routes(optimizer, config))
    app.include_router(build_operation_routes(optimizer))
    app.add_middleware(Edge, server_sends_request_id=server_sends_request_id)
    return app
