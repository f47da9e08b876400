"""Who may ask, and how often."""

import logging
import re

import httpx2
import pytest
from starlette.testclient import WebSocketDisconnect

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.errors import Overloaded
from omnishot_ray.imaging.limits import Limits
from tests.contract.checks import assert_problem
from tests.contract.conftest import Serve
from tests.contract.test_http_errors import Answering
from tests.pictures import encode, scene

JPEG = encode(scene(120, 80), "JPEG")
KEYS = ("shop:0123456789abcdef", "fedcba9876543210")
OPEN = ["/health", "/ready", "/docs", "/openapi.json", "/problems/key-missing"]


# API keys.


@pytest.mark.parametrize("key", [KEYS[0].partition(":")[2], KEYS[1]])
@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("X-API-Key", "{}"),
        ("Authorization", "Bearer {}"),
        ("Authorization", "bearer {}"),
        ("authorization", "BEARER  {} "),
    ],
)
def test_a_key_lets_in(serve: Serve, name: str, form: str, key: str) -> None:
    response = serve(keys=KEYS).post(
        "/api/optimize", content=JPEG, headers={name: form.format(key)}
    )
    assert response.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic MDEyMzQ1Njc4OWFiY2RlZg=="},
        {"Authorization": "0123456789abcdef"},
    ],
)
@pytest.mark.parametrize("path", ["/api/optimize", "/api/variants", "/api/info", "/nothing"])
def test_401_without_a_key(serve: Serve, path: str, headers: dict[str, str]) -> None:
    response = serve(keys=KEYS).post(path, content=JPEG, headers=headers)
    assert_problem(response, 401, "key-missing", says="X-API-Key")
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "key",
    [
        b"0123456789abcde",
        b"0123456789abcdef0",
        b"shop:0123456789abcdef",
        b"shop",
        b"key-2",
        b"0123456789abcdef,fedcba9876543210",
        b"\xff\xfe",
    ],
)
def test_403_for_a_wrong_key(serve: Serve, caplog: pytest.LogCaptureFixture, key: bytes) -> None:
    caplog.set_level(logging.DEBUG)
    client = serve(keys=KEYS)
    for name, value in ((b"X-API-Key", key), (b"Authorization", b"Bearer " + key)):
        response = client.get("/api/platforms", headers=[(name, value)])
        assert_problem(response, 403, "key-refused")
        assert "www-authenticate" not in response.headers
        assert key.decode("latin-1") not in response.text
        assert response.json()["instance"] in caplog.text
    assert key.decode("latin-1") not in caplog.text


@pytest.mark.parametrize("path", OPEN)
@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}])
def test_what_is_open_without_a_key(serve: Serve, path: str, headers: dict[str, str]) -> None:
    client = serve(keys=KEYS)
    assert client.get(path, headers=headers).status_code == 200
    assert client.head(path, headers=headers).status_code == 200
    assert client.post(path, headers=headers).status_code in {401, 403}


@pytest.mark.parametrize(
    "path", ["/health/", "http://testserver//health", "/docs/x", "/problems", "/ready;x"]
)
def test_what_only_looks_open_is_not(serve: Serve, path: str) -> None:
    assert serve(keys=KEYS).get(path).status_code == 401


def test_the_readable_page_loads_without_a_key(serve: Serve) -> None:
    client = serve(keys=KEYS)
    for address in re.findall(r'(?:src|href)="([^"]+)"', client.get("/docs").text):
        assert client.get(address).status_code == 200


def test_401_comes_before_the_body_is_read(serve: Serve) -> None:
    client = serve(keys=KEYS, max_body_bytes=10)
    assert client.post("/api/optimize", content=bytes(1000)).status_code == 401


def test_no_socket_without_a_key(serve: Serve) -> None:
    client = serve(keys=KEYS)
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/x"):
        pass
    assert caught.value.code == 1008


@pytest.mark.parametrize(("keys", "first"), [((), {}), (KEYS, {"bearer": []})])
def test_the_document_says_whether_a_key_is_needed(
    serve: Serve, keys: tuple[str, ...], first: dict[str, list[str]]
) -> None:
    document = serve(keys=keys).get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {one.get("name", one.get("scheme")) for one in schemes.values()} == {
        "X-API-Key",
        "bearer",
    }
    assert document["security"][0] == first
    assert document["paths"]["/health"]["get"]["security"] == []
    assert "security" not in document["paths"]["/api/optimize"]["post"]


# Rate limits.


def standing(response: httpx2.Response) -> tuple[int, int]:
    """Remaining requests and seconds of the `RateLimit` header."""
    found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', response.headers["ratelimit"])
    assert found, response.headers["ratelimit"]
    return int(found[1]), int(found[2])


def test_answers_say_where_the_caller_stands(serve: Serve) -> None:
    client = serve(rate_limit="5/hour")
    for left in (4, 3, 2):
        response = client.get("/api/platforms")
        assert response.headers["ratelimit-policy"] == '"default";q=5;w=3600'
        remaining, seconds = standing(response)
        assert remaining == left
        assert 0 < seconds <= 3600
    assert standing(client.post("/api/optimize", content=b"nonsense"))[0] == 1
    assert standing(client.get("/nothing"))[0] == 0


def test_429_over_the_limit(serve: Serve) -> None:
    client = serve(rate_limit="2/hour")
    for _ in range(2):
        assert client.post("/api/optimize", content=JPEG).status_code == 200
    response = client.post("/api/optimize", content=JPEG)
    assert_problem(response, 429, "rate-limited", says="More than 2 requests in 3600 s")
    remaining, seconds = standing(response)
    assert remaining == 0
    assert int(response.headers["retry-after"]) == seconds > 0


def test_probes_are_not_limited(serve: Serve) -> None:
    client = serve(rate_limit="1/hour")
    for path in ("/health", "/ready", "/health", "/ready"):
        response = client.get(path)
        assert response.status_code == 200
        assert "ratelimit" not in response.headers


def test_every_key_has_its_own_limit(serve: Serve) -> None:
    client = serve(rate_limit="1/hour", keys=("a:key-one", "b:key-two", "b:key-three"))

    def ask(key: str) -> int:
        return client.get("/api/platforms", headers={"X-API-Key": key}).status_code

    assert [ask("key-one"), ask("key-one"), ask("key-two"), ask("key-three")] == [
        200,
        429,
        200,
        429,
    ]


def test_who_guesses_keys_is_limited(serve: Serve) -> None:
    client = serve(rate_limit="2/hour", keys=KEYS)
    statuses = [
        client.get("/api/platforms", headers={"X-API-Key": f"guess-{n}"}).status_code
        for n in range(3)
    ]
    assert statuses == [403, 403, 429]
    assert client.get("/api/platforms", headers={"X-API-Key": KEYS[1]}).status_code == 200


def test_an_address_cannot_be_made_up(serve: Serve) -> None:
    client = serve(rate_limit="1/hour")
    statuses = [
        client.get("/api/platforms", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code
        for n in range(2)
    ]
    assert statuses == [200, 429]


@pytest.mark.anyio
async def test_a_trusted_proxy_says_who_asks() -> None:
    config = ApiConfig(rate_limit="1/hour", trusted_proxies=("10.0.0.0/8",))
    app = create_app(LocalOptimizer(Limits()), config)
    transport = httpx2.ASGITransport(app, client=("127.0.0.1", 5))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        seen = [
            (await client.get("/api/platforms", headers={"X-Forwarded-For": said})).status_code
            for said in ("192.0.2.1", "192.0.2.2", "198.51.100.7, 192.0.2.2", "192.0.2.3, 10.1.1.1")
        ]
    assert seen == [200, 200, 429, 200]


def test_a_full_queue_says_where_the_caller_stands(serve: Serve) -> None:
    client = serve(Answering(Overloaded("Full.", 3.0)), rate_limit="9/hour")
    response = client.post("/api/optimize", content=JPEG)
    assert_problem(response, 429, "overloaded")
    assert response.headers["retry-after"] == "3"
    told = response.headers["ratelimit"]  # by both policies
    assert re.fullmatch(r'"queue";r=0;t=3, "default";r=8;t=\d+', told)
    policies = '"queue";q=1;w=3, "default";q=9;w=3600'
    assert response.headers["ratelimit-policy"] == policies
