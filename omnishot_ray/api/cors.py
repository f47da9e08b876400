"""Web pages of other origins: CORS (Fetch Standard §3.2) by Starlette, refusals as problems."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from omnishot_ray.api.problems import problem_response
from omnishot_ray.errors import OriginRefused

_METHODS = ("GET", "HEAD", "POST", "DELETE")
_SENT = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "X-API-Key",
    "X-Request-Id",
)
EXPOSED = (
    "Content-Disposition",
    "ETag",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Server-Timing",
    "X-Cache",
    "X-OmniShot-Crop",
    "X-OmniShot-Gravity",
    "X-OmniShot-Key",
    "X-OmniShot-Degraded",
    "X-OmniShot-Result",
    "X-OmniShot-Source",
    "X-Request-Id",
)
"""Headers of answers that a script may read; there is no pattern for a prefix."""


class Cors(CORSMiddleware):
    """Starlette's middleware, set up for this API."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(app, origins, _METHODS, _SENT, expose_headers=EXPOSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, which never carries a key; let the rest through."""
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            headers = Headers(scope=scope)
            if "origin" in headers and "access-control-request-method" in headers:
                response = self.preflight_response(headers)
                if response.status_code != 200:
                    refusal = OriginRefused(
                        "Pages of this origin may not send such a request; `cors_origins` names "
                        f"those that may ask by {', '.join(_METHODS)}."
                    )
                    response = problem_response(refusal, scope["state"]["request_id"])
                    response.headers["Vary"] = self.preflight_headers["Vary"]
                await response(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
