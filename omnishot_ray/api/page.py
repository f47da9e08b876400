"""`/`: the page on which a visitor tries a picture and sees what the service does.

Its files lie in `page/` as they are sent; nothing builds them. They are read when the application
is put together and cost nothing more until somebody looks.
"""

import html
from collections.abc import Collection
from importlib.resources import files
from typing import Any

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from omnishot_ray import __version__
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.fingerprint import data_etag, matches_there
from omnishot_ray.api.negotiation import list_header
from omnishot_ray.api.problems import http_problem_response

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_HEADERS = {
    # Asked again each time, answered 304: while the gateways change to another version, a page and
    # modules of different ones must not meet in a browser's cache.
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def build_page_routes(config: ApiConfig, paths: Collection[str]) -> APIRouter:
    """The page and its files; `paths` are those of the routes that it may ask."""
    router = APIRouter(tags=["operations"])
    contents = {item.name: item.read_bytes() for item in (files(__package__) / "page").iterdir()}
    index = contents.pop("index.html").decode()
    service = orjson.dumps(
        {
            "version": __version__,
            "keys": bool(config.keys),
            "max_body_bytes": config.max_body_bytes,
            "routes": sorted(paths),
        }
    )
    page = _File("index.html", index.replace("{{service}}", html.escape(service.decode())).encode())
    parts = {name: _File(name, data) for name, data in contents.items()}

    @router.get("/", **_PAGE_DOCS)
    async def show(request: Request) -> Response:
        """The page itself."""
        return page.answer(request)

    @router.get("/page/{name}", include_in_schema=False)
    async def part(name: str, request: Request) -> Response:
        """What the page is made of."""
        if name not in parts:
            return http_problem_response(404, "No such file", request.state.request_id)
        return parts[name].answer(request)

    return router


class _File:
    """One file of the page, and the answer with it."""

    def __init__(self, name: str, data: bytes) -> None:
        self._data = data
        self._type = _TYPES[name[name.rindex(".") :]]
        self._headers = {**_HEADERS, "ETag": data_etag(data)}

    def answer(self, request: Request) -> Response:
        """The file, unless the browser has it."""
        if matches_there(list_header(request, "if-none-match"), self._headers["ETag"]):
            return Response(status_code=304, headers=self._headers)
        return Response(self._data, headers=self._headers, media_type=self._type)


_PAGE_DOCS: dict[str, Any] = {
    "summary": "The page on which to try a picture and see what the service does",
    "response_class": Response,
    "responses": {
        200: {
            "description": "The page",
            "content": {"text/html": {"schema": {"type": "string"}}},
        },
        304: {"description": "`If-None-Match` names this very page"},
    },
}
