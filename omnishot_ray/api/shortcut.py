"""The straight way to a route whose address holds nothing to be read out of it.

FastAPI documents and checks all routes, and answers what has no straight way (404, 405, `/docs`,
`/problems/{code}`). Its stack of middleware, dependency and exit-stack handling takes 55 µs a
request, as much as all of our own work on a request outside the engine.
"""

from collections.abc import Awaitable, Callable, Iterable

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from omnishot_ray.api.problems import problem_response
from omnishot_ray.errors import OmnishotError

Endpoint = Callable[[Request], Awaitable[Response]]


class Shortcut:
    """ASGI middleware: calls endpoints by method and path, and leaves the rest to `app`."""

    def __init__(self, app: ASGIApp, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._endpoints: dict[tuple[str, str], Endpoint] = {
            (method, route.path): route.endpoint
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and "{" not in route.path
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoints.get((scope.get("method", ""), scope.get("path", "")))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        try:
            response = await endpoint(request)
        except OmnishotError as error:
            response = problem_response(error, request.state.request_id)
        await response(scope, receive, send)
