"""Health, readiness, the catalogue and the documents."""

import re
from pathlib import Path

import pytest

from omnishot_ray import __version__
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.option_table import OPTIONS
from omnishot_ray.imaging.platforms import GROUPS, PLATFORMS
from omnishot_ray.protocol import ImageTask, Outcome, run_task
from omnishot_ray.storage.config import StorageConfig
from omnishot_ray.storage.fetch import FetchConfig
from omnishot_ray.storage.sources import Sources
from tests.contract.checks import CheckedClient, assert_problem
from tests.contract.conftest import Serve


class Ready:
    """An optimizer whose parts are in the given state."""

    def __init__(self, **parts: str) -> None:
        self._parts = parts

    async def optimize(self, task: ImageTask) -> Outcome:
        return run_task(task, Limits())

    async def check_ready(self) -> dict[str, str]:
        return self._parts


def test_health(client: CheckedClient) -> None:
    response = client.get("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    document = response.json()
    assert (document["status"], document["version"]) == ("ok", __version__)
    assert document["uptime_s"] >= 0


def test_health_may_be_asked_for_its_head(client: CheckedClient) -> None:
    response = client.head("/health")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"


def test_health_does_not_ask_the_engine(serve: Serve) -> None:
    assert serve(Ready(engine="no replica runs")).get("/health").status_code == 200


def test_ready(client: CheckedClient) -> None:
    response = client.get("/ready")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {"status": "ready", "parts": {"engine": "ok"}}


def test_not_ready_names_what_fails(serve: Serve) -> None:
    response = serve(Ready(engine="no replica runs", store="ok")).get("/ready")
    assert_problem(response, 503, "engine-unavailable", says="engine: no replica runs")
    assert "store" not in response.json()["detail"]
    assert int(response.headers["retry-after"]) >= 1


def test_services_are_called_as_people_know_them(client: CheckedClient) -> None:
    services = client.get("/api/services/health").json()["services"]
    assert {"gateway", "resizers", "storage", "upstreams"} <= services.keys()
    assert "engine" not in services
    assert (services["storage"]["status"], services["storage"]["latency_ms"]) == ("off", None)


def test_the_storage_of_results_is_looked_at(tmp_path: Path) -> None:
    root = tmp_path / "out"
    sources = Sources(FetchConfig(), StorageConfig(output_roots=(f"file://{root}",)))
    client = CheckedClient(create_app(LocalOptimizer(Limits()), ApiConfig(), None, sources))
    well = client.get("/api/services/health").json()
    assert (well["status"], well["services"]["storage"]["status"]) == ("ok", "ok")
    assert well["services"]["storage"]["latency_ms"] > 0
    root.rmdir()
    root.write_text("a file in the folder's place")
    ill = client.get("/api/services/health").json()
    assert (ill["status"], ill["services"]["storage"]["circuit"]) == ("degraded", "open")
    assert ill["services"]["storage"]["detail"] == "does not answer: file://"


def test_the_catalogue(client: CheckedClient) -> None:
    response = client.get("/api/platforms")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "public, max-age=3600"
    catalogue = response.json()
    assert catalogue["groups"] == list(GROUPS) == ["social", "marketplace", "web"]
    assert [one["name"] for one in catalogue["platforms"]] == list(PLATFORMS)
    for one in catalogue["platforms"]:
        platform = PLATFORMS[one["name"]]
        assert (one["title"], one["fit"], one["format"]) == (
            platform.title,
            platform.fit,
            platform.format,
        )
        assert (one["width"], one["height"]) == (platform.width, platform.height)
        assert one["limits"] == {"max_bytes": platform.max_bytes}
        assert set(one["groups"]) <= set(GROUPS)


def test_the_responsive_set(client: CheckedClient) -> None:
    responsive = client.get("/api/platforms").json()["responsive"]
    shown = [(one["width"], one["height"], one["format"]) for one in responsive]
    sizes = ((640, 480), (1280, 720), (1920, 1080))
    formats = ("avif", "webp", "jpeg")
    assert shown == [(*size, format) for size in sizes for format in formats]
    assert {(one["fit"], one["enlarge"]) for one in responsive} == {("inside", False)}


def test_the_openapi_document_knows_every_option(client: CheckedClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/api/optimize", "/api/variants"):
        operation = paths[path]["post"]
        named = {one["name"] for one in operation["parameters"]}
        fields = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        assert set(OPTIONS) <= named
        assert set(OPTIONS) <= set(fields)
        assert {"200", "400", "413", "415", "422", "429", "503", "504"} <= set(
            operation["responses"]
        )
    assert "304" in paths["/api/optimize"]["post"]["responses"]


def test_the_readable_page_needs_no_other_server(client: CheckedClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    for address in loaded:
        assert address.startswith("/")
        assert client.get(address).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/api/optimize", "/docs"])
def test_scripts_come_from_here_or_from_nowhere(client: CheckedClient, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"]
    assert "http" not in policy
    assert "*" not in policy
