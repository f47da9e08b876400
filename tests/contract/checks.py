"""The shapes that every answer has: these helpers are the specification."""

import re
from typing import Any

import httpx2
from starlette.testclient import TestClient

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "cross-origin",
}
STRICT_CSP = "default-src 'none'; frame-ancestors 'none'; sandbox"
PROBLEM_KEYS = {"type", "title", "status", "detail", "instance", "errors"}
LEAKS = re.compile(
    r"Traceback|File \"|site-packages|/work/|/tmp/|/home/|omnishot_ray|0x[0-9a-f]{6}"
)


class CheckedClient(TestClient):
    """A client that looks at every answer for what every answer has to have."""

    def request(self, *args: Any, **kwargs: Any) -> httpx2.Response:
        response = super().request(*args, **kwargs)
        assert_answer(response)
        return response


def assert_answer(response: httpx2.Response) -> None:
    headers = response.headers
    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS
    assert headers["content-security-policy"].startswith("default-src 'none';")
    shown = response.url.path == "/"
    if not shown and not response.url.path.startswith(("/docs", "/static-offline-docs")):
        assert headers["content-security-policy"] == STRICT_CSP
    assert headers["x-request-id"]
    streams = headers.get("content-type", "").startswith("text/event-stream")
    if not streams and response.content and "content-encoding" not in headers:
        assert int(headers["content-length"]) == len(response.content)
    if response.status_code >= 400:
        assert_problem_shape(response)


def assert_problem_shape(response: httpx2.Response) -> None:
    """RFC 9457, with nothing of our insides in it, and never stored by a cache."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert "etag" not in response.headers
    if response.request.method == "HEAD":
        return
    problem = response.json()
    assert set(problem) == PROBLEM_KEYS
    assert re.fullmatch(r"/problems/[a-z-]+", problem["type"])
    assert problem["status"] == response.status_code
    assert problem["instance"] == response.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"].endswith(".") or problem["errors"]
    for error in problem["errors"]:
        assert set(error) == {"name", "detail"}
        assert error["detail"]
    assert not LEAKS.search(response.text)


def assert_problem(
    response: httpx2.Response, status: int, code: str, *names: str, says: str = ""
) -> None:
    """This very problem, about these fields."""
    assert response.status_code == status, said(response)
    problem = response.json()
    assert problem["type"] == f"/problems/{code}"
    assert [error["name"] for error in problem["errors"]] == list(names)
    assert says in problem["detail"]


def said(response: httpx2.Response) -> str:
    """What an answer says, for a failing test to show."""
    kind = response.headers.get("content-type", "")
    return response.text if kind.endswith("json") else f"{len(response.content)} bytes of {kind}"
