"""The alert rules, said once for Prometheus and for Grafana.

Thresholds are those that `docs/observability.md` gives reasons for.
"""

from dataclasses import dataclass
from typing import Any

from omnishot_ray.dashboards.queries import RULE_WINDOW, level, quantile, rate, share

GROUP = "omnishot"
INTERVAL_S = 30


@dataclass(frozen=True, slots=True)
class Rule:
    """Fires when `value` has been above (or below) `threshold` for `for_s` seconds."""

    name: str
    value: str
    threshold: float
    severity: str
    """`info`, `warning` or `critical`."""
    summary: str
    for_s: int = 60
    below: bool = False

    @property
    def expr(self) -> str:
        """The whole condition as PromQL."""
        return f"({self.value}) {'<' if self.below else '>'} {self.threshold:g}"


def _rate(name: str, **where: str) -> str:
    return rate(name, where=where, window=RULE_WINDOW)


_P95 = quantile(0.95, "omnishot_request_duration_seconds", window=RULE_WINDOW)
_ANSWERS = "omnishot_cache_answers_total"

RULES = (
    Rule(
        "OmniShotHubDown",
        f"{level('omnishot_hub_up', how='min')} or vector(0)",
        1.0,
        "critical",
        "The service or its metrics hub does not answer; nothing else is known.",
        below=True,
    ),
    Rule(
        "OmniShotErrors",
        share(
            _rate("omnishot_requests_total", status='=~"5.."'),
            _rate("omnishot_requests_total"),
        ),
        0.05,
        "critical",
        "More than 5 % of the requests fail on our side.",
    ),
    Rule("OmniShotSlow", _P95, 1.0, "info", "One request in twenty takes longer than 1 s.", 300),
    Rule("OmniShotSlower", _P95, 3.0, "warning", "One request in twenty takes longer than 3 s."),
    Rule("OmniShotSlowest", _P95, 5.0, "critical", "One request in twenty takes longer than 5 s."),
    Rule(
        "OmniShotQueue",
        level("omnishot_queue_waiting"),
        20.0,
        "warning",
        "More than 20 tasks wait: more replicas are wanted.",
    ),
    Rule(
        "OmniShotQueueFull",
        level("omnishot_queue_waiting"),
        100.0,
        "critical",
        "More than 100 tasks wait: requests are about to be turned away.",
    ),
    Rule(
        "OmniShotCacheMisses",
        share(_rate(_ANSWERS, cache='!~"miss|"'), _rate(_ANSWERS, cache='!=""')),
        0.6,
        "info",
        "Less than 60 % of the results come from a cache.",
        900,
        below=True,
    ),
    Rule(
        "OmniShotMemory",
        level("omnishot_memory_used_ratio", "node", how="max"),
        0.8,
        "warning",
        "More than 80 % of the memory of {{ $labels.node }} is in use.",
        300,
    ),
    Rule(
        "OmniShotDisk",
        level("omnishot_disk_used_ratio", "node", how="max"),
        0.9,
        "warning",
        "More than 90 % of the disk of {{ $labels.node }} is in use.",
        300,
    ),
    Rule(
        "OmniShotLoopLate",
        level("omnishot_process_loop_lag_seconds", "process", how="max"),
        1.0,
        "warning",
        "The event loop of {{ $labels.process }} is late: something blocks it.",
    ),
    Rule(
        "OmniShotJobsFail",
        share(
            _rate("omnishot_jobs_total", status='=~"failed|dead"'),
            _rate("omnishot_jobs_total"),
        ),
        0.05,
        "warning",
        "More than 5 % of the jobs fail.",
        300,
    ),
    Rule(
        "OmniShotMetricsLost",
        f"{_rate('omnishot_samples_dropped_total')} or vector(0)",
        0.0,
        "info",
        "Samples are dropped: what is shown is less than what is.",
        300,
    ),
    Rule(
        "OmniShotMetricsNotWritten",
        f"{_rate('omnishot_hub_write_failures_total')} or vector(0)",
        0.0,
        "warning",
        "Samples cannot be written to storage.",
        300,
    ),
)


def prometheus_rules() -> dict[str, Any]:
    """As Prometheus reads them.

    https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/
    """
    return {
        "groups": [
            {
                "name": GROUP,
                "interval": f"{INTERVAL_S}s",
                "rules": [
                    {
                        "alert": rule.name,
                        "expr": rule.expr,
                        "for": f"{rule.for_s}s",
                        "labels": {"severity": rule.severity},
                        "annotations": {"summary": rule.summary},
                    }
                    for rule in RULES
                ],
            }
        ]
    }
