"""The outermost layer: request id, security headers, and the last net under everything."""

import logging
import re
import uuid
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.api.problems import problem_response
from omnishot_ray.errors import InternalError

logger = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

_STRICT_CSP = "default-src 'none'; frame-ancestors 'none'; sandbox"
_DOCS_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_DOCS_PATHS = ("/docs", "/static-offline-docs")


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, server_sends_request_id: bool = False) -> None:
        self._app = app
        self._sends_request_id = not server_sends_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        is_head = scope["method"] == "HEAD"
        if is_head:  # every GET answers HEAD too (RFC 9110 §9.3.2); FastAPI does not see to it
            scope = {**scope, "method": "GET"}
        csp = _DOCS_CSP if scope["path"].startswith(_DOCS_PATHS) else _STRICT_CSP
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                if self._sends_request_id:
                    headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Content-Security-Policy"] = csp
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            logger.info("client went away", extra={"request_id": request_id})
        except Exception:
            logger.exception("unexpected error, request id %s", request_id)
            if started:
                raise
            fault = InternalError(
                "Something went wrong here, and it has been logged under the request id in "
                "`instance`. Trying again may help."
            )
            await problem_response(fault, request_id)(scope, receive, send_with_headers)


def _request_id(scope: Any) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            if _REQUEST_ID.fullmatch(given):
                return str(given)
    return uuid.uuid4().hex
