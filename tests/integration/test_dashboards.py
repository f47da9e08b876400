"""Panels and rules over the running service, scraped by the real Prometheus."""

import urllib.request

import pytest

from omnishot_ray.dashboards.boards import BOARDS, PEOPLE
from omnishot_ray.dashboards.files import rendered
from omnishot_ray.dashboards.rules import RULES
from tests.integration.service import start_service, wait_for
from tests.integration.test_service import PHOTO, SMALL, post
from tests.prometheus_server import Prometheus, settled


@pytest.mark.timeout(300)
def test_every_panel_and_every_rule_has_data_after_a_short_load() -> None:
    service = start_service(environment={"OMNISHOT_DISPATCH__INLINE_MS": "20"})
    prometheus = None
    try:
        prometheus = Prometheus(f"127.0.0.1:{service.port}", rendered()["prometheus/rules.yml"])
        first = _scrape(service.url)
        for width in (100, 100, 120, 140, 0):  # one from the cache, one refused
            post(service, f"/api/optimize?width={width}", SMALL)
        post(service, "/api/variants?group=marketplace", PHOTO)
        wait_for(lambda: _scrape(service.url) != first, 30, "another scrape")
        prometheus.wait_for_scrapes(4)
        without = [
            (board.name, panel.title)
            for board in BOARDS
            if board is not PEOPLE  # what comes of jobs and browsers, of which there are none here
            for row in board.rows
            for panel in row.panels
            for series in panel.series
            if not _has_data_under_load(prometheus, service, series.query)
        ]
        assert without == []
        jobless = [rule for rule in RULES if "_job" not in rule.value]
        assert [rule.name for rule in jobless if not settled(prometheus, rule.value)] == []
        states = {
            rule["name"]: rule["health"]
            for group in prometheus.ask("/api/v1/rules")["groups"]
            for rule in group["rules"]
        }
        assert set(states) == {rule.name for rule in RULES}
        assert "err" not in states.values()
    finally:
        if prometheus is not None:
            prometheus.close()
        service.stop()


def _has_data_under_load(prometheus: Prometheus, service, query: str) -> bool:
    """Rates look back on some seconds alone, so the load goes on while they are asked for."""
    for _ in range(20):
        if prometheus.value(query):
            return True
        post(service, "/api/optimize?width=100", SMALL)
        post(service, "/api/variants?group=marketplace", PHOTO)
    return settled(prometheus, query)


def _scrape(url: str) -> bytes:
    with urllib.request.urlopen(f"{url}/metrics", timeout=20) as answer:
        content: bytes = answer.read()
        return content
