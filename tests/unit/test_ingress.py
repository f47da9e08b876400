"""The way from uvicorn to the application: whole bodies, clients that leave, so many at once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from ray.serve._private import http_util
from ray.serve.config import HTTPOptions
from starlette.requests import Request
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.serving import environment, ingress
from omnishot_ray.serving.ingress import Ingress, is_hooked, open_ingress, serve_middlewares

pytestmark = pytest.mark.anyio

LATER_S = 5 * ingress._WATCH_AFTER_S
"""When it is watched whether a client leaves."""
DEADLINE_S = 10.0


class Work:
    """An application that notes what becomes of its requests."""

    def __init__(self, answer: Callable[[Request], Awaitable[bytes]]) -> None:
        self._answer = answer
        self.begun = self.cancelled = self.answered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun += 1
        try:
            body = await self._answer(Request(scope, receive))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})
        self.answered += 1


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[int]:
    """The port of a uvicorn as Serve starts it. Nothing of it may be left at the end."""
    before = asyncio.all_tasks()
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server._serve())
    await until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    async with asyncio.timeout(DEADLINE_S):
        await running
    assert asyncio.all_tasks() == before


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.002)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def ask(port: int, body: bytes = b"", length: int | None = None) -> Ends:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = len(body) if length is None else length
    writer.write(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % length + body)
    return reader, writer


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        return await reader.readexactly(length)


@pytest.mark.parametrize("at_first", [True, False])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
async def test_a_body_comes_whole_whenever_it_is_read(size: int, at_first: bool) -> None:
    async def echo(request: Request) -> bytes:
        if not at_first:
            await asyncio.sleep(LATER_S)
        return await request.body()

    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with serving(Ingress(Work(echo), 8)) as port:
        reader, writer = await ask(port, body)
        assert await answer_of(reader) == body
        writer.close()


@pytest.mark.parametrize("at_first", [True, False])
async def test_a_body_that_comes_slowly_comes_whole(at_first: bool) -> None:
    async def echo(request: Request) -> bytes:
        if not at_first:
            await asyncio.sleep(LATER_S)
        return await request.body()

    async with serving(Ingress(Work(echo), 8)) as port:
        reader, writer = await ask(port, b"0", length=10)
        for number in range(1, 10):
            await asyncio.sleep(LATER_S / 4)
            writer.write(b"%d" % number)
        assert await answer_of(reader) == b"0123456789"
        writer.close()


@pytest.mark.parametrize(
    ("reads", "sent"), [(True, 0), (True, 500_000), (True, 1_000_000), (False, 0)]
)
async def test_work_ends_when_its_client_leaves(reads: bool, sent: int) -> None:
    async def work(request: Request) -> bytes:
        if reads:
            await request.body()
        await asyncio.Event().wait()
        return b""

    work_ = Work(work)
    async with serving(Ingress(work_, 8)) as port:
        _, writer = await ask(port, bytes(sent), length=1_000_000 if sent else 0)
        await until(lambda: work_.begun == 1)
        await asyncio.sleep(LATER_S)
        assert not work_.cancelled
        writer.close()
        await until(lambda: work_.cancelled == 1)


async def test_who_leaves_at_once_is_noticed_too() -> None:
    work = Work(lambda _: asyncio.sleep(DEADLINE_S, b""))
    async with serving(Ingress(work, 8)) as port:
        _, writer = await ask(port)
        writer.close()
        await until(lambda: work.cancelled == 1)


async def test_one_connection_carries_many_requests_slow_and_quick() -> None:
    async def work(request: Request) -> bytes:
        body = await request.body()
        await asyncio.sleep(LATER_S if body == b"slow" else 0)
        return body

    async with serving(Ingress(Work(work), 8)) as port:
        reader, writer = await ask(port, b"quick")
        assert await answer_of(reader) == b"quick"
        for body in (b"slow", b"quick", b"slow"):
            writer.write(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            assert await answer_of(reader) == body
        writer.close()


async def test_so_many_are_at_work_at_once() -> None:
    go = asyncio.Event()

    async def work(_: Request) -> bytes:
        await go.wait()
        return b"done"

    work_ = Work(work)
    async with serving(Ingress(work_, 2)) as port:
        clients = [await ask(port) for _ in range(5)]
        await until(lambda: work_.begun == 2)
        clients[4][1].close()  # one that waits leaves: its turn is nobody's
        await asyncio.sleep(LATER_S)
        assert work_.begun == 2
        go.set()
        for reader, writer in clients[:4]:
            assert await answer_of(reader) == b"done"
            writer.close()
    assert (work_.begun, work_.answered) == (4, 4)


def test_serve_hands_over_http_and_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["type"], scope["path"]))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"serve"})

    hook = environment.RAY_ENVIRONMENT["RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"]
    monkeypatch.setattr(http_util, "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", hook)
    monkeypatch.setattr(ingress, "_ingress", None)
    options = http_util.configure_http_middlewares(HTTPOptions())
    client = TestClient(http_util._apply_middlewares(serve, options.middlewares))
    assert client.get("/health").text == "serve"  # nothing is open yet

    app = create_app(LocalOptimizer(Limits()), ApiConfig(), server_sends_request_id=True)
    open_ingress(app, 8)
    answer = client.get("/health")
    assert answer.json()["status"] == "ok"
    assert len(answer.headers.get_list("x-request-id")) == 1
    assert client.get("/-/healthz").text == "serve"
    with client.websocket_connect("/stream"):
        pass
    assert seen == [("http", "/health"), ("http", "/-/healthz"), ("websocket", "/stream")]


@pytest.mark.parametrize("is_open", [True, False])
def test_an_answer_has_one_request_id_whichever_way_it_goes(
    is_open: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), server_sends_request_id=True)
    monkeypatch.setattr(ingress, "_ingress", Ingress(app, 8) if is_open else None)
    client = TestClient(http_util._apply_middlewares(app, serve_middlewares()))
    answer = client.get("/health", headers={"X-Request-Id": "order-7"})
    assert answer.headers.get_list("x-request-id") == ["order-7"]
    assert len(client.get("/health").headers.get_list("x-request-id")) == 1


def test_only_where_serve_is_set_to_call_it(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
    assert not is_hooked()
    monkeypatch.setattr(ingress, name, environment.RAY_ENVIRONMENT[name])
    monkeypatch.setattr(ingress, "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", False)
    assert is_hooked()
    monkeypatch.setattr(ingress, "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", True)
    assert not is_hooked()
    monkeypatch.setattr(ingress, "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD", False)
    monkeypatch.setattr(ingress, name, "somebody.else:middlewares")
    assert not is_hooked()
    assert len(serve_middlewares()) == 2
