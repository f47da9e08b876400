"""What browsers may send, what becomes of it, and what is read of it."""

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from time import time
from typing import Any

import pytest

from omnishot_ray.api.analytics.config import AnalyticsConfig
from omnishot_ray.api.application import create_app
from omnishot_ray.api.config import ApiConfig
from omnishot_ray.api.local import LocalOptimizer
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.metrics.funnel import STEPS
from omnishot_ray.metrics.samples import EventSample, FunnelSample, RequestSample, VitalSample
from tests.contract.checks import CheckedClient, assert_problem, said
from tests.local_metrics import LocalMetrics

METRICS = "/api/analytics/performance/metrics"
ALERTS = "/api/analytics/performance/alerts"
FUNNEL = "/api/analytics/funnel"
EVENTS = "/api/analytics/events"
READ_FUNNEL = "/api/analytics/dashboard/funnel"
LCP = {"name": "LCP", "value": 1800.0, "page": "/", "session_id": "s"}
VALID = {
    METRICS: {"metrics": [LCP]},
    ALERTS: {"alerts": [{"name": "upload-fails"}]},
    FUNNEL: {"session_id": "s", "step": "upload"},
    EVENTS: {"events": [{"type": "click", "session_id": "s"}]},
}
Analyse = Callable[..., tuple[CheckedClient, LocalMetrics]]


@pytest.fixture
def analyse() -> Iterator[Analyse]:
    """Makes a client of an application and its metrics, with another configuration."""
    with ExitStack() as stack:

        def make(api: ApiConfig | None = None, **config: Any) -> tuple[CheckedClient, LocalMetrics]:
            metrics = LocalMetrics()
            app = create_app(
                LocalOptimizer(Limits()),
                api or ApiConfig(),
                metrics=metrics,
                analytics=AnalyticsConfig(**config),
            )
            return stack.enter_context(CheckedClient(app)), metrics

        yield make


@pytest.fixture
def client(analyse: Analyse) -> CheckedClient:
    return analyse()[0]


def tally(**counts: Any) -> dict[str, Any]:
    return {"accepted": 0, "rejected": 0, "clamped": 0, "sampled_out": 0, "reasons": {}} | counts


@pytest.mark.parametrize("path", VALID)
@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain;charset=UTF-8", "Application/JSON; charset=utf-8"]
)
def test_samples_are_taken(analyse: Analyse, path: str, kind: str) -> None:
    client, metrics = analyse()
    response = client.post(path, content=json.dumps(VALID[path]), headers={"Content-Type": kind})
    assert response.status_code == 202, said(response)
    assert response.json() == tally(accepted=1)
    assert response.headers["cache-control"] == "no-store"
    assert len(metrics.told) == 1
    assert abs(metrics.told[0].at_s - time()) < 60


def test_a_vital_is_kept_as_it_was_said(analyse: Analyse) -> None:
    client, metrics = analyse()
    now = time()
    body = {
        "metrics": [
            {**LCP, "page": "https://shop.test/orders/4711?token=secret#x", "timestamp": now - 60},
            {**LCP, "name": "CLS", "value": 0.3, "timestamp": int(now * 1000) - 1000},
            {"name": "INP", "value": 350, "rating": "needs-improvement", "device": "tablet"},
        ]
    }
    agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Mobile"
    response = client.post(METRICS, json=body, headers={"User-Agent": agent})
    assert response.json() == tally(accepted=3)
    first, second, third = metrics.told
    assert first == VitalSample(
        at_s=now - 60,
        name="LCP",
        value=1800.0,
        rating="good",
        page="/orders/:id",
        session_id="s",
        device="phone",
    )
    assert isinstance(second, VitalSample)
    assert (second.rating, second.at_s) == ("poor", pytest.approx(now - 1, abs=0.002))
    assert isinstance(third, VitalSample)
    assert (third.rating, third.device, third.page) == ("needs-improvement", "tablet", "")


def test_times_are_made_plausible(analyse: Analyse) -> None:
    client, metrics = analyse()
    now = time()
    times = [now + 1e6, 1e300, now + 5, "2001-01-01T00:00:00Z", now - 7200, -1.0]
    body = {"metrics": [{**LCP, "timestamp": timestamp} for timestamp in times]}
    document = client.post(METRICS, json=body).json()
    assert document == tally(
        accepted=3, clamped=2, rejected=3, reasons={"in-the-future": 2, "too-old": 3}
    )
    assert all(sample.at_s <= time() for sample in metrics.told)


def test_values_that_no_page_has_are_rejected(analyse: Analyse) -> None:
    client, metrics = analyse()
    body = {"metrics": [{**LCP, "value": 1e12}, {**LCP, "name": "CLS", "value": 101}, LCP]}
    assert client.post(METRICS, json=body).json() == tally(
        accepted=1, rejected=2, reasons={"too-large": 2}
    )
    assert len(metrics.told) == 1


def test_a_rating_that_is_not_of_its_value_is_put_right(analyse: Analyse) -> None:
    client, metrics = analyse()
    body = {"metrics": [{**LCP, "rating": "poor"}]}
    assert client.post(METRICS, json=body).json() == tally(
        accepted=1, clamped=1, reasons={"rating": 1}
    )
    assert isinstance(metrics.told[0], VitalSample)
    assert metrics.told[0].rating == "good"


def test_ten_thousand_labels_become_a_few_and_other(analyse: Analyse) -> None:
    client, metrics = analyse(samples_per_minute=100_000)
    clamped = 0
    for begin in range(0, 10_000, 200):
        body = {
            "metrics": [
                {**LCP, "page": f"/p{chr(97 + n % 26)}-{n}"} for n in range(begin, begin + 200)
            ]
        }
        clamped += client.post(METRICS, json=body).json()["clamped"]
    assert clamped == 10_000 - 200
    pages = {sample.page for sample in metrics.told if isinstance(sample, VitalSample)}
    assert len(pages) == 201
    assert "other" in pages
    labels = client.get("/api/analytics/dashboard/performance").json()["labels"]
    assert labels["page"] == {"known": 200, "limit": 200, "others": 9800}


def test_data_of_events_are_bounded(analyse: Analyse) -> None:
    client, metrics = analyse()
    deep: Any = 1
    for _ in range(50):
        deep = {"a": deep}
    events = [
        {"type": "click", "session_id": "s", "data": data}
        for data in ({"x": [1, {"y": 2}]}, deep, {"x": "y" * 3000}, {})
    ]
    assert client.post(EVENTS, json={"events": events}).json() == tally(
        accepted=4, clamped=2, reasons={"data": 2}
    )
    kept = [sample.data for sample in metrics.told if isinstance(sample, EventSample)]
    assert kept == ['{"x":[1,{"y":2}]}', "", "", ""]


def test_alerts_are_events_of_their_own(analyse: Analyse) -> None:
    client, metrics = analyse()
    alerts = [
        {"name": "upload fails", "severity": "critical", "message": "502", "value": 3},
        {"name": "slow"},
    ]
    assert client.post(ALERTS, json={"alerts": alerts}).json() == tally(accepted=2)
    assert client.post(ALERTS, json=alerts[1]).json() == tally(accepted=1)
    kinds = [sample.type for sample in metrics.told if isinstance(sample, EventSample)]
    assert kinds == ["alert:critical:upload fails", "alert:warning:slow", "alert:warning:slow"]


def test_no_event_can_pass_for_an_alert(analyse: Analyse) -> None:
    client, _ = analyse()
    body = {"events": [{"type": "alert:critical:x", "session_id": "s"}]}
    assert_problem(client.post(EVENTS, json=body), 400, "invalid-parameters", "events[0].type")


def test_a_step_may_come_alone_or_with_others(analyse: Analyse) -> None:
    client, metrics = analyse()
    step = {"session_id": "s", "step": "share", "user_id": "u", "effect_id": "warm", "page": "/"}
    assert client.post(FUNNEL, json=step).json() == tally(accepted=1)
    assert client.post(FUNNEL, json={"steps": [step, step]}).json() == tally(accepted=2)
    sample = metrics.told[0]
    assert isinstance(sample, FunnelSample)
    assert (sample.step, sample.user_id, sample.segment) == ("share", "u", "warm")


@pytest.mark.parametrize("agent", ["Googlebot/2.1", "AhrefsBot", "python-requests/2.32", "curl/8"])
def test_bots_are_no_visitors(analyse: Analyse, agent: str) -> None:
    client, metrics = analyse()
    response = client.post(METRICS, json=VALID[METRICS], headers={"User-Agent": agent})
    assert response.json() == tally(rejected=1, reasons={"bot": 1})
    assert not metrics.told


def test_sessions_are_sampled_whole(analyse: Analyse) -> None:
    client, metrics = analyse(sample_share=0.3, samples_per_minute=100_000)
    sent = [f"session-{number}" for number in range(400)]
    for step in ("start", "upload"):
        for begin in range(0, 400, 200):
            steps = [{"session_id": one, "step": step} for one in sent[begin : begin + 200]]
            client.post(FUNNEL, json={"steps": steps})
    kept: dict[str, set[str]] = {"start": set(), "upload": set()}
    for sample in metrics.told:
        assert isinstance(sample, FunnelSample)
        kept[sample.step].add(sample.session_id)
    assert kept["start"] == kept["upload"]
    assert 80 <= len(kept["start"]) <= 160


HOSTILE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no JSON"),
    "text": (b"hello", "no JSON"),
    "nan": (b'{"metrics":[{"name":"LCP","value":NaN}]}', "NaN"),
    "infinity": (b'{"metrics":[{"name":"LCP","value":1e999}]}', "no JSON"),
    "deep": (b'{"metrics":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "no JSON"),
    "half a surrogate": (b'{"metrics":[{"name":"\\ud800","value":1}]}', "no JSON"),
    "latin-1": ('{"metrics":[{"name":"LCP","page":"\xe9"}]}'.encode("latin-1"), "no JSON"),
    "gzip": (gzip.compress(b'{"metrics":[]}'), "no JSON"),
    "a list": (b"[]", "Send an object"),
    "null": (b"null", "Send an object"),
    "no list": (b'{"metrics":{}}', "Send an object"),
    "an empty list": (b'{"metrics":[]}', "Send an object"),
    "other things": (b'{"metrics":[1,null,"x"]}', "metrics[0]"),
    "negative": (b'{"metrics":[{"name":"LCP","value":-1}]}', "metrics[0].value"),
    "text for a number": (b'{"metrics":[{"name":"LCP","value":"1800"}]}', "metrics[0].value"),
    "a boolean": (b'{"metrics":[{"name":"LCP","value":true}]}', "metrics[0].value"),
    "an unknown vital": (b'{"metrics":[{"name":"XYZ","value":1}]}', "metrics[0].name"),
    "a long text": (
        b'{"metrics":[{"name":"LCP","value":1,"session_id":"' + b"x" * 200 + b'"}]}',
        "metrics[0].session_id",
    ),
    "no time": (b'{"metrics":[{"name":"LCP","value":1,"timestamp":"soon"}]}', "ISO 8601"),
    "too many": (b'{"metrics":[' + b",".join([b"1"] * 201) + b"]}", "at most 200"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(analyse: Analyse, name: str) -> None:
    client, metrics = analyse()
    body, says = HOSTILE[name]
    response = client.post(METRICS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, said(response)
    assert says in response.json()["detail"]
    assert not metrics.told


def test_one_wrong_item_is_named_and_nothing_taken(analyse: Analyse) -> None:
    client, metrics = analyse()
    body = {"metrics": [LCP] + [{"name": "LCP"}] * 30}
    response = client.post(METRICS, json=body)
    assert response.status_code == 400
    assert [fault["name"] for fault in response.json()["errors"]] == [
        f"metrics[{number}].value" for number in range(1, 11)
    ]
    assert "20 more" in response.json()["detail"]
    assert not metrics.told


def test_larger_bodies_than_a_beacon_are_refused(analyse: Analyse) -> None:
    client, _ = analyse()
    body = json.dumps({"events": [{"type": "x", "session_id": "s", "data": {"x": "y" * 70_000}}]})
    response = client.post(EVENTS, content=body, headers={"Content-Type": "text/plain"})
    assert_problem(response, 413, "body-too-large", says="65536")

    def in_parts() -> Iterator[bytes]:
        for begin in range(0, len(body), 1000):
            yield body[begin : begin + 1000].encode()

    response = client.post(EVENTS, content=in_parts(), headers={"Content-Type": "text/plain"})
    assert_problem(response, 413, "body-too-large")


@pytest.mark.parametrize("kind", ["image/jpeg", "multipart/form-data", "application/x-ndjson"])
def test_other_types_are_refused(analyse: Analyse, kind: str) -> None:
    client, _ = analyse()
    response = client.post(METRICS, content=b"{}", headers={"Content-Type": kind})
    assert_problem(response, 415, "unsupported-body", says="text/plain")


def test_an_address_may_send_so_much(analyse: Analyse) -> None:
    proxy = ApiConfig(trusted_proxies=("127.0.0.1",))
    client, _ = analyse(proxy, samples_per_minute=60)
    flood = {"metrics": [LCP] * 100}
    # The client of the tests has no address; the quota is that of `unknown`.
    assert client.post(METRICS, json=flood).status_code == 202
    response = client.post(METRICS, json=VALID[METRICS])
    assert_problem(response, 429, "rate-limited", says="60 samples a minute")
    wait_s = int(response.headers["retry-after"])
    assert 1 <= wait_s <= 60
    assert response.headers["ratelimit-policy"] == '"samples";q=60;w=60'
    assert response.headers["ratelimit"] == f'"samples";r=0;t={wait_s}'
    assert client.post(EVENTS, json=VALID[EVENTS]).status_code == 429
    assert client.get("/api/analytics/dashboard/performance").status_code == 200


def test_pages_need_no_key_and_readers_do(analyse: Analyse) -> None:
    client, _ = analyse(ApiConfig(keys=("reader:0123456789abcdef",)))
    for path, body in VALID.items():
        assert client.post(path, json=body).status_code == 202
    assert client.get("/analytics.js").status_code == 200
    assert client.get("/api/analytics/dashboard/performance").status_code == 401
    assert client.get(READ_FUNNEL).status_code == 401
    key = {"X-API-Key": "0123456789abcdef"}
    assert client.get("/api/analytics/system/health", headers=key).status_code == 200


def test_what_is_off_is_not_there(analyse: Analyse) -> None:
    client, _ = analyse(enabled=False)
    assert client.post(METRICS, json=VALID[METRICS]).status_code == 404
    assert client.post(FUNNEL, json=VALID[FUNNEL]).status_code == 404
    assert client.get("/analytics.js").status_code == 404


def test_the_script_is_small_and_cached(client: CheckedClient) -> None:
    response = client.get("/analytics.js")
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=3600"
    assert len(response.content) < 4096
    for known in (response.headers["etag"], "*"):
        again = client.get("/analytics.js", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert client.head("/analytics.js").status_code == 200


def test_vitals_are_told_at_the_75th_percentile(analyse: Analyse) -> None:
    client, _ = analyse()
    values = [1000.0] * 60 + [3000.0] * 30 + [9000.0] * 10
    metrics = [
        {**LCP, "value": value, "page": "/a" if number % 2 else "/b", "device": "desktop"}
        for number, value in enumerate(values)
    ]
    client.post(METRICS, json={"metrics": metrics})
    document = client.get("/api/analytics/dashboard/performance?window=10m").json()
    lcp = next(vital for vital in document["vitals"] if vital["name"] == "LCP")
    assert lcp["p75"] == pytest.approx(3000.0, rel=0.02)
    assert (lcp["rating"], lcp["count"], lcp["enough"]) == ("needs-improvement", 100, True)
    assert lcp["shares"] == {"good": 0.6, "needs-improvement": 0.3, "poor": 0.1}
    assert lcp["thresholds"] == {"good": 2500, "poor": 4000}
    fcp = next(vital for vital in document["vitals"] if vital["name"] == "FCP")
    assert (fcp["p75"], fcp["rating"], fcp["count"]) == (None, None, 0)
    assert {(row["page"], row["count"]) for row in document["pages"]} == {("/a", 50), ("/b", 50)}
    assert document["devices"][0]["device"] == "desktop"
    assert sum(row["count"] for row in document["trend"]) == 100


def test_the_funnel_says_where_sessions_end(analyse: Analyse) -> None:
    client, _ = analyse()
    steps = []
    for number in range(20):
        for step in STEPS[: 9 if number < 5 else 4]:
            segment = "new" if number % 2 else "known"
            steps.append({"session_id": f"s{number}", "step": step, "segment": segment})
    for _ in range(2):  # a session counts once
        client.post(FUNNEL, json={"steps": steps})
    document = client.get(f"{READ_FUNNEL}?window=5m&by=segment").json()
    assert [step["sessions"] for step in document["steps"]] == [20] * 4 + [5] * 5
    assert (document["sessions"], document["completed"], document["completion"]) == (20, 5, 0.25)
    fifth = document["steps"][4]
    assert (fifth["step"], fifth["dropped"], fifth["drop_off"]) == ("parameters", 15, 0.75)
    assert {part["segment"]: part["completed"] for part in document["parts"]} == {
        "known": 3,
        "new": 2,
    }
    whole = client.get("/api/analytics/dashboard/performance").json()["funnel"]
    assert whole["completed"] == 5


def test_the_health_of_the_service_as_its_visitors_have_it(analyse: Analyse) -> None:
    client, metrics = analyse()
    now = time()
    for number in range(50):
        status = 500 if number < 5 else 200
        metrics.record(RequestSample(at_s=now, route="/api/optimize", status=status, total_ms=40.0))
    document = client.get("/api/analytics/system/health").json()
    assert (document["status"], document["requests"]) == ("ok", 50)
    assert document["error_rate"] == 0.1
    assert document["p95_ms"] == pytest.approx(40.0, rel=0.02)
    client.post(METRICS, json={"metrics": [{**LCP, "value": 9000}] * 30})
    document = client.get("/api/analytics/system/health").json()
    assert (document["status"], document["poor_vitals"]) == ("degraded", ["LCP"])
    metrics.listed = [
        {"name": "errors", "severity": "critical", "state": "active", "value": 1, "threshold": 0}
    ]
    assert client.get("/api/analytics/system/health").json()["status"] == "critical"


@pytest.mark.parametrize(
    "query",
    ["window=5", "window=0m", "window=99999d", "window=1h&window=2h", "weeks=1"],
)
def test_windows_that_cannot_be_read(client: CheckedClient, query: str) -> None:
    response = client.get(f"/api/analytics/dashboard/performance?{query}")
    assert response.status_code == 400


def test_an_empty_window_is_the_usual_one(client: CheckedClient) -> None:
    assert client.get("/api/analytics/dashboard/performance?window=").status_code == 200
    assert client.get(f"{READ_FUNNEL}?window=&rule=&by=").status_code == 200


@pytest.mark.parametrize("query", ["rule=loose", "by=user_id"])
def test_funnels_that_there_are_not(client: CheckedClient, query: str) -> None:
    assert client.get(f"{READ_FUNNEL}?{query}").status_code == 400


def test_without_metrics_there_is_nothing(serve: Callable[..., CheckedClient]) -> None:
    client = serve()
    assert client.post(METRICS, json=VALID[METRICS]).status_code == 404
    assert client.get(READ_FUNNEL).status_code == 404
