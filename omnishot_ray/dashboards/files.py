"""The files of `dashboards/`, written by `omnishot dashboards render`."""

import json
from pathlib import Path

import yaml

from omnishot_ray.dashboards.boards import BOARDS
from omnishot_ray.dashboards.grafana import dashboard_document
from omnishot_ray.dashboards.rules import prometheus_rules

_NOTE = "# Written by `omnishot dashboards render`; edit omnishot_ray/dashboards/ instead.\n"

_SCRAPE = """\
# Prometheus for OmniShot Ray: prometheus --config.file=prometheus.yml
global:
  scrape_interval: 15s
  evaluation_interval: 15s

rule_files: [rules.yml]

scrape_configs:
  - job_name: omnishot
    metrics_path: /metrics
    # Where API keys are set:
    # authorization: { credentials_file: /etc/prometheus/omnishot-key }
    static_configs:
      - targets: ["127.0.0.1:8000"]

  # Ray's own metrics; Ray writes the addresses of its nodes into this file.
  - job_name: ray
    file_sd_configs:
      - files: [/tmp/ray/prom_metrics_service_discovery.json]
"""


def rendered() -> dict[str, str]:
    """The text of each file by its path below `dashboards/`."""
    files = {
        f"grafana/{board.name}.json": json.dumps(dashboard_document(board), indent=2) + "\n"
        for board in BOARDS
    }
    rules = yaml.safe_dump(prometheus_rules(), sort_keys=False, width=100)
    files["prometheus/rules.yml"] = _NOTE + rules
    files["prometheus/prometheus.yml"] = _NOTE + _SCRAPE
    return files


def write_files(folder: Path) -> list[Path]:
    """Write all of them; returns those whose text was not yet so."""
    stale = stale_files(folder)
    texts = rendered()
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[path.relative_to(folder).as_posix()])
    return stale


def stale_files(folder: Path) -> list[Path]:
    """Those that are missing or not as they would be written."""
    return [
        folder / name
        for name, text in rendered().items()
        if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode()
    ]
