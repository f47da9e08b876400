"""A sample of every answer, taken where the answers leave."""

from collections.abc import Iterable
from time import perf_counter, time

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.metrics.notes import begin
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.metrics.samples import RequestSample

_LOST = 499
"""Where the client went away before an answer began, as nginx calls it."""


class Recording:
    """ASGI middleware around everything. Takes a few microseconds, and waits for nobody."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._record = metrics.record
        self._paths = frozenset(
            route.path
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and "{" not in route.path
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = begin()
        began = perf_counter()
        status, sent = _LOST, 0

        async def count(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, count)
        finally:
            self._record(
                RequestSample(
                    at_s=time(),
                    route=self._route(scope),
                    status=status,
                    error=notes.error,
                    request_id=scope.get("state", {}).get("request_id", ""),
                    lane=notes.lane,
                    cache=notes.cache,
                    source_format=notes.source_format,
                    format=notes.format,
                    renditions=notes.renditions,
                    pixels=notes.pixels,
                    total_ms=(perf_counter() - began) * 1000.0,
                    queue_ms=notes.queue_ms,
                    decode_ms=notes.decode_ms,
                    transform_ms=notes.transform_ms,
                    encode_ms=notes.encode_ms,
                    bytes_in=notes.bytes_in,
                    bytes_out=sent,
                    bytes_saved=notes.bytes_saved,
                )
            )

    def _route(self, scope: Scope) -> str:
        """The route's own path; all addresses that are none together are `other`."""
        path: str = scope["path"]
        if path in self._paths:
            return path
        found = getattr(scope.get("route"), "path", "")
        return found or "other"
