"""Every panel's query and every rule, run by the real Prometheus over all metrics there are."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml

from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.files import rendered
from omnishot_ray.dashboards.rules import RULES
from omnishot_ray.metrics.catalogue import CATALOGUE, Kind
from omnishot_ray.metrics.config import MetricsConfig
from omnishot_ray.metrics.hub import Hub
from omnishot_ray.metrics.samples import (
    BatchSample,
    EventSample,
    FunnelSample,
    GaugeSample,
    JobSample,
    RequestSample,
    ResourceSample,
    Sample,
    VitalSample,
)
from omnishot_ray.metrics.streams import columns
from tests.integration.service import wait_for
from tests.prometheus_server import Prometheus, settled

pytestmark = pytest.mark.timeout(240)

SERIES = [
    (board.name, panel.title, series.query)
    for board in BOARDS
    for row in board.rows
    for panel in row.panels
    for series in panel.series
]


class Exposition:
    """A hub as the target; with each scrape samples of every kind come in, also bad ones."""

    def __init__(self) -> None:
        hub = Hub(MetricsConfig())
        hub.write_failures = 1

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                for sample in samples_of_every_kind():
                    rows = columns(sample.table, [sample] * 3, "gateway-1a2b")
                    hub.take(sample.table, rows)
                hub.ingest({"requests": b"not a stream"})
                content, content_type = hub.exposition(self.headers.get("Accept", ""))
                self.send_response(200)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                return

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.target = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


def samples_of_every_kind() -> list[Sample]:
    """Values that the panels have to come to: 20 ms a request, half of the memory in use."""
    at_s = time.time()
    made = {"source_format": "jpeg", "format": "webp", "lane": "loop", "renditions": 1}
    took = {"total_ms": 20.0, "queue_ms": 1.0, "decode_ms": 5.0, "transform_ms": 3.0}
    sizes = {"pixels": 10_000, "bytes_in": 5000, "bytes_out": 2000, "bytes_saved": 3000}
    return [
        RequestSample(
            at_s=at_s,
            route="/api/optimize",
            status=200,
            cache="hit-memory",
            encode_ms=8.0,
            **made,
            **took,
            **sizes,
        ),
        ResourceSample(
            at_s=at_s,
            kind="gateway",
            node="n1",
            pid=1,
            cpu=0.5,
            rss_bytes=10**8,
            heap_bytes=10**7,
            threads=9,
            open_files=20,
            loop_lag_ms=2.0,
            shm_used_share=0.5,
            disk_used_share=0.5,
            memory_used_share=0.5,
        ),
        GaugeSample(
            at_s=at_s, waiting=2, waiting_ms=40.0, active=1, cache_bytes=9, dropped_samples=1
        ),
        BatchSample(at_s=at_s, tasks=2, took_ms=30.0),
        JobSample(at_s=at_s, job_id="j", status="completed", queued_ms=10.0, run_ms=200.0),
        VitalSample(at_s=at_s, name="LCP", value=1200.0, rating="good"),
        EventSample(at_s=at_s, type="click"),
        FunnelSample(at_s=at_s, step="upload", session_id="s"),
    ]


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    exposition = Exposition()
    running = Prometheus(exposition.target, rendered()["prometheus/rules.yml"])
    try:
        running.wait_for_scrapes(3)
        yield running
    finally:
        running.close()
        exposition.close()


def test_every_panel_has_data(prometheus: Prometheus) -> None:
    without = [entry for entry in SERIES if not settled(prometheus, entry[2])]
    assert without == []


def test_values_are_those_of_the_target(prometheus: Prometheus) -> None:
    """Not only some data: a share is a share, a percentile lies in its bucket."""
    by_title = {title: query for _, title, query in SERIES}
    ((_, hits),) = prometheus.value(by_title["From a cache"])
    assert hits == pytest.approx(1.0)
    ((_, failed),) = prometheus.value(by_title["Failed"])
    assert failed == 0.0
    ((_, p95),) = prometheus.value(by_title["95 % take less than"])
    assert 0.01 < p95 <= 0.025
    ((labels, used),) = prometheus.value(by_title["Memory in use"])
    assert (labels, used) == ({"node": "n1"}, 0.5)


def test_every_rule_has_a_value(prometheus: Prometheus) -> None:
    assert [rule.name for rule in RULES if not settled(prometheus, rule.value)] == []


def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    def states() -> dict[str, str]:
        groups = prometheus.ask("/api/v1/rules")["groups"]
        return {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}

    wait_for(lambda: set(states().values()) == {"ok"}, 60, "all rules evaluated")
    assert set(states()) == {rule.name for rule in RULES}


def test_every_metric_of_the_catalogue_is_scraped(prometheus: Prometheus) -> None:
    """Those that count what has not happened in this test excepted."""
    behind = {Kind.HISTOGRAM: "_count", Kind.COUNTER: "", Kind.GAUGE: ""}
    missing = {
        name
        for name, metric in CATALOGUE.items()
        if not prometheus.value(f"{name}{behind[metric.kind]}")
    }
    assert missing == {
        "omnishot_errors_total",
        "omnishot_alerts_active",
        "omnishot_hub_overflows_total",
    }


def test_a_rule_fires_when_the_service_is_gone() -> None:
    alarm = "OmniShotHubDown"
    rules = yaml.safe_load(rendered()["prometheus/rules.yml"])
    rules["groups"][0]["interval"] = "1s"
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "0s"
    exposition = Exposition()
    running = Prometheus(exposition.target, yaml.safe_dump(rules))
    try:

        def firing() -> set[str]:
            alerts = running.ask("/api/v1/alerts")["alerts"]
            return {alert["labels"]["alertname"] for alert in alerts}

        running.wait_for_scrapes(2)
        unwanted = {alarm, "OmniShotMemory", "OmniShotQueue", "OmniShotErrors"}
        # A rule may have been evaluated before the first scrape.
        wait_for(lambda: not firing() & unwanted, 30, "calm")
        exposition.close()
        wait_for(lambda: alarm in firing(), 60, "the alarm")
    finally:
        running.close()
        exposition.close()
