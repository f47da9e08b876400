"""Who may ask, and how often: API keys and rate limits, before anything of a request is read."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.api.keys import SOCKET_PROTOCOL, Keyring, offered_key, sent_key
from omnishot_ray.api.problems import problem_response
from omnishot_ray.api.proxies import Proxies
from omnishot_ray.errors import KeyMissing, KeyRefused, OmnishotError, RateLimited

if TYPE_CHECKING:
    from omnishot_ray.api.ratelimits import RateLimits, Standing

logger = logging.getLogger(__name__)

_PROBES = frozenset({"/health", "/ready"})
_OPEN = _PROBES | {"/", "/docs", "/openapi.json", "/analytics.js"}
# A beacon carries no headers, and a key in a web page would be everybody's: the intake has bounds.
_OPEN_POSTS = frozenset(
    {
        "/api/analytics/performance/metrics",
        "/api/analytics/performance/alerts",
        "/api/analytics/funnel",
        "/api/analytics/events",
    }
)
_OPEN_BELOW = ("/page/", "/problems/", "/static-offline-docs/")


def is_open(method: str, path: str) -> bool:
    """Whether a request needs no key even where keys are wanted."""
    if method == "POST":
        return path in _OPEN_POSTS
    return method == "GET" and (path in _OPEN or path.startswith(_OPEN_BELOW))


class Guard:
    """ASGI middleware: lets in who has a key and is within the limit.

    A caller is a key or, without a right one, an address: who guesses keys is limited too.
    `scope["state"]["api_key"]` is the name of the key.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring | None, limits: "RateLimits | None", proxies: Proxies
    ) -> None:
        self._app = app
        self._keyring = keyring
        self._limits = limits
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        kind = scope["type"]
        if kind == "websocket":
            await self._guard_socket(scope, receive, send)
            return
        method = scope.get("method", "")
        if kind != "http" or (method == "GET" and scope["path"] in _PROBES):
            await self._app(scope, receive, send)
            return
        name, refusal = self._judge(scope, method)
        if self._limits is not None:
            caller = f"key:{name}" if name else f"address:{self._proxies.client_of(scope)}"
            standing = await self._limits.take(caller)
            if standing is not None:
                send = self._telling(standing, send)
                if not standing.admitted:
                    logger.info("%s is over its rate limit", caller)
                    refusal = _too_often(self._limits, standing)
        if refusal is not None:
            await problem_response(refusal, scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _judge(self, scope: Scope, method: str) -> tuple[str | None, OmnishotError | None]:
        """The name of the key that was sent, and why the request is turned away."""
        if self._keyring is None:
            return None, None
        given = sent_key(scope["headers"])
        name = None if given is None else self._keyring.name_of(given)
        if name is not None:
            scope["state"]["api_key"] = name
            return name, None
        if is_open(method, scope["path"]):
            return None, None
        if given is None:
            return None, KeyMissing(
                "An API key is needed; send it as Authorization: Bearer … or as X-API-Key."
            )
        request_id = scope["state"]["request_id"]
        logger.info("a wrong API key was sent, request id %s", request_id)
        return None, KeyRefused("This API key is not accepted; send one that was given out.")

    async def _guard_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        protocols = scope.get("subprotocols", ())
        if self._keyring is not None:
            given = sent_key(scope["headers"]) or offered_key(protocols)
            if given is None or self._keyring.name_of(given) is None:
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": 1008})  # the server answers 403
                return
        await self._app(scope, receive, _naming_protocol(send, protocols))

    def _telling(self, standing: "Standing", send: Send) -> Send:
        assert self._limits is not None
        told = f'"default";r={standing.remaining};t={standing.wait_whole_s}'
        headers = (
            (b"ratelimit-policy", self._limits.policy.encode()),
            (b"ratelimit", told.encode()),
        )

        async def send_and_tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        return send_and_tell


def _naming_protocol(send: Send, protocols: Iterable[str]) -> Send:
    """Takes `omnishot` where it is offered: a browser closes a socket that takes none of its own.

    The one with the key is never said back (RFC 6455 §11.3.4 lets it be any of those offered).
    """
    if SOCKET_PROTOCOL not in protocols:
        return send

    async def send_and_name(message: Message) -> None:
        if message["type"] == "websocket.accept" and not message.get("subprotocol"):
            message = {**message, "subprotocol": SOCKET_PROTOCOL}
        await send(message)

    return send_and_name


def _too_often(limits: "RateLimits", standing: "Standing") -> RateLimited:
    return RateLimited(
        f"More than {limits.count} requests in {limits.window_s} s; "
        f"the next one is let in after {standing.wait_whole_s} s.",
        standing.wait_whole_s,
    )
