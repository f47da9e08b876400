"""Debian's Prometheus as a process of its own, asked by its HTTP API."""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from omnishot_ray.dashboards.queries import PANEL_WINDOW, RULE_WINDOW
from tests.integration.service import free_port, wait_for

_SCRAPE_S = 1
_WINDOW = "20s"
"""What panels and rules look back upon here, where nobody waits for minutes."""


def with_window(query: str) -> str:
    return query.replace(PANEL_WINDOW, _WINDOW).replace(f"[{RULE_WINDOW}]", f"[{_WINDOW}]")


class Prometheus:
    """Scrapes `target` (host:port) every second; `rules` is the text of a file of rules."""

    def __init__(self, target: str, rules: str | None = None) -> None:
        program = shutil.which("prometheus")
        assert program, "install Debian's prometheus (scripts/setup dev)"
        self._folder = tempfile.TemporaryDirectory(prefix="prometheus-")
        folder = Path(self._folder.name)
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": f"{_SCRAPE_S}s",
                "scrape_timeout": f"{_SCRAPE_S}s",
                "evaluation_interval": "1s",
            },
            "scrape_configs": [
                {"job_name": "omnishot", "static_configs": [{"targets": [target]}]},
            ],
        }
        if rules is not None:
            (folder / "rules.yml").write_text(rules)
            config["rule_files"] = ["rules.yml"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(self._is_ready, 40, "Prometheus' start")
        except BaseException:
            self.close()
            raise

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, Path(self._log.name).read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def value(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and values at this moment, without those that are no number."""
        result = self.ask("/api/v1/query", query=with_window(query))["result"]
        found = [(one["metric"], float(one["value"][1])) for one in result]
        return [(labels, number) for labels, number in found if number == number]

    def wait_for_scrapes(self, count: int) -> None:
        """Until the target has been scraped so often without a fault."""
        query = "count_over_time((up == 1)[10m:1s])"
        wait_for(lambda: any(n >= count for _, n in self.value(query)), 60, f"{count} scrapes")

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        self._folder.cleanup()


def settled(prometheus: Prometheus, query: str, deadline_s: float = 20) -> bool:
    """Whether a query comes to return data before the deadline."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        if prometheus.value(query):
            return True
        time.sleep(0.2)
    return False
