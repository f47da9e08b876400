"""The id of a request: the client's, where it is safe to repeat, else one of our own."""

import re
import uuid
from collections.abc import Iterable

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

UNSENT = "omnishot.request_id_unsent"
"""In the scope of a request whose server sends no `X-Request-Id`, whatever others do."""

_NAME = b"x-request-id"
_SAFE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The first safe id among the headers of a request, or a new one."""
    for name, value in headers:
        if name == _NAME and _SAFE.fullmatch(value):
            return value.decode()
    return uuid.uuid4().hex


class SafeRequestIds:
    """ASGI middleware around a server that answers with the `X-Request-Id` it was given.

    Ray Serve adds the client's value to the answer as it came, whatever it is, beside any that the
    application sends. So that the answer and `instance` agree, it has to be safe before Serve
    reads it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with one safe id, or with none where none came."""
        headers = scope.get("headers", ())
        if any(name == _NAME for name, _ in headers):
            safe = (_NAME, request_id(headers).encode())
            others = [header for header in headers if header[0] != _NAME]
            scope = {**scope, "headers": [*others, safe]}
        await self._app(scope, receive, send)


def serve_middlewares() -> list[Middleware]:
    """For Serve to put around its own middleware: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""
    return [Middleware(SafeRequestIds)]
