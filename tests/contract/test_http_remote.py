"""Pictures named by their address: `{"url": …}` in place of the bytes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import CachingOptimizer, build_front
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from tests.contract.checks import CheckedClient, assert_problem, said
from tests.pictures import encode, opened, scene
from tests.web import Handler, Web, always, by_path, response

JPEG = encode(scene(120, 80), "JPEG")
URL = "http://public.example/photo.jpg"
ROUTES = ["/api/optimize", "/api/variants?platforms=x-post", "/api/info"]
by_route = pytest.mark.parametrize("route", ROUTES)

Remote = Callable[..., CheckedClient]


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    """Makes a client of an application on an Internet where every host answers with a handler."""
    with ExitStack() as stack:

        def make(handler: Handler, front: bool = False, **config: object) -> CheckedClient:
            web = Web()
            web.name("public.example")
            web.name("inside.example", ("10.0.0.1",))
            storage = StorageConfig(source_roots=(tmp_path.as_uri(),))
            given: dict[str, object] = {"timeout_s": 20.0, **config}
            fetch = FetchConfig(**given)  # type: ignore[arg-type]
            sources = Sources(fetch, storage, web.resolve, web.open_socket)
            kept: CachingOptimizer | None = None
            if front:
                kept = build_front(CacheConfig(node_dir=str(tmp_path / "node")))
            app = create_app(LocalOptimizer(Limits()), ApiConfig(), kept, sources)
            client = stack.enter_context(CheckedClient(app))
            assert client.portal is not None
            stack.enter_context(client.portal.wrap_async_context_manager(web.serving(handler)))
            stack.callback(client.portal.call, sources.close)
            return client

        yield make


@pytest.fixture
def client(remote: Remote) -> CheckedClient:
    return remote(by_path(**{"photo.jpg": response(JPEG)}))


def test_optimize(client: CheckedClient) -> None:
    answer = client.post("/api/optimize?width=60", json={"url": URL})
    assert answer.status_code == 200, said(answer)
    assert opened(answer.content).size == (60, 40)
    assert answer.headers["x-omnishot-source"] == f"120x80;jpeg;{len(JPEG)}"


def test_the_answer_is_the_same_as_for_the_bytes(client: CheckedClient) -> None:
    by_bytes = client.post("/api/optimize?width=60", content=JPEG)
    by_url = client.post("/api/optimize?width=60", json={"url": URL})
    assert by_url.content == by_bytes.content
    assert by_url.headers["etag"] == by_bytes.headers["etag"]
    headers = {"If-None-Match": by_bytes.headers["etag"]}
    again = client.post("/api/optimize?width=60", json={"url": URL}, headers=headers)
    assert again.status_code == 304


def test_what_was_made_of_the_bytes_is_found_by_the_address(remote: Remote) -> None:
    client = remote(always(response(JPEG)), front=True)
    client.post("/api/optimize?width=60", content=JPEG)
    found = client.post("/api/optimize?width=60", json={"url": URL})
    assert found.headers["x-cache"] == "hit-memory"


def test_options_may_be_in_the_document(client: CheckedClient) -> None:
    document = {"url": URL, "width": 60, "height": 60, "fit": "contain", "format": "png"}
    answer = client.post("/api/optimize", json={**document, "enlarge": False})
    assert answer.headers["x-omnishot-result"].startswith("60x60;png;")


def test_the_address_of_the_request_overrides_the_document(client: CheckedClient) -> None:
    answer = client.post("/api/optimize?width=30", json={"url": URL, "width": 60})
    assert answer.headers["x-omnishot-result"].startswith("30x20;")


@pytest.mark.parametrize(
    "wanted",
    [
        {"platforms": "x-post,youtube-thumbnail"},
        {"platforms": ["x-post", "youtube-thumbnail"]},
        {"variants": [{"name": "a", "width": 20}, {"name": "b", "width": 30, "enlarge": False}]},
        {"variants": '[{"name": "a", "width": 20}, {"name": "b", "width": 30}]'},
    ],
)
def test_variants(client: CheckedClient, wanted: dict[str, object]) -> None:
    answer = client.post("/api/variants", json={"url": URL, **wanted})
    assert answer.status_code == 200, said(answer)
    assert [one["status"] for one in answer.json()["variants"]] == ["ok", "ok"]


def test_info(client: CheckedClient) -> None:
    by_url = client.post("/api/info", json={"url": URL})
    assert by_url.json() == client.post("/api/info", content=JPEG).json()
    assert_problem(
        client.post("/api/info", json={"url": URL, "width": 3}), 400, "invalid-parameters", "width"
    )


def test_warming(client: CheckedClient) -> None:
    answer = client.post("/api/cache/warm", json={"url": URL, "platforms": "x-post"})
    assert [one["error"] for one in answer.json()["warmed"]] == [None]


def test_a_file_under_an_allowed_root(client: CheckedClient, tmp_path: Path) -> None:
    (tmp_path / "a photo.jpg").write_bytes(JPEG)
    answer = client.post("/api/info", json={"url": f"{tmp_path.as_uri()}/a%20photo.jpg"})
    assert answer.json()["width"] == 120
    for url in ("file:///etc/hostname", f"{tmp_path.as_uri()}/../secret", "s3://bucket/photo.jpg"):
        assert_problem(client.post("/api/info", json={"url": url}), 403, "address-refused", "url")
    missing = client.post("/api/info", json={"url": f"{tmp_path.as_uri()}/none.jpg"})
    assert_problem(missing, 502, "upstream-refused", says="Nothing is stored")


# What is wrong with the document.


@by_route
@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b'"a"', b"null", b"{'url': 1}", b"\xff", b"[" * 100_000, b'{"url": NaN}'],
)
def test_400_for_what_is_no_object(client: CheckedClient, route: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post(route, content=body, headers=headers)
    assert_problem(answer, 400, "invalid-parameters", says='{"url": "https://example.org')


@by_route
@pytest.mark.parametrize("body", [b"{}", b'{"width": 20}', b'{"URL": "http://a/"}'])
def test_400_without_an_address(client: CheckedClient, route: str, body: bytes) -> None:
    answer = client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert_problem(answer, 400, "missing-image", says="no `url`")


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"url": 1}', "url"),
        (b'{"url": null}', "url"),
        (b'{"url": ["http://public.example/"]}', "url"),
        (b'{"url": ""}', "url"),
        (b'{"url": "photo.jpg"}', "url"),
        (b'{"url": "http://a b/"}', "url"),
        (b'{"url": "\\ud800"}', "url"),
        (b'{"url": "http://a/", "url": "http://b/"}', "url"),
        (b'{"url": "http://a/", "width": null}', "width"),
        (b'{"url": "http://a/", "width": {"a": 1}}', "width"),
        (b'{"url": "http://a/", "width": [1]}', "width"),
        (b'{"url": "http://a/", "platforms": [1]}', "platforms"),
    ],
)
def test_400_names_the_field(client: CheckedClient, body: bytes, name: str) -> None:
    answer = client.post(
        "/api/optimize", content=body, headers={"Content-Type": "application/json"}
    )
    assert_problem(answer, 400, "invalid-parameters", name)


@pytest.mark.parametrize(
    ("option", "name"), [({"width": "wide"}, "width"), ({"widht": 3}, "widht")]
)
def test_400_for_wrong_options(client: CheckedClient, option: dict[str, object], name: str) -> None:
    answer = client.post("/api/optimize", json={"url": URL, **option})
    assert_problem(answer, 400, "invalid-parameters", name)


def test_a_document_has_an_end(client: CheckedClient) -> None:
    answer = client.post("/api/optimize", json={"url": URL, "x": "a" * 300_000})
    assert_problem(answer, 400, "invalid-parameters", says="more than 262144 bytes")


def test_415_where_nothing_is_fetched() -> None:
    with CheckedClient(create_app(LocalOptimizer(Limits()), ApiConfig())) as client:
        answer = client.post("/api/optimize", json={"url": URL})
    assert_problem(answer, 415, "unsupported-body")


# What is wrong with the address, or with what is there.


@by_route
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1/", "127.0.0.1 is not at a public address"),
        ("http://inside.example/", "inside.example is not at a public address"),
        ("http://169.254.169.254/latest/meta-data/", "not at a public address"),
        ("http://[::1]/", "not at a public address"),
        ("http://2130706433/", "four decimal numbers"),
        ("http://me:word@public.example/", "user name"),
        ("http://public.example:22/", "port 22"),
        ("ftp://public.example/", "only http:// and https://"),
        ("file:///etc/passwd", "none of the folders"),
        ("s3://bucket/key", "none of the folders"),
        ("gs://bucket/key", "none of the folders"),
    ],
)
def test_403_for_an_address_that_is_not_allowed(
    client: CheckedClient, route: str, url: str, says: str
) -> None:
    answer = client.post(route, json={"url": url})
    assert_problem(answer, 403, "address-refused", "url", says=says)


@by_route
def test_403_for_a_redirect_to_the_inside(remote: Remote, route: str) -> None:
    client = remote(always(response(b"", "302 Found", Location="http://10.0.0.1/")))
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 403, "address-refused", "url", says="public.example redirects")


@by_route
@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "410 Gone"])
def test_502_for_a_refusal(remote: Remote, route: str, status: str) -> None:
    client = remote(always(response(b"no", status)))
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 502, "upstream-refused", says=f"public.example answered {status[:3]}")


@by_route
@pytest.mark.parametrize("status", ["500 Oops", "503 Later", "429 Slowly"])
def test_502_for_a_failure(remote: Remote, route: str, status: str) -> None:
    client = remote(always(response(b"no", status)))
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 502, "upstream-failed", says=f"public.example answered {status[:3]}")


@by_route
def test_502_for_nobody(client: CheckedClient, route: str) -> None:
    answer = client.post(route, json={"url": "http://nosuch.example/"})
    assert_problem(answer, 502, "upstream-failed", says="could not be reached")


@by_route
def test_503_with_the_time_to_come_back_for_a_host_that_rests(remote: Remote, route: str) -> None:
    client = remote(always(response(b"no", "500 Oops")), fail_max=2, rest_s=90)
    for _ in range(2):
        client.post(route, json={"url": URL})
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 503, "upstream-resting")
    assert 80 <= int(answer.headers["retry-after"]) <= 90
    upstreams = client.get("/api/services/health").json()["services"]["upstreams"]
    assert upstreams["circuit"] == "open"
    assert upstreams["detail"] == "left alone: public.example:80"


@by_route
def test_504_for_slowness(remote: Remote, route: str) -> None:
    async def silence(head: bytes, reader: object, writer: object) -> None:
        await reader.read()  # type: ignore[attr-defined]

    client = remote(silence, timeout_s=0.2)
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 504, "upstream-timeout", says="within 0.2 s")


@by_route
def test_413_for_too_much(remote: Remote, route: str) -> None:
    client = remote(always(response(JPEG)), max_bytes=len(JPEG) - 1)
    answer = client.post(route, json={"url": URL})
    assert_problem(answer, 413, "source-too-large", says=f"more than {len(JPEG) - 1} bytes")


@by_route
def test_415_for_what_is_no_picture(remote: Remote, route: str) -> None:
    page = response(b"<html>hello</html>", Content_Type="image/jpeg")
    answer = remote(always(page)).post(route, json={"url": URL})
    assert_problem(answer, 415, "unsupported-format")


@by_route
def test_422_for_a_damaged_picture(remote: Remote, route: str) -> None:
    answer = remote(always(response(JPEG[:200]))).post(route, json={"url": URL})
    assert_problem(answer, 422, "corrupt-image")


@by_route
def test_wrong_options_are_said_before_anything_is_fetched(
    client: CheckedClient, route: str
) -> None:
    separator = "&" if "?" in route else "?"
    answer = client.post(f"{route}{separator}widht=3", json={"url": "http://nosuch.example/"})
    assert answer.status_code == 400


def test_health_shows_that_nothing_rests(client: CheckedClient) -> None:
    upstreams = client.get("/api/services/health").json()["services"]["upstreams"]
    assert upstreams == {"status": "ok", "latency_ms": None, "circuit": "closed", "detail": ""}
