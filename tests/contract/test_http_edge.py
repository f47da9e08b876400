"""Web pages of other origins, TLS, compression, clients that stall, what is unknown."""

import gzip
import logging
from collections.abc import AsyncIterator

import anyio
import brotli
import httpx2
import orjson
import pytest
import zstandard

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.cors import EXPOSED
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from tests.contract.checks import ALWAYS, CheckedClient, assert_answer, assert_problem
from tests.contract.conftest import Serve
from tests.contract.test_http_errors import Answering
from tests.pictures import encode, scene

JPEG = encode(scene(120, 80), "JPEG")
KEYS = ("0123456789abcdef",)


# Web pages of other origins.

PAGE = "https://shop.example.org"
PREFLIGHT = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "x-api-key, content-type",
}


def test_no_page_may_ask_by_default(client: CheckedClient) -> None:
    response = client.get("/api/platforms", headers={"Origin": PAGE})
    assert "access-control-allow-origin" not in response.headers
    assert client.options("/api/optimize", headers=PREFLIGHT).status_code == 405


def test_a_preflight_needs_no_key_and_counts_for_nothing(serve: Serve) -> None:
    client = serve(cors_origins=(PAGE,), keys=KEYS, rate_limit="1/hour")
    for _ in range(3):
        response = client.options("/api/optimize", headers=PREFLIGHT)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == PAGE
        assert "POST" in response.headers["access-control-allow-methods"]
        assert {name: response.headers[name] for name in ALWAYS} == ALWAYS


@pytest.mark.parametrize(
    "change",
    [
        {"Origin": "https://evil.example.org"},
        {"Origin": "http://shop.example.org"},
        {"Origin": "null"},
        {"Access-Control-Request-Method": "TRACE"},
        {"Access-Control-Request-Headers": "x-other"},
    ],
)
def test_a_preflight_that_is_refused(serve: Serve, change: dict[str, str]) -> None:
    response = serve(cors_origins=(PAGE,)).options("/api/optimize", headers=PREFLIGHT | change)
    assert_problem(response, 403, "origin-refused")
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("status", [200, 401, 404, 429, 500])
def test_a_page_can_read_every_answer(
    serve: Serve, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    keys = KEYS if status == 401 else ()
    optimizer = Answering(RuntimeError("x")) if status == 500 else None
    client = serve(optimizer, cors_origins=(PAGE,), keys=keys, rate_limit="1/hour")
    path = "/nothing" if status == 404 else "/api/optimize"
    headers = {"Origin": PAGE}
    if status == 429:
        client.post(path, content=JPEG, headers=headers)
    response = client.post(path, content=JPEG, headers=headers)
    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == PAGE
    assert "Origin" in response.headers["vary"]
    exposed = set(response.headers["access-control-expose-headers"].split(", "))
    if status != 500:
        assert exposed == set(EXPOSED)
    ours = {name for name in response.headers if name.startswith(("x-omnishot", "ratelimit"))}
    assert ours <= {name.lower() for name in exposed}


def test_a_foreign_page_is_not_named(serve: Serve) -> None:
    response = serve(cors_origins=(PAGE,)).get("/api/platforms", headers={"Origin": "https://b.c"})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


def test_every_origin(serve: Serve) -> None:
    response = serve(cors_origins=("*",)).get("/api/platforms", headers={"Origin": PAGE})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers


# TLS in front.


def test_hsts_where_it_is_set(serve: Serve) -> None:
    client = serve(hsts_s=1000, keys=KEYS)
    for path in ("/health", "/docs", "/nothing"):
        assert client.get(path).headers["strict-transport-security"] == "max-age=1000"


def test_no_hsts_by_default(client: CheckedClient) -> None:
    """A client that makes the header up would bind a whole domain to TLS."""
    response = client.get("/health", headers={"X-Forwarded-Proto": "https"})
    assert "strict-transport-security" not in response.headers


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("peer", "said", "is_told"),
    [
        ("10.0.0.1", "https", True),
        ("127.0.0.1", "HTTPS", True),
        ("10.0.0.1", "http", False),
        ("10.0.0.1", None, False),
        ("192.0.2.1", "https", False),
    ],
)
async def test_hsts_where_a_trusted_proxy_has_tls(
    peer: str, said: str | None, is_told: bool
) -> None:
    app = create_app(LocalOptimizer(Limits()), ApiConfig(trusted_proxies=("10.0.0.1",)))
    transport = httpx2.ASGITransport(app, client=(peer, 5))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {"X-Forwarded-Proto": said} if said else {}
        response = await client.get("/health", headers=headers)
    assert ("strict-transport-security" in response.headers) is is_told


# Compression.

DECODERS = {
    "gzip": gzip.decompress,
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompress(data),
}


def raw(client: CheckedClient, method: str, path: str, **kwargs: object) -> tuple[object, bytes]:
    """The answer and its bytes as they were sent."""
    with client.stream(method, path, **kwargs) as response:  # type: ignore[arg-type]
        return response, b"".join(response.iter_raw())


@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("path", ["/api/platforms", "/openapi.json"])
def test_text_is_compressed(client: CheckedClient, path: str, coding: str) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    response, sent = raw(client, "GET", path, headers={"Accept-Encoding": coding})
    assert response.headers["content-encoding"] == coding
    assert int(response.headers["content-length"]) == len(sent) < len(plain.content)
    assert DECODERS[coding](sent) == plain.content
    for answer in (plain, response):
        assert answer.headers["vary"] == "Accept-Encoding"


def test_the_document_of_variants_is_compressed_by_zstd_alone(client: CheckedClient) -> None:
    path = "/api/variants?platforms=x-post"
    headers = {"Accept-Encoding": "gzip, br, zstd"}
    response, sent = raw(client, "POST", path, content=JPEG, headers=headers)
    assert response.headers["content-encoding"] == "zstd"
    assert response.headers["vary"] == "Accept, Accept-Encoding"
    assert orjson.loads(DECODERS["zstd"](sent))["variants"]
    headers = {"Accept-Encoding": "gzip, br"}
    response, sent = raw(client, "POST", path, content=JPEG, headers=headers)
    assert "content-encoding" not in response.headers
    assert orjson.loads(sent)["variants"]


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/api/optimize", "*/*"),
        ("/api/variants?platforms=x-post", "multipart/mixed"),
        ("/api/variants?platforms=x-post", "application/zip"),
    ],
)
def test_pictures_are_not_compressed(client: CheckedClient, path: str, accept: str) -> None:
    headers = {"Accept": accept, "Accept-Encoding": "gzip, br, zstd"}
    response = client.post(path, content=JPEG, headers=headers)
    assert response.status_code == 200
    assert len(response.content) > 1024
    assert "content-encoding" not in response.headers
    assert response.headers["vary"] == "Accept"


def test_small_text_is_not_compressed(client: CheckedClient, serve: Serve) -> None:
    for path in ("/health", "/problems/overloaded"):
        assert "content-encoding" not in client.get(path).headers
    smaller = serve(compress_min_bytes=10)
    assert smaller.get("/problems/overloaded").headers["content-encoding"]


def test_compression_can_be_switched_off(serve: Serve) -> None:
    response = serve(compress_min_bytes=0).get("/api/platforms")
    assert "content-encoding" not in response.headers
    assert "vary" not in response.headers


def test_a_compressed_body_claims_no_strong_tag(serve: Serve) -> None:
    client = serve(compress_min_bytes=100)
    plain = client.post("/api/info", content=JPEG, headers={"Accept-Encoding": "identity"})
    packed = client.post("/api/info", content=JPEG, headers={"Accept-Encoding": "gzip"})
    assert plain.headers["etag"].startswith('"')
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["etag"] == "W/" + plain.headers["etag"]
    for answer in (plain, packed):
        headers = {"If-None-Match": answer.headers["etag"], "Accept-Encoding": "gzip"}
        unchanged = client.post("/api/info", content=JPEG, headers=headers)
        assert unchanged.status_code == 304
        assert unchanged.headers["vary"] == "Accept-Encoding"


def test_the_head_of_a_compressed_answer_is_its_head(client: CheckedClient) -> None:
    headers = {"Accept-Encoding": "br"}
    got, head = (client.request(m, "/api/platforms", headers=headers) for m in ("GET", "HEAD"))
    assert head.content == b""
    for name in ("content-encoding", "content-length", "content-type", "vary"):
        assert head.headers[name] == got.headers[name]


# Clients that stall.


def in_process(**config: object) -> httpx2.AsyncClient:
    app = create_app(LocalOptimizer(Limits()), ApiConfig(**config))  # type: ignore[arg-type]
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")


BODIES = pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x"])


@pytest.mark.anyio
@BODIES
@pytest.mark.parametrize("empty", [False, True])
async def test_408_for_a_client_that_pauses(content_type: str, empty: bool) -> None:
    """A message without bytes is no progress."""

    async def pausing() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        while empty:
            yield b""
            await anyio.sleep(0.01)
        await anyio.sleep_forever()

    async with in_process(body_idle_s=0.05) as client:
        headers = {"Content-Type": content_type}
        response = await client.post("/api/optimize", content=pausing(), headers=headers)
    assert_answer(response)
    assert_problem(response, 408, "request-timeout", says="The body stood still for 0.05 s")
    assert response.headers["connection"] == "close"


@pytest.mark.anyio
@BODIES
@pytest.mark.parametrize(("size", "says"), [(1, "stood still for 0.1 s"), (1000, "within 0.3 s")])
async def test_a_trickle_is_a_pause_and_what_flows_ends_with_the_time_for_all(
    content_type: str, size: int, says: str
) -> None:
    async def trickle() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            yield b"a" * size
            await anyio.sleep(0.02)

    async with in_process(body_idle_s=0.1, body_timeout_s=0.3) as client:
        headers = {"Content-Type": content_type}
        response = await client.post("/api/optimize", content=trickle(), headers=headers)
    assert_problem(response, 408, "request-timeout", says=says)


@pytest.mark.anyio
async def test_progress_is_waited_for() -> None:
    """The whole takes longer than any one pause may."""

    async def slowly() -> AsyncIterator[bytes]:
        step = len(JPEG) // 8
        for start in range(0, len(JPEG), step):
            yield JPEG[start : start + step]
            await anyio.sleep(0.04)

    async with in_process(body_idle_s=0.2) as client:
        response = await client.post("/api/optimize", content=slowly())
    assert response.status_code == 200


# What is unknown.


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE", "BREW", "PROPFIND"])
@pytest.mark.parametrize("path", ["/nothing", "/api/optimize", "/health", "/*"])
def test_unknown_methods_and_paths_are_answered_as_all_others(
    client: CheckedClient, method: str, path: str
) -> None:
    response = client.request(method, path)
    assert {name: response.headers[name] for name in ALWAYS} == ALWAYS
    assert response.headers.get_list("x-content-type-options") == ["nosniff"]
