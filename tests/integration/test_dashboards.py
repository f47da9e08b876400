"""Panels and rules over the running service, scraped by the real Prometheus."""

import itertools
import threading
import time

import pytest

from omnishot_ray.dashboards.boards import BOARDS, PEOPLE
from omnishot_ray.dashboards.files import rendered
from omnishot_ray.dashboards.rules import RULES
from tests.integration.service import Service, start_service, wait_for
from tests.integration.test_service import PHOTO, SMALL, post
from tests.prometheus_server import Prometheus


class Load:
    """Requests without an end: some made anew in the gateway and in the pool, some known, some bad.

    Rates look back on some seconds alone, so it goes on for as long as they are asked for.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stop = threading.Event()
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        for number in itertools.count(100):
            if self._stop.is_set():
                return
            size = 40 + number % 400
            for path, picture, expected in (
                (f"/api/optimize?width={size}", SMALL, 200),
                (f"/api/optimize?width={size}", SMALL, 200),
                (f"/api/optimize?width={size + 400}&gravity=center", PHOTO, 200),
                ("/api/optimize?width=0", SMALL, 400),
            ):
                answer, _ = post(self._service, path, picture)
                if answer.status != expected:
                    self.failures.append(f"{path}: {answer.status}")

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=60)


@pytest.mark.timeout(240)
def test_every_panel_and_every_rule_has_data_under_load() -> None:
    service = start_service(environment={"OMNISHOT_DISPATCH__INLINE_MS": "5"})
    rules = rendered()["prometheus/rules.yml"].replace("interval: 30s", "interval: 2s")
    load, prometheus = Load(service), None
    try:
        prometheus = Prometheus(f"127.0.0.1:{service.port}", rules)
        prometheus.wait_for_scrapes(4)
        # What comes of jobs and browsers is left out: there are none here.
        queries = {
            f"{board.name}: {panel.title}: {series.legend}": series.query
            for board in BOARDS
            if board is not PEOPLE
            for row in board.rows
            for panel in row.panels
            for series in panel.series
        }
        queries |= {rule.name: rule.value for rule in RULES if "_job" not in rule.value}

        def without() -> list[str]:
            return [name for name, query in queries.items() if not prometheus.value(query)]

        deadline = time.monotonic() + 90
        while (missing := without()) and time.monotonic() < deadline:
            queries = {name: queries[name] for name in missing}
        assert missing == []

        def health() -> set[str]:
            groups = prometheus.ask("/api/v1/rules")["groups"]
            return {rule["health"] for group in groups for rule in group["rules"]}

        wait_for(lambda: health() == {"ok"}, 30, "all rules evaluated")
        assert load.failures == []
    finally:
        load.stop()
        if prometheus is not None:
            prometheus.close()
        service.stop()
