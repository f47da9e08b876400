"""Text is sent compressed (zstd, Brotli or gzip, by `starlette-compress`), pictures never are."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette_compress import CompressMiddleware, remove_compress_type

remove_compress_type("multipart/mixed")  # here its parts are pictures
remove_compress_type("text/event-stream")  # an event is not to wait for the next to be compressed


class Compression:
    """ASGI middleware: sends each path the way that suits its answers.

    Renditions and probes do not pass the middleware at all. Documents with pictures in base64 are
    compressed by zstd alone: to get back the third that base64 adds, zstd takes 1.5 ms of the
    event loop for a megabyte, Brotli 10 and gzip 40.
    """

    def __init__(self, app: ASGIApp, min_bytes: int) -> None:
        text = CompressMiddleware(app, minimum_size=min_bytes)
        base64 = CompressMiddleware(
            app, minimum_size=min_bytes, zstd_level=1, brotli=False, gzip=False
        )
        self._app = app
        self._text = text
        self._ways: dict[str, ASGIApp] = {
            "/health": app,
            "/ready": app,
            "/api/optimize": app,
            "/api/variants": base64,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        way = self._ways.get(scope.get("path", ""), self._text)
        if way is not self._app:
            send = _truthful(send)
        await way(scope, receive, send)


def _truthful(send: Send) -> Send:
    """Weakens the entity tag of a compressed body: its bytes are other ones (RFC 9110 §8.8.1).

    304 says which header the answer depends on just as the answer would (§15.4.5).
    """

    async def send_truthfully(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"]
            if any(name == b"content-encoding" for name, _ in headers):
                message["headers"] = [
                    (name, b"W/" + value)
                    if name == b"etag" and not value.startswith(b"W/")
                    else (name, value)
                    for name, value in headers
                ]
            elif message["status"] == 304:
                vary = [value for name, value in headers if name == b"vary"]
                message["headers"] = [
                    *((name, value) for name, value in headers if name != b"vary"),
                    (b"vary", b", ".join((*vary, b"Accept-Encoding"))),
                ]
        await send(message)

    return send_truthfully
