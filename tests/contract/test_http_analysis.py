"""What the figures mean, asked over HTTP of the real store."""

from time import time

import numpy as np
import pytest

from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.analysis.costs import Prices
from omnishot_ray.metrics.analysis.recommendations import Knobs
from omnishot_ray.metrics.samples import GaugeSample, RequestSample, ResourceSample
from tests.contract.checks import CheckedClient
from tests.local_metrics import LocalMetrics

ANALYSIS = "/api/analytics/analysis"
MIB = 1 << 20
MINUTES = 50


@pytest.fixture(scope="module")
def client() -> CheckedClient:
    """An hour of a service whose memory grows, that got slower half way, and that stumbled once."""
    metrics = LocalMetrics()
    draw = np.random.default_rng(4)
    now = time()
    for place in range(MINUTES * 6):
        at_s = now - MINUTES * 60 + place * 10.0
        slow = 30.0 if place > MINUTES * 3 else 20.0
        burst = 300.0 if 100 <= place < 104 else 0.0
        for number in range(4):
            metrics.record(
                RequestSample(
                    at_s=at_s,
                    route="/api/optimize",
                    status=200,
                    renditions=1,
                    source_format="jpeg",
                    format="jpeg",
                    pixels=1_000_000,
                    bytes_in=200_000,
                    bytes_out=MIB,
                    total_ms=slow * float(draw.lognormal(0, 0.2)) + burst,
                    key=f"result-{(4 * place + number) % 300}",
                )
            )
        for kind, cpu in (("gateway", 0.5), ("resizer", 0.25)):
            metrics.record(
                ResourceSample(
                    at_s=at_s,
                    process=f"{kind}-1",
                    kind=kind,
                    cpu=cpu,
                    rss_bytes=int(2e8 + 1e5 * place),
                    memory_used_share=0.5,
                )
            )
        metrics.record(
            GaugeSample(at_s=at_s, process="gateway-1", waiting=0, cache_bytes=10**9, replicas=1)
        )
        if place % 50 == 0:
            metrics.flush()
    app = create_app(
        LocalOptimizer(Limits()),
        ApiConfig(),
        metrics=metrics,
        analytics=AnalyticsConfig(prices=Prices("EUR", 0.05, 0.1, 0.0)),
        knobs=Knobs(128 * MIB, 1, 100.0, 2),
    )
    return CheckedClient(app)


def test_memory_that_grows_is_a_trend(client: CheckedClient) -> None:
    document = client.get(f"{ANALYSIS}/trends?metric=resources.rss_bytes&function=max").json()
    (trend,) = document["trends"]
    assert (trend["metric"], trend["direction"]) == ("max resources.rss_bytes", "rising")
    assert trend["per_hour"] == pytest.approx(1e5 * 360, rel=0.05)
    steady = client.get(f"{ANALYSIS}/trends?metric=requests&window=40m").json()["trends"][0]
    assert steady["direction"] == "steady"


def test_the_stumble_is_an_anomaly(client: CheckedClient) -> None:
    document = client.get(f"{ANALYSIS}/anomalies?metric=requests.total_ms&window=1h").json()
    (series,) = document["anomalies"]
    assert series["method"] == "ewma"
    (found,) = [one for one in series["found"] if one["value"] > 200]
    assert found["score"] > 5
    assert 30 <= found["ended_s"] - found["began_s"] <= 60
    assert len(series["found"]) <= 2  # the change half way may be one


def test_the_change_half_way_has_an_impact(client: CheckedClient) -> None:
    at_s = time() - MINUTES * 30
    document = client.get(
        f"{ANALYSIS}/impact?at={at_s}&window=20m&metric=requests.total_ms&function=p50"
    ).json()
    (impact,) = document["impacts"]
    assert impact["verdict"] == "up"
    assert impact["interval"][0] <= impact["difference"] <= impact["interval"][1]
    assert impact["share"] == pytest.approx(0.5, abs=0.15)


def test_a_larger_cache_is_advised(client: CheckedClient) -> None:
    document = client.get(f"{ANALYSIS}/recommendations").json()
    advice = {one["setting"]: one for one in document["recommendations"]}
    cache = advice["cache.memory_bytes"]
    assert cache["now"] == 128 * MIB
    assert 300 * MIB <= cache["then"] <= 320 * MIB


def test_the_bill(client: CheckedClient) -> None:
    bill = client.get(f"{ANALYSIS}/costs").json()
    assert (bill["currency"], bill["images"]) == ("EUR", MINUTES * 6 * 4)
    # Half a core and a quarter of one, for 50 minutes.
    assert bill["busy_cores_by_kind"]["gateway"] == pytest.approx(0.5 * 50 / 60, rel=0.03)
    assert bill["quantities"]["core_hours"] == pytest.approx(0.75 * 50 / 60, rel=0.03)
    assert bill["quantities"]["egress_gb"] == pytest.approx(MINUTES * 24 * MIB / 1e9, rel=0.02)
    assert bill["per_1000_images"]["egress"] == pytest.approx(0.105, rel=0.02)


def test_all_at_once(client: CheckedClient) -> None:
    document = client.get(ANALYSIS).json()
    assert set(document) == {"window_s", "trends", "anomalies", "recommendations", "costs"}
    assert len(document["trends"]) == len(document["anomalies"]) == 5


def test_without_figures_nothing_is_claimed() -> None:
    app = create_app(LocalOptimizer(Limits()), ApiConfig(), metrics=LocalMetrics())
    client = CheckedClient(app)
    document = client.get(ANALYSIS).json()
    assert {trend["direction"] for trend in document["trends"]} == {None}
    assert {one["method"] for one in document["anomalies"]} == {"too-short"}
    assert document["recommendations"] == []
    impact = client.get(f"{ANALYSIS}/impact?at={time() - 60}").json()["impacts"][0]
    assert impact["verdict"] is None
    assert "it takes 12 of each" in impact["reason"]


@pytest.mark.parametrize(
    "path",
    [
        "trends?metric=wishes",
        "trends?metric=requests.wishes",
        "trends?metric=requests.route&function=max",
        "trends?metric=requests.total_ms&function=rate",
        "trends?metric=requests&function=max",
        "trends?function=max",
        "anomalies?metric=requests.total_ms&function=p42",
        "impact",
        "impact?at=soon",
        "impact?at=nan",
        "impact?at=99999999999",
        "costs?window=1y",
        "recommendations?depth=1",
    ],
)
def test_what_cannot_be_asked(client: CheckedClient, path: str) -> None:
    assert client.get(f"{ANALYSIS}/{path}").status_code == 400
