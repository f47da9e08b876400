"""`omnishot metrics analyze` against a service on a port."""

import json
from collections.abc import Iterator
from time import time

import pytest
from click.testing import CliRunner

from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.cli import main
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.samples import RequestSample
from tests.browser import served
from tests.local_metrics import LocalMetrics


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    metrics = LocalMetrics()
    now = time()
    for second in range(1200):
        metrics.record(
            RequestSample(
                at_s=now - 1200 + second,
                route="/api/optimize",
                status=200,
                renditions=1,
                bytes_out=10_000,
                total_ms=20.0 if second < 600 else 40.0 + second % 7,
            )
        )
    app = create_app(LocalOptimizer(Limits()), ApiConfig(keys=("0123456789",)), metrics=metrics)
    with served(app) as base:
        yield base


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["metrics", "analyze", *arguments])
    return result.exit_code, result.output


@pytest.mark.timeout(60)
def test_it_is_printed(url: str) -> None:
    code, said = run("--url", url, "--key", "0123456789", "--change-at", str(time() - 600))
    assert code == 0, said
    assert "Trends" in said
    assert "Impact on p95 requests.total_ms: up" in said
    assert "Costs: 0.0010 USD for 1200 images, 0.0008 for 1 000" in said


@pytest.mark.timeout(60)
def test_as_json(url: str) -> None:
    code, said = run("--url", url, "--key", "0123456789", "--json")
    assert code == 0
    assert json.loads(said)["costs"]["images"] == 1200


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--key", "wrong"), 2, "not accepted"),
        (("--key", "0123456789", "--window", "soon"), 2, "window"),
        (("--url", "http://127.0.0.1:9"), 3, "no service answers there"),
    ],
)
def test_what_goes_wrong_is_said(
    url: str, arguments: tuple[str, ...], code: int, says: str
) -> None:
    ended, said = run("--url", url, *arguments)
    assert ended == code
    assert says in said
