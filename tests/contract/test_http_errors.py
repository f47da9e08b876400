"""Every other status of the contract, and what every answer carries."""

import re
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx2
import pytest
from starlette.testclient import TestClient

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.api.problems import STATUS
from omnishot_ray.errors import (
    EngineUnavailable,
    InternalError,
    OmnishotError,
    Overloaded,
    TaskTimeout,
)
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import ImageTask, Outcome
from tests.contract.checks import CheckedClient, assert_answer, assert_problem
from tests.contract.conftest import Serve
from tests.pictures import encode, png, scene

JPEG = encode(scene(120, 80), "JPEG")
ROUTES = ["/api/optimize", "/api/variants?platforms=x-post"]

by_route = pytest.mark.parametrize("route", ROUTES)


class Answering:
    """An optimizer that has always the same to say."""

    def __init__(self, outcome: OmnishotError | Exception) -> None:
        self._outcome = outcome

    highest_effort = None

    async def optimize(self, task: ImageTask) -> Outcome:
        if isinstance(self._outcome, OmnishotError):
            return self._outcome
        raise self._outcome

    async def check_ready(self) -> dict[str, str]:
        return {"engine": "ok"}


# The body.


@by_route
@pytest.mark.parametrize("as_form", [True, False])
def test_413_by_the_declared_length(serve: Serve, route: str, as_form: bool) -> None:
    client = serve(max_body_bytes=1000)
    body = bytes(1001)
    response = (
        client.post(route, files={"file": body}) if as_form else client.post(route, content=body)
    )
    assert_problem(response, 413, "body-too-large", says="at most 1000")


@by_route
def test_413_while_reading(serve: Serve, route: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield bytes(100)

    response = serve(max_body_bytes=1000).post(route, content=chunks())
    assert "content-length" not in response.request.headers
    assert_problem(response, 413, "body-too-large", says="More than 1000 bytes")


def test_a_body_at_the_limit_is_read(serve: Serve) -> None:
    assert serve(max_body_bytes=len(JPEG)).post("/api/optimize", content=JPEG).status_code == 200
    response = serve(max_body_bytes=len(JPEG) - 1).post("/api/optimize", content=JPEG)
    assert_problem(response, 413, "body-too-large", says=str(len(JPEG)))


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "٣"])
def test_a_senseless_length_is_no_way_around_the_limit(serve: Serve, length: str) -> None:
    headers = {"Content-Length": length.encode()}
    response = serve(max_body_bytes=1000).post(
        "/api/optimize", content=bytes(1001), headers=headers
    )
    assert_problem(response, 413, "body-too-large")


def in_process(**config: object) -> httpx2.AsyncClient:
    """A client that really streams."""
    app = create_app(LocalOptimizer(Limits()), ApiConfig(**config))  # type: ignore[arg-type]
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")


@pytest.mark.anyio
@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x"])
async def test_413_comes_before_the_body_has_ended(content_type: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        while True:
            sent += 100
            yield bytes(100)

    async with in_process(max_body_bytes=1000) as client:
        headers = {"Content-Type": content_type}
        response = await client.post("/api/optimize", content=endless(), headers=headers)
    assert_answer(response)
    assert_problem(response, 413, "body-too-large")
    assert sent <= 1100


@pytest.mark.anyio
@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=x"])
async def test_408_for_a_client_that_stops_sending(content_type: str) -> None:
    async def stuck() -> AsyncIterator[bytes]:
        yield b"--x\r\n"
        await anyio.sleep_forever()

    async with in_process(body_timeout_s=0.05) as client:
        headers = {"Content-Type": content_type}
        response = await client.post("/api/optimize", content=stuck(), headers=headers)
    assert_answer(response)
    assert_problem(response, 408, "request-timeout", says="0.05 s")


# The address.


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/api", "/api/optimise", "/api/jobs/../x", "/problems/nothing", "/%2e%2e/x"],
)
def test_404(client: CheckedClient, path: str) -> None:
    assert_problem(client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/api/optimize", "POST"),
        ("PUT", "/api/optimize", "POST"),
        ("DELETE", "/api/variants", "POST"),
        ("POST", "/api/platforms", "GET"),
        ("POST", "/health", "GET"),
        ("PATCH", "/ready", "GET"),
    ],
)
def test_405(client: CheckedClient, method: str, path: str, allowed: str) -> None:
    response = client.request(method, path)
    assert_problem(response, 405, "method-not-allowed")
    assert allowed in response.headers["allow"]


def test_405_names_every_method_that_is_there(client: CheckedClient) -> None:
    """RFC 9110 §10.2.1: the methods of the resource, not of one of its routes."""
    allowed = re.split(r",\s*", client.delete("/health").headers["allow"])
    assert sorted(allowed) == ["GET", "HEAD"]


@pytest.mark.parametrize(
    "path", ["/health", "/ready", "/api/platforms", "/problems/overloaded", "/openapi.json"]
)
def test_what_can_be_got_can_be_asked_for_its_head(client: CheckedClient, path: str) -> None:
    """RFC 9110 §9.1."""
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    assert head.headers["content-type"] == got.headers["content-type"]


# The work.


@by_route
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("Too much work.", 7.0), 429),
        (TaskTimeout("Too slow."), 504),
        (EngineUnavailable("Nobody is there."), 503),
        (InternalError("Sorry."), 500),
    ],
)
def test_failures_of_the_service(
    serve: Serve, route: str, error: OmnishotError, status: int
) -> None:
    response = serve(Answering(error)).post(route, content=JPEG)
    assert_problem(response, status, error.code, says=error.detail)


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(0.0, "1"), (0.2, "1"), (1.0, "1"), (1.4, "2"), (7.0, "7"), (29.01, "30")],
)
def test_retry_after_is_not_too_early(serve: Serve, seconds: float, header: str) -> None:
    """Whole seconds, and not fewer than the queue takes."""
    response = serve(Answering(Overloaded("Full.", seconds))).post("/api/optimize", content=JPEG)
    assert response.headers["retry-after"] == header
    assert response.headers["ratelimit"] == f'"queue";r=0;t={header}'
    assert response.headers["ratelimit-policy"] == f'"queue";q=1;w={header}'


def test_retry_after_an_unavailable_engine(serve: Serve) -> None:
    response = serve(Answering(EngineUnavailable("Gone."))).post("/api/optimize", content=JPEG)
    assert int(response.headers["retry-after"]) >= 1


@by_route
def test_what_nobody_foresaw_tells_nothing_but_the_request(
    serve: Serve, route: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(Answering(RuntimeError("the secret in /work/omnishot_ray")))
    response = client.post(route, content=JPEG, headers={"X-Request-Id": "known-1"})
    assert_problem(response, 500, "internal")
    assert "secret" not in response.text
    assert response.json()["instance"] == "known-1"
    assert "known-1" in caplog.text
    assert "the secret" in caplog.text


# What every answer carries. The rest is checked by `CheckedClient` on all answers.


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health"),
        ("GET", "/ready"),
        ("GET", "/api/platforms"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/nothing"),
        ("PUT", "/api/optimize"),
        ("POST", "/api/optimize"),
        ("OPTIONS", "/api/optimize"),
    ],
)
def test_security_headers(client: CheckedClient, method: str, path: str) -> None:
    assert client.request(method, path).headers["x-content-type-options"] == "nosniff"


def test_an_image_is_served_in_a_sandbox(client: CheckedClient) -> None:
    policy = client.post("/api/optimize", content=JPEG).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert policy.endswith("sandbox")


@pytest.mark.parametrize("given", ["a", "0123-abc_X.y:z", "x" * 128])
def test_a_request_id_is_kept(client: CheckedClient, given: str) -> None:
    response = client.get("/nothing", headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == response.json()["instance"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "a b", "<script>", "ä".encode(), "a;b"])
def test_a_request_id_is_made_where_there_is_no_usable_one(
    client: CheckedClient, given: str | bytes | None
) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    first, second = (client.get("/health", headers=headers) for _ in range(2))
    ids = {answer.headers["x-request-id"] for answer in (first, second)}
    assert len(ids) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", one) for one in ids)


def test_a_server_that_sends_the_request_id_sends_it_alone() -> None:
    """As Ray Serve does; two of these headers would be one too many."""
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), server_sends_request_id=True)
    response = TestClient(app).get("/nothing", headers={"X-Request-Id": "known-1"})
    assert "x-request-id" not in response.headers
    assert response.json()["instance"] == "known-1"


@pytest.mark.parametrize("code", [cls.code for cls in STATUS] + ["not-found", "method-not-allowed"])
def test_the_type_of_every_problem_is_explained(client: CheckedClient, code: str) -> None:
    response = client.get(f"/problems/{code}")
    assert response.status_code == 200
    assert response.json()["code"] == code


def test_types_of_problems_lead_to_their_explanation(client: CheckedClient) -> None:
    problems = [
        client.get("/nothing"),
        client.put("/api/optimize"),
        client.post("/api/optimize", content=b"nonsense"),
        client.post("/api/optimize?widht=5", content=png(2, 2)),
    ]
    for problem in problems:
        assert client.get(problem.json()["type"]).status_code == 200
