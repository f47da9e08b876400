"""Results from the caches, over HTTP: what comes from where, warming up and taking out."""

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import httpx2
import pytest
from blake3 import blake3

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import build_front
from omnishot_ray.errors import OmnishotError
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.protocol import Made, Task
from tests.contract.checks import CheckedClient, assert_problem
from tests.pictures import encode, scene

PICTURE = encode(scene(48, 32), "JPEG")
OTHER = encode(scene(40, 32), "JPEG")
DIGEST = blake3(PICTURE).hexdigest()
THUMBNAIL = "/api/optimize?width=16&height=16"


class Hurried(LocalOptimizer):
    """One that is overloaded when the test says so, and counts what it does."""

    count = 0

    async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
        self.count += 1
        return await super().optimize(task)


@pytest.fixture
def optimizer() -> Hurried:
    return Hurried(Limits())


@pytest.fixture
def cached(tmp_path: Path, optimizer: Hurried) -> Iterator[CheckedClient]:
    front = build_front(CacheConfig(node_dir=str(tmp_path / "node")))
    with CheckedClient(create_app(optimizer, ApiConfig(), front)) as client:
        yield client


def post(
    client: CheckedClient, path: str = THUMBNAIL, data: bytes = PICTURE, **headers: str
) -> httpx2.Response:
    return client.post(path, content=data, headers={"Content-Type": "image/jpeg", **headers})


def test_the_second_time_it_comes_from_memory(cached: CheckedClient, optimizer: Hurried) -> None:
    first, second = post(cached), post(cached)
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["miss", "hit-memory"]
    assert first.content == second.content
    for name in ("etag", "content-type", "x-omnishot-result", "x-omnishot-source", "cache-control"):
        assert first.headers[name] == second.headers[name]
    assert "decode;dur=0.00" in second.headers["server-timing"]
    assert optimizer.count == 1


def test_the_way_of_asking_makes_no_difference(cached: CheckedClient, optimizer: Hurried) -> None:
    post(cached, "/api/optimize?width=16&height=16")
    again = post(cached, "/api/optimize?height=16&width=16")
    assert again.headers["x-cache"] == "hit-memory"
    form = {"width": "16", "height": "16"}
    response = cached.post("/api/optimize", files={"file": PICTURE}, data=form)
    assert response.headers["x-cache"] == "hit-memory"
    assert optimizer.count == 1


def test_another_picture_or_option_is_another_result(cached: CheckedClient) -> None:
    post(cached)
    for path, data in ((THUMBNAIL, OTHER), (THUMBNAIL + "&effort=5", PICTURE)):
        assert post(cached, path, data).headers["x-cache"] == "miss"
    assert post(cached, Accept="image/webp").headers["content-type"] == "image/webp"


def test_variants_are_kept_as_a_whole(cached: CheckedClient, optimizer: Hurried) -> None:
    path = "/api/variants?platforms=x-post,open-graph"
    first, second = post(cached, path), post(cached, path)
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["miss", "hit-memory"]
    assert first.json()["variants"] == second.json()["variants"]
    assert optimizer.count == 1


def test_failures_are_not_kept(cached: CheckedClient, optimizer: Hurried) -> None:
    deadline = monotonic() + 10
    while optimizer.count < 2:  # for an instant it is handed to whoever asks at the same time
        assert monotonic() < deadline
        assert_problem(post(cached, data=PICTURE[:200]), 422, "corrupt-image")


@pytest.mark.parametrize("by", ["key", "prefix", "source"])
def test_results_are_taken_out(cached: CheckedClient, by: str) -> None:
    key = post(cached).headers["x-omnishot-key"]
    post(cached, data=OTHER)
    assert key.startswith(f"{DIGEST}-")
    value = {"key": key, "prefix": key[:20], "source": DIGEST}[by]
    response = cached.post(f"/api/cache/invalidate?{by}={value}")
    assert response.json() == {"removed": {"memory": 1}}
    assert post(cached).headers["x-cache"] == "miss"
    assert post(cached, data=OTHER).headers["x-cache"] == "hit-memory"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", []),
        ("?key=abc", ["key"]),
        ("?source=xyz", ["source"]),
        ("?prefix=..", ["prefix"]),
        (f"?prefix=ab&source={DIGEST}", ["prefix", "source"]),
        ("?all=1", ["all"]),
    ],
)
def test_what_is_to_be_taken_out_has_to_be_said_well(
    cached: CheckedClient, query: str, names: list[str]
) -> None:
    response = cached.post(f"/api/cache/invalidate{query}")
    assert_problem(response, 400, "invalid-parameters", *names)


def test_warmed_up_renditions_are_there(cached: CheckedClient, optimizer: Hurried) -> None:
    warmed = post(cached, "/api/cache/warm?platforms=x-post,open-graph").json()["warmed"]
    assert [one["name"] for one in warmed] == ["x-post", "open-graph"]
    assert {one["cache"] for one in warmed} == {"miss"}
    response = post(cached, "/api/optimize?platform=x-post")
    assert response.headers["x-cache"] == "hit-memory"
    assert response.headers["x-omnishot-key"] == warmed[0]["key"]
    assert optimizer.count == 2


def test_warming_up_tells_what_cannot_be_made(cached: CheckedClient) -> None:
    variants = '[{"name": "a", "width": 9}, {"name": "b", "format": "jpeg", "lossless": true}]'
    made, failed = post(cached, f"/api/cache/warm?variants={variants}").json()["warmed"]
    assert (made["name"], made["error"]) == ("a", None)
    assert failed["key"] is None
    assert failed["error"]["type"] == "/problems/contradictory-options"


def test_the_caches_tell_what_they_do(cached: CheckedClient) -> None:
    post(cached)
    post(cached)
    memory = cached.get("/api/cache").json()["tiers"]["memory"]
    assert (memory["hits"], memory["misses"]) == (1, 1)
    assert memory["hit_rate"] == 0.5
    services = cached.get("/api/services/health").json()
    assert services["status"] == "ok"
    assert services["services"]["memory-cache"]["circuit"] == "closed"
    assert services["services"]["resizers"]["status"] == "ok"


def test_under_overload_renditions_are_cheaper_and_say_so(
    cached: CheckedClient, optimizer: Hurried
) -> None:
    path = "/api/optimize?width=30&height=20&gravity=center"
    accept = {"Accept": "image/avif,image/webp,*/*"}
    usual = post(cached, path, **accept)
    assert usual.headers["content-type"] == "image/avif"
    cached.post(f"/api/cache/invalidate?source={DIGEST}")
    optimizer.highest_effort = 1  # type: ignore[assignment]
    cheap = post(cached, path, **accept)
    assert cheap.headers["content-type"] == "image/jpeg"
    assert cheap.headers["x-omnishot-degraded"] == "effort=1, auto=jpeg"
    assert cheap.headers["cache-control"] == "no-store"
    assert "etag" not in cheap.headers
    assert post(cached, path, **accept).headers["x-cache"] == "hit-memory"
    optimizer.highest_effort = None
    again = post(cached, path, **accept)
    assert again.content == usual.content
    assert again.headers["x-cache"] == "miss"
    optimizer.highest_effort = 1  # type: ignore[assignment]
    known = post(cached, path, **accept)  # what is there costs nothing
    assert known.content == usual.content
    assert "x-omnishot-degraded" not in known.headers
