"""One id for a request, in the header that Ray Serve sends and in what we say."""

import re

import pytest
from ray.serve._private import http_util
from ray.serve.config import HTTPOptions
from starlette.testclient import TestClient

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.serving import ingress


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """A client of the application within the middlewares that Serve puts around it."""
    path = f"{ingress.__name__}:{ingress.serve_middlewares.__name__}"
    monkeypatch.setattr(http_util, "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH", path)
    options = http_util.configure_http_middlewares(HTTPOptions())
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), server_sends_request_id=True)
    return TestClient(http_util._apply_middlewares(app, options.middlewares))


@pytest.mark.parametrize(
    "given",
    [
        *(b"", b"order/7", b"a b", b"a,b", b"a\tb", b"<script>", b"x" * 129),
        *("ä".encode(), "ä".encode("latin-1")),
    ],
)
def test_serve_sends_our_id_in_place_of_an_unsafe_one(client: TestClient, given: bytes) -> None:
    answer = client.get("/nothing", headers={b"X-Request-Id": given})
    (sent,) = answer.headers.get_list("x-request-id")
    assert sent == answer.json()["instance"]
    assert re.fullmatch(r"[0-9a-f]{32}", sent)


def test_serve_sends_a_safe_id_back(client: TestClient) -> None:
    answer = client.get("/nothing", headers={"X-Request-Id": "order-7"})
    assert answer.headers.get_list("x-request-id") == ["order-7"] == [answer.json()["instance"]]


def test_of_several_ids_the_first_safe_one_counts(client: TestClient) -> None:
    given = [("X-Request-Id", "a b"), ("X-Request-Id", "second"), ("X-Request-Id", "third")]
    answer = client.get("/nothing", headers=given)
    assert answer.headers.get_list("x-request-id") == ["second"] == [answer.json()["instance"]]


def test_where_none_is_given_serve_makes_one(client: TestClient) -> None:
    answer = client.get("/nothing")
    assert answer.headers.get_list("x-request-id") == [answer.json()["instance"]]
