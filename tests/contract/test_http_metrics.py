"""What is measured of requests, and every way to ask for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from starlette.websockets import WebSocketDisconnect

from omnishot_ray.api.metrics_docs import MEMORY_DOCS, SNAPSHOT_SCHEMA
from omnishot_ray.metrics.catalogue import CATALOGUE
from omnishot_ray.metrics.local import LocalMetrics
from omnishot_ray.metrics.samples import BatchSample, GaugeSample, JobSample, ResourceSample
from tests.contract.checks import CheckedClient, assert_problem
from tests.contract.metered import Absent, watched

DATA = Path(__file__).resolve().parents[1] / "data" / "valid"
PHOTO = (DATA / "photo_flower_480x360.jpg").read_bytes()


@pytest.fixture
def metrics() -> LocalMetrics:
    return LocalMetrics()


@pytest.fixture
def client(metrics: LocalMetrics) -> Iterator[CheckedClient]:
    with watched(metrics) as client:
        yield client


def rows(client: CheckedClient, **query: str) -> list[dict[str, Any]]:
    return client.get("/api/metrics/export", params=query).json()["rows"]


def send(client: CheckedClient, address: str, body: bytes = PHOTO, **headers: str) -> Any:
    return client.post(address, content=body, headers={"Content-Type": "image/jpeg", **headers})


def test_a_rendition_is_a_sample_with_all_that_is_known(client: CheckedClient) -> None:
    answer = send(client, "/api/optimize?width=100&format=webp", **{"X-Request-Id": "one"})
    (row,) = rows(client)
    assert row["route"] == "/api/optimize"
    assert (row["status"], row["error"], row["request_id"]) == (200, "", "one")
    assert (row["cache"], row["source_format"], row["format"]) == ("miss", "jpeg", "webp")
    assert (row["renditions"], row["pixels"]) == (1, 480 * 360)
    assert (row["bytes_in"], row["bytes_out"]) == (len(PHOTO), len(answer.content))
    assert row["bytes_saved"] == len(PHOTO) - len(answer.content)
    assert row["decode_ms"] > 0
    assert row["total_ms"] >= row["decode_ms"] + row["transform_ms"] + row["encode_ms"]


def test_a_cached_answer_is_one_too_and_cost_nothing(client: CheckedClient) -> None:
    for _ in range(2):
        send(client, "/api/optimize?width=100")
    made, found = rows(client)
    assert (made["cache"], found["cache"]) == ("miss", "hit-memory")
    assert found["decode_ms"] == found["encode_ms"] == 0
    assert found["renditions"] == 1


def test_variants_info_and_not_modified_are_samples(client: CheckedClient) -> None:
    send(client, "/api/variants?platforms=x-post,instagram-post")
    send(client, "/api/info")
    tag = send(client, "/api/optimize?width=50").headers["ETag"]
    send(client, "/api/optimize?width=50", **{"If-None-Match": tag})
    found = {(row["route"], row["status"], row["renditions"]) for row in rows(client)}
    assert found == {
        ("/api/variants", 200, 2),
        ("/api/info", 200, 0),
        ("/api/optimize", 200, 1),
        ("/api/optimize", 304, 0),
    }


@pytest.mark.parametrize(
    ("address", "body", "status", "error", "route"),
    [
        ("/api/optimize?widht=3", PHOTO, 400, "invalid-parameters", "/api/optimize"),
        ("/api/optimize?width=3", b"no picture", 415, "unsupported-format", "/api/optimize"),
        ("/api/optimize?width=3", PHOTO[:300], 422, "corrupt-image", "/api/optimize"),
        ("/nothing/here", PHOTO, 404, "not-found", "other"),
        ("/health", PHOTO, 405, "method-not-allowed", "/health"),
    ],
)
def test_an_error_is_a_sample_with_its_code(
    client: CheckedClient, address: str, body: bytes, status: int, error: str, route: str
) -> None:
    assert send(client, address, body).status_code == status
    (row,) = rows(client)
    assert (row["status"], row["error"], row["route"]) == (status, error, route)


def test_a_fault_of_ours_is_a_sample() -> None:
    class Broken:
        highest_effort = None

        async def optimize_now(self, task: Any, is_new: bool) -> Any:
            raise RuntimeError("broken")

    metrics = LocalMetrics()
    with watched(metrics, Broken()) as client:  # type: ignore[arg-type]
        assert send(client, "/api/optimize?width=3").status_code == 500
        (row,) = rows(client)
        assert (row["status"], row["error"]) == (500, "internal")


def test_addresses_with_names_in_them_are_one_route(client: CheckedClient) -> None:
    for code in ("corrupt-image", "timeout"):
        client.get(f"/problems/{code}")
    assert {row["route"] for row in rows(client)} == {"/problems/{code}"}


def watch(metrics: LocalMetrics, at_s: float) -> None:
    """What other processes would say."""
    metrics.record(
        ResourceSample(at_s=at_s, process="gateway-1", kind="gateway", node="a", rss_bytes=5, cpu=1)
    )
    metrics.record(
        ResourceSample(at_s=at_s, process="resizer-1", kind="resizer", node="a", rss_bytes=7)
    )
    metrics.record(
        GaugeSample(at_s=at_s, process="gateway-1", waiting=3, waiting_ms=40, active=2, replicas=1)
    )
    metrics.record(BatchSample(at_s=at_s, process="gateway-1", tasks=4, took_ms=30))
    metrics.record(JobSample(at_s=at_s, job_id="1", status="completed", run_ms=100))


def test_the_figures_are_those_of_the_schema(client: CheckedClient, metrics: LocalMetrics) -> None:
    jsonschema.validate(client.get("/api/metrics").json(), SNAPSHOT_SCHEMA)
    for width in ("10", "10", "11", "none"):
        send(client, f"/api/optimize?width={width}")
    watch(metrics, metrics.hub._clock())
    document = client.get("/api/metrics?window=5m").json()
    jsonschema.validate(document, SNAPSHOT_SCHEMA)
    assert document["window_s"] == 300
    assert document["requests"]["by_status"] == {"200": 4, "400": 1}
    assert (document["requests"]["total"], document["requests"]["errors"]) == (5, 1)
    assert document["requests"]["error_rate"] == 0.2
    assert document["cache"]["tiers"] == {"miss": 2, "hit-memory": 1}
    assert document["cache"]["hit_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert document["formats"] == {"jpeg": 3}
    assert document["queue"] == {"waiting": 3, "waiting_ms": 40, "active": 2}
    assert (document["memory_bytes"], document["cpu"], document["replicas"]) == (12, 1, 1)
    assert [one["process"] for one in document["processes"]] == ["gateway-1", "resizer-1"]
    assert [one["error"] for one in document["recent_errors"]] == ["invalid-parameters"]
    assert document["latency_ms"]["p99"] > 0
    assert document["renditions_per_s"] == pytest.approx(3 / 300)
    assert "groups" not in document


def test_groups_are_by_any_labels(client: CheckedClient) -> None:
    for width in ("10", "11", "none"):
        send(client, f"/api/optimize?width={width}")
    document = client.get(
        "/api/metrics?group_by=route,status&aggregations=count,p95,rate&window=1h"
    ).json()
    assert [(one["route"], one["status"], one["count"]) for one in document["groups"]] == [
        ("/api/optimize", 200, 2),
        ("/api/optimize", 400, 1),
    ]
    assert set(document["groups"][0]) == {"route", "status", "count", "p95", "rate"}


def test_any_table_can_be_asked(client: CheckedClient, metrics: LocalMetrics) -> None:
    watch(metrics, metrics.hub._clock() - 1)
    address = (
        "/api/metrics/query?table=resources&group_by=process&aggregations=max:rss_bytes,count"
        "&where=kind:gateway|hub&window=90s"
    )
    document = client.get(address).json()
    assert document["columns"] == ["process", "max_rss_bytes", "count"]
    assert document["rows"] == [{"process": "gateway-1", "max_rss_bytes": 5.0, "count": 1}]
    arrow = client.get(address, headers={"Accept": "application/vnd.apache.arrow.stream"})
    with pa.ipc.open_stream(arrow.content) as reader:
        assert reader.read_all().to_pylist() == document["rows"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/api/metrics?window=soon", "window"),
        ("/api/metrics?window=0s", "window"),
        ("/api/metrics?window=99999d", "window"),
        ("/api/metrics?group_by=request_id", "group_by"),
        ("/api/metrics?group_by=route&aggregations=p98", "aggregations"),
        ("/api/metrics?windows=5m", "windows"),
        ("/api/metrics/query?table=secrets", "table"),
        ("/api/metrics/query?aggregations=p99:route", "aggregations"),
        ("/api/metrics/query?aggregations=p99:nonsense", "aggregations"),
        ("/api/metrics/query?where=nonsense:1", "where"),
        ("/api/metrics/query?where=status:many", "where"),
        ("/api/metrics/query?step=1d&window=30d&step=1s", "step"),
        ("/api/metrics/query?step=0.5s", "step"),
        ("/api/metrics/export?table=secrets", "table"),
        ("/api/memory-analysis?window=-5m", "window"),
        ("/api/alerts?all=true", "all"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    client: CheckedClient, address: str, name: str
) -> None:
    assert_problem(client.get(address), 400, "invalid-parameters", name)


def test_prometheus_gets_every_metric_of_the_catalogue_and_no_other(
    client: CheckedClient, metrics: LocalMetrics
) -> None:
    for width in ("10", "10", "none"):
        send(client, f"/api/optimize?width={width}")
    watch(metrics, metrics.hub._clock())
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = {family.name: family for family in parse_text(answer.text)}
    kinds = {
        name.removesuffix("_total") if metric.kind == "counter" else name: metric.kind
        for name, metric in CATALOGUE.items()
    }
    assert {name: family.type for name, family in families.items()} == kinds
    for family in families.values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(CATALOGUE[name].labels)
    samples = {
        (sample.labels["route"], sample.labels["status"], sample.labels["cache"]): sample.value
        for sample in families["omnishot_requests"].samples
    }
    assert samples == {
        ("/api/optimize", "200", "miss"): 1,
        ("/api/optimize", "200", "hit-memory"): 1,
        ("/api/optimize", "400", ""): 1,
    }


def test_a_histogram_is_whole(client: CheckedClient) -> None:
    for width in range(10, 30):
        send(client, f"/api/optimize?width={width}")
    text = client.get("/metrics").text
    (family,) = [f for f in parse_text(text) if f.name == "omnishot_request_duration_seconds"]
    buckets = [s.value for s in family.samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert len(buckets) == len(CATALOGUE[family.name].buckets) + 1
    (count,) = [s.value for s in family.samples if s.name.endswith("_count")]
    assert count == buckets[-1] == 20


def test_openmetrics_is_spoken_to_who_asks_for_it(client: CheckedClient) -> None:
    answer = client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(answer.text)}


def test_memory_is_analysed(client: CheckedClient, metrics: LocalMetrics) -> None:
    now = metrics.hub._clock()
    for minute in range(40):
        for name, growth in (("gateway-1", 5e6), ("resizer-1", 0.0)):
            metrics.record(
                ResourceSample(
                    at_s=now - 60 * (40 - minute) + 45,  # the last within the 30 s looked at
                    process=name,
                    kind=name.partition("-")[0],
                    rss_bytes=int(2e8 + growth * minute),
                    heap_bytes=int(1e8 + growth * minute),
                    memory_used_share=0.9,
                )
            )
    document = client.get("/api/memory-analysis").json()
    schema = MEMORY_DOCS["responses"][200]["content"]["application/json"]["schema"]
    jsonschema.validate(document, schema)
    leaking, steady = document["processes"]
    assert (leaking["process"], leaking["verdict"]) == ("gateway-1", "leaking")
    assert leaking["trend_mb_per_min"] == pytest.approx(5.0, rel=0.01)
    assert leaking["confidence"] > 0.99
    assert (steady["process"], steady["verdict"]) == ("resizer-1", "steady")
    assert document["verdict"] == "leaking"
    assert [pool["bytes"] for pool in document["largest_pools"]] == sorted(
        (pool["bytes"] for pool in document["largest_pools"]), reverse=True
    )
    assert any("gateway-1 leaks" in said for said in document["recommendations"])
    assert any("90%" in said for said in document["recommendations"])


def test_alerts_are_there_even_when_there_are_none(client: CheckedClient) -> None:
    assert client.get("/api/alerts").json() == {"alerts": []}


def test_without_the_hub_pictures_are_answered_and_the_rest_says_so() -> None:
    with watched(Absent()) as client:
        assert send(client, "/api/optimize?width=10").status_code == 200
        assert_problem(client.get("/ready"), 503, "engine-unavailable", says="metrics-hub: ")
        services = client.get("/api/services/health").json()
        assert services["status"] == "degraded"
        assert services["services"]["metrics-hub"]["status"] == "down"
        assert services["services"]["resizers"]["status"] == "ok"
        for path in ("/api/metrics", "/api/memory-analysis", "/api/metrics/query"):
            assert_problem(client.get(path), 503, "engine-unavailable", says="metrics hub")
        assert "omnishot_hub_up 0.0" in client.get("/metrics").text


def test_ready_names_the_hub(client: CheckedClient) -> None:
    assert client.get("/ready").json()["parts"] == {"engine": "ok", "metrics-hub": "ok"}


def test_the_stream_sends_snapshots(client: CheckedClient) -> None:
    send(client, "/api/optimize?width=10")
    with client.websocket_connect("/api/metrics/stream") as socket:
        socket.send_json({"subscribe": "metrics"})
        first, second = socket.receive_json(), socket.receive_json()
    jsonschema.validate(first, SNAPSHOT_SCHEMA)
    assert first["requests"]["by_status"] == {"200": 1}
    assert second["at"] > first["at"]


@pytest.mark.parametrize("text", ['{"subscribe": "secrets"}', "{", "x" * 5000])
def test_the_stream_wants_to_be_asked(client: CheckedClient, text: str) -> None:
    with client.websocket_connect("/api/metrics/stream") as socket:
        socket.send_text(text)
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_json()
    assert end.value.code == 1008


def test_listeners_are_bounded_and_share_one_snapshot() -> None:
    class Counting(LocalMetrics):
        taken = 0

        async def snapshot(self, *given: Any) -> Any:
            self.taken += 1
            return await super().snapshot(*given)

    metrics = Counting()
    with watched(metrics, max_subscribers=2) as client:
        with (
            client.websocket_connect("/api/metrics/stream") as one,
            client.websocket_connect("/api/metrics/stream") as other,
        ):
            for socket in (one, other):
                socket.send_json({"subscribe": "metrics"})
            for _ in range(2):
                assert one.receive_json()["at"]
            assert other.receive_json()["at"]
            assert metrics.taken <= 4
            with client.websocket_connect("/api/metrics/stream") as third:
                with pytest.raises(WebSocketDisconnect) as end:
                    third.receive_json()
                assert end.value.code == 1013
        with client.websocket_connect("/api/metrics/stream") as again:
            again.send_json({"subscribe": "metrics"})
            assert again.receive_json()["at"]
