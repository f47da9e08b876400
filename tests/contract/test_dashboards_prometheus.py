"""Every panel's query and every rule, run by the real Prometheus over all metrics there are."""

import threading
from collections.abc import Iterator
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.files import rendered
from omnishot_ray.dashboards.rules import RULES
from omnishot_ray.metrics.catalogue import CATALOGUE, Kind, Metric
from tests.integration.service import wait_for
from tests.prometheus_server import Prometheus, settled

pytestmark = pytest.mark.timeout(240)

LABELS = {"status": "200", "cache": "hit-memory", "route": "/api/optimize", "node": "n1"}
SERIES = [
    (board.name, panel.title, series.query)
    for board in BOARDS
    for row in board.rows
    for panel in row.panels
    for series in panel.series
]


class Exposition:
    """The catalogue as a target that grows with each scrape; failures of every kind happen."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._grow = [self._added(metric) for metric in CATALOGUE.values()]
        answer = make_wsgi_app(self._registry)

        class Quiet(WSGIRequestHandler):
            def log_message(self, *args: object) -> None:
                return

        def application(environ, start_response):
            for grow in self._grow:
                grow()
            return answer(environ, start_response)

        self._server = make_server("127.0.0.1", 0, application, handler_class=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.target = f"127.0.0.1:{self._server.server_port}"

    def _added(self, metric: Metric):
        kinds = {Kind.COUNTER: Counter, Kind.GAUGE: Gauge, Kind.HISTOGRAM: Histogram}
        more = {"buckets": metric.buckets} if metric.buckets else {}
        made = kinds[metric.kind](
            metric.name, metric.help, metric.labels, registry=self._registry, **more
        )
        values = [LABELS.get(label, f"a-{label}") for label in metric.labels]
        bare = made.labels(*values) if values else made
        one = {
            Kind.COUNTER: lambda: bare.inc(3),
            Kind.GAUGE: lambda: bare.set(0.5),
            Kind.HISTOGRAM: lambda: bare.observe(0.02),
        }
        return one[metric.kind]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=10)


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


def test_a_rule_fires_when_it_should() -> None:
    """The hub is said to be half up: the rule turns to pending at its first evaluation."""
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

        wait_for(lambda: "OmniShotHubDown" in firing(), 60, "the alarm")
        wait_for(lambda: "OmniShotMetricsLost" in firing(), 90, "the other alarm")
        assert not firing() & {"OmniShotMemory", "OmniShotQueue", "OmniShotErrors"}
    finally:
        running.close()
        exposition.close()
