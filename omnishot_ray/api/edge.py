"""The outermost layer: request id, security headers, and the last net under everything."""

import logging
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.api.problems import problem_response
from omnishot_ray.api.proxies import Proxies
from omnishot_ray.api.request_ids import UNSENT
from omnishot_ray.api.request_ids import request_id as request_id_of
from omnishot_ray.errors import InternalError

logger = logging.getLogger(__name__)

_STRICT_CSP = "default-src 'none'; frame-ancestors 'none'; sandbox"
_DOCS_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
)
_PAGE_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_DOCS_PATHS = ("/docs", "/static-offline-docs")

RawHeaders = tuple[tuple[bytes, bytes], ...]

_ALWAYS: RawHeaders = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"cross-origin"),
)
_HALF_A_YEAR_S = 15_552_000


class Edge:
    """ASGI middleware around the whole application.

    `hsts_s` is said on every answer (RFC 6797); where it is 0, half a year is said to those who
    came by TLS as `proxies` see it. `around_faults` wraps the answer to an unforeseen error as the
    middleware within wraps all others, so that a web page can read it too.
    """

    def __init__(
        self,
        app: ASGIApp,
        server_sends_request_id: bool = False,
        hsts_s: int = 0,
        proxies: Proxies | None = None,
        around_faults: Callable[[ASGIApp], ASGIApp] = lambda answer: answer,
    ) -> None:
        self._app = app
        self._sends_request_id = not server_sends_request_id
        self._proxies = None if hsts_s else proxies
        self._around_faults = around_faults
        always = (*_ALWAYS, _hsts(hsts_s)) if hsts_s else _ALWAYS
        self._strict = (*always, (b"content-security-policy", _STRICT_CSP.encode()))
        self._docs = (*always, (b"content-security-policy", _DOCS_CSP.encode()))
        self._page = (*always, (b"content-security-policy", _PAGE_CSP.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; other scopes pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope["headers"])
        scope.setdefault("state", {})["request_id"] = request_id
        is_head = scope["method"] == "HEAD"
        if is_head:  # every GET answers HEAD too (RFC 9110 §9.3.2); FastAPI does not see to it
            scope = {**scope, "method": "GET"}
        # Nothing within sets these, so they need not be looked for before they are added.
        path = scope["path"]
        added = self._docs if path.startswith(_DOCS_PATHS) else self._strict
        if path == "/":
            added = self._page
        if self._sends_request_id or UNSENT in scope:
            added = (*added, (b"x-request-id", request_id.encode()))
        if self._proxies is not None and self._proxies.sees_https(scope):
            added = (*added, _hsts(_HALF_A_YEAR_S))
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], *added]
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            logger.info("client went away", extra={"request_id": request_id})
        except Exception:
            key = scope["state"].get("api_key", "none")
            told = {"request_id": request_id}
            logger.exception(
                "unexpected error, request id %s, API key %s", request_id, key, extra=told
            )
            if started:
                raise
            fault = InternalError(
                "Something went wrong here, and it has been logged under the request id in "
                "`instance`. Trying again may help."
            )
            answer = self._around_faults(problem_response(fault, request_id))
            await answer(scope, receive, send_with_headers)


def _hsts(seconds: int) -> tuple[bytes, bytes]:
    return b"strict-transport-security", b"max-age=%d" % seconds
