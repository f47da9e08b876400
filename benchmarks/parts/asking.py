"""The HTTP face in this process, asked without a network in between."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits


@dataclass(frozen=True)
class Answer:
    """What came, and how long it took until it was whole."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    seconds: float

    @property
    def header_bytes(self) -> int:
        """As HTTP/1.1 writes them, without the line of the status."""
        return sum(len(name) + len(value) + 4 for name, value in self.headers)


def face(config: ApiConfig | None = None, **parts: Any) -> ASGIApp:
    """The whole application over an engine in a thread."""
    return create_app(LocalOptimizer(Limits()), config or ApiConfig(), **parts)


def scope_of(kind: str, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """As a server makes it of a request from 192.0.2.1."""
    path, _, query = target.partition("?")
    given = {"host": "127.0.0.1", **headers}
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "ws" if kind == "websocket" else "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
        "client": ("192.0.2.1", 40_000),
        "server": ("127.0.0.1", 8000),
        "subprotocols": [],
        "state": {},
    }


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    receive: Receive | None = None,
) -> Answer:
    """The answer to one request; `receive` sends its body in another way."""
    came: list[Message] = []
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_whole() -> Message:
        if not coming:
            await asyncio.Event().wait()  # the client stays
        return coming.pop()

    async def send(message: Message) -> None:
        came.append(message)

    length = {} if receive else {"content-length": str(len(body))}
    scope = scope_of("http", method, target, {**length, **(headers or {})})
    began = perf_counter()
    await app(scope, receive or receive_whole, send)
    seconds = perf_counter() - began
    return Answer(
        came[0]["status"],
        tuple(came[0]["headers"]),
        b"".join(message.get("body", b"") for message in came[1:]),
        seconds,
    )
