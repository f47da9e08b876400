"""The way from uvicorn to the application, past what Serve does for every request.

A replica of Serve begins two tasks, a queue and a set of contexts for each request, keeps its own
figures of it and looks for its route, which takes as long as a picture from the cache in all.
Serve's hook for middleware stands before that, in the gateway's own process and event loop, so
what comes by HTTP goes from there to the application. What Serve would have done for it is done
here: so many at once, and the end of work whose client has left. What is on its way when a gateway
ends uvicorn waits for. WebSockets and Serve's own addresses go Serve's way, as does what comes by
Serve's own proxy, which HAProxy falls back to while it knows no gateway.
"""

import asyncio

from ray.serve._private.constants import (
    RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH,
    RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD,
)
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omnishot_ray.api.request_ids import UNSENT, SafeRequestIds

_WATCH_AFTER_S = 0.15
"""Most are answered or turned away before that, and nobody needs to watch whether their clients
leave."""

_SERVES_OWN = "/-/"


class Ingress:
    """An ASGI application that hands HTTP on to `app`, so many requests at once."""

    def __init__(self, app: ASGIApp, most_at_once: int) -> None:
        self._app = app
        self._turns = asyncio.Semaphore(most_at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; it is cancelled where its client leaves."""
        client = _Client(receive)
        scope[UNSENT] = True
        try:
            async with self._turns:
                await self._app(scope, client.receive, send)
        except asyncio.CancelledError:
            if not client.has_left:
                raise
        finally:
            client.forget()


class _Client:
    """Who asks: what it still sends, and whether it is still there.

    That shows when all it sent is read, so one part of a body is read ahead for an application that
    does not ask for it, and no more.
    """

    def __init__(self, receive: Receive) -> None:
        self.has_left = False
        self._receive = receive
        self._request = asyncio.current_task()
        self._ahead: Message | None = None
        self._is_reading = self._is_whole = False
        self._watching: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._watch_later()

    async def receive(self) -> Message:
        """The next part of the body. Where the client leaves the request is cancelled."""
        if self._watching and not self._is_whole:
            await asyncio.wait([self._watching])  # it is at the next part
        if self._ahead:
            message, self._ahead = self._ahead, None
            self._watch_later()
            return message
        if self._is_whole:
            await asyncio.Event().wait()
        return await self._read()

    def forget(self) -> None:
        """The request is answered."""
        if self._timer:
            self._timer.cancel()
        if self._watching:
            self._watching.cancel()

    async def _read(self) -> Message:
        self._is_reading = True
        try:
            message = await self._receive()
        finally:
            self._is_reading = False
        if message["type"] == "http.disconnect":
            self._leave()
            await asyncio.Event().wait()
        self._is_whole = not message.get("more_body", False)
        self._watch_later()
        return message

    def _leave(self) -> None:
        self.has_left = True
        assert self._request
        self._request.cancel()

    def _watch_later(self) -> None:
        if self._timer is None and self._watching is None:
            self._timer = asyncio.get_running_loop().call_later(_WATCH_AFTER_S, self._watch)

    def _watch(self) -> None:
        self._timer = None
        if not self._is_reading and not self._ahead:  # else the application is about to see
            self._watching = asyncio.create_task(self._wait_for_end())

    async def _wait_for_end(self) -> None:
        if not self._is_whole:
            self._ahead = await self._read()
        if self._is_whole:
            await self._receive()
            self._leave()
        else:
            self._watching = None


_ingress: Ingress | None = None
"""Of this process, once its gateway has built its application."""


def is_hooked() -> bool:
    """Whether Serve is set to call `serve_middlewares`, and requests run where it receives them."""
    hook = f"{__name__}:{serve_middlewares.__name__}"
    in_one_loop = not RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD
    return in_one_loop and hook == RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH


def open_ingress(app: ASGIApp, most_at_once: int) -> None:
    """From now on what comes to this process by HTTP goes to `app`."""
    global _ingress  # Serve builds the middleware, and has no place for more
    _ingress = Ingress(app, most_at_once)


class _Straight:
    """ASGI middleware around Serve's replica."""

    def __init__(self, serve: ASGIApp) -> None:
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http = scope["type"] == "http" and not scope["path"].startswith(_SERVES_OWN)
        await (_ingress if _ingress and is_http else self._serve)(scope, receive, send)


def serve_middlewares() -> list[Middleware]:
    """For Serve to put around its own middleware: `RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`."""
    return [Middleware(SafeRequestIds), Middleware(_Straight)]
