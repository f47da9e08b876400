"""Alerts: rules looked at every few seconds, told when something begins and when it is over.

    quiet ──breached──▶ pending ──for `for_s`──▶ active ──at `clear`──▶ resolved, quiet
                           └────no longer────▶ quiet      └─no data─▶ resolved

`advance` is one step of that, without a clock or a store. An alert is told once when it becomes
active and once when it is resolved, however often it is looked at in between.
"""

import logging
import re
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from omnishot_ray.errors import OmnishotError
from omnishot_ray.metrics.query import Query
from omnishot_ray.metrics.rules import SEVERITIES, AlertRule, parse_rule

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)

DEFAULT_RULES = (
    "memory warning max resources.memory_used_share > 0.8 over 1m for 30s clear 0.75",
    "response-over-1s info p95 requests.total_ms > 1000 over 5m for 1m clear 900 least 20",
    "response-slow warning p95 requests.total_ms > 3000 over 5m for 1m clear 2700 least 20",
    "response-very-slow critical p95 requests.total_ms > 5000 over 5m for 30s clear 4500 least 20",
    "errors critical share requests status=5xx > 0.05 over 5m for 30s clear 0.04 least 20",
    "queue warning max gauges.waiting > 20 over 30s for 10s clear 15",
    "queue-long critical max gauges.waiting > 100 over 30s for 10s clear 80",
    "cache-hits warning share requests cache=hit-memory|hit-shared|hit-storage|joined "
    "of cache=hit-memory|hit-shared|hit-storage|joined|miss < 0.6 "
    "over 15m for 5m clear 0.65 least 200",
)

BROWSER_PREFIX = "alert:"
"""Events of this type, `alert:<severity>:<name>`, are alerts that front ends have posted."""


_SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{32,86}={0,2}")


@dataclass(frozen=True, slots=True)
class AlertConfig:
    """What is watched, and who is told."""

    rules: tuple[str, ...] = DEFAULT_RULES
    """One line each, as in docs/analytics.md; they replace those given by default."""
    every_s: float = 5.0
    """How often the rules are looked at."""
    silent_s: float = 900.0
    """An active alert without data to judge by is resolved after this time."""
    browser_s: float = 300.0
    """An alert that a front end posted ends when it has not been posted again for so long."""
    history: int = 200
    """Resolved alerts that are kept."""
    webhook_url: str = ""
    """Told of every alert that begins or ends; empty: nobody."""
    webhook_secret: str = field(default="", repr=False)
    """`whsec_…`, the key of the signatures (standardwebhooks.com); 24 to 64 bytes in base64."""

    def __post_init__(self) -> None:
        for name in ("every_s", "silent_s", "browser_s", "history"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        names = [parse_rule(text).name for text in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("rules: each alert rule has to have a name of its own")
        if self.webhook_url and not self.webhook_url.startswith(("http://", "https://")):
            raise ValueError("webhook_url has to begin with http:// or https://")
        if self.webhook_url and not self.webhook_secret:
            raise ValueError("webhook_secret has to be set where webhook_url is")
        if self.webhook_secret and not _SECRET.fullmatch(self.webhook_secret):
            raise ValueError("webhook_secret has to be whsec_ and 24 to 64 bytes in base64")


@dataclass(frozen=True, slots=True)
class Alert:
    """One stretch of time in which something was wrong."""

    id: str
    name: str
    severity: str
    metric: str
    threshold: float
    value: float
    """When last looked at."""
    worst: float
    began_s: float
    """When it was breached first; `at_s` is when it was told."""
    at_s: float
    resolved_s: float | None = None
    reason: str = ""
    """Why it is over: `clear`, `no data`, `quiet`."""

    def describe(self) -> dict[str, Any]:
        """As in `GET /api/alerts`; times are Unix seconds."""
        return {
            "id": self.id,
            "name": self.name,
            "severity": self.severity,
            "state": "active" if self.resolved_s is None else "resolved",
            "metric": self.metric,
            "threshold": self.threshold,
            "value": self.value,
            "worst": self.worst,
            "began_at": self.began_s,
            "active_at": self.at_s,
            "resolved_at": self.resolved_s,
            "reason": self.reason,
            "source": "browser" if self.name.startswith(BROWSER_PREFIX) else "service",
        }


@dataclass(frozen=True, slots=True)
class State:
    """Of one rule: quiet, pending since `breached_s`, or with an active `alert`."""

    breached_s: float | None = None
    alert: Alert | None = None
    judged_s: float = 0.0
    """When there was a value last."""


def advance(
    state: State, rule: AlertRule, value: float | None, now: float, silent_s: float
) -> tuple[State, Alert | None]:
    """The next state, and the alert that has just begun or ended."""
    alert = state.alert
    if value is None:
        if alert is None:
            return State(), None
        if now - state.judged_s < silent_s:
            return state, None
        return State(), replace(alert, resolved_s=now, reason="no data")
    if alert is not None:
        beyond = max if rule.above else min
        alert = replace(alert, value=value, worst=beyond(alert.worst, value))
        if rule.is_clear(value):
            return State(), replace(alert, resolved_s=now, reason="clear")
        return State(state.breached_s, alert, now), None
    if not rule.is_breached(value):
        return State(), None
    since = now if state.breached_s is None else state.breached_s
    if now - since < rule.for_s:
        return State(since, None, now), None
    begun = Alert(
        secrets.token_hex(8), rule.name, rule.severity, rule.metric, rule.threshold,
        value, value, since, now,
    )  # fmt: skip
    return State(since, begun, now), begun


class AlertBook:
    """All rules with their states, what front ends complain of, and what is over."""

    def __init__(self, config: AlertConfig) -> None:
        self._config = config
        self._rules = tuple(parse_rule(text) for text in config.rules)
        self._states = {rule.name: State() for rule in self._rules}
        self._browser: dict[str, Alert] = {}
        self._over: deque[Alert] = deque(maxlen=config.history)

    def evaluate(self, ask: Callable[[Query], "pa.Table"], now: float) -> list[Alert]:
        """Look at everything; the alerts that have begun or ended since the last time.

        `ask` answers queries as `Metrics.query` does. A question that fails says nothing of its
        rule, and keeps the others from nothing.
        """
        told = []
        for rule in self._rules:
            value = _or_nothing(rule, ask, now)
            state, changed = advance(
                self._states[rule.name], rule, value, now, self._config.silent_s
            )
            self._states[rule.name] = state
            if changed:
                told.append(changed)
        told += self._hear_browsers(ask, now)
        self._over.extend(alert for alert in told if alert.resolved_s is not None)
        return told

    def listed(self) -> list[dict[str, Any]]:
        """As `Metrics.alerts` gives them: the active ones, then those that are over."""
        active = [state.alert for state in self._states.values() if state.alert is not None]
        active += self._browser.values()
        active.sort(key=lambda alert: (-SEVERITIES.index(alert.severity), -alert.at_s))
        return [alert.describe() for alert in (*active, *reversed(self._over))]

    def _hear_browsers(self, ask: Callable[[Query], "pa.Table"], now: float) -> list[Alert]:
        try:
            found = ask(
                Query("events", self._config.browser_s, group_by=("type",), until_s=now)
            ).to_pylist()
        except OmnishotError as error:
            logger.warning("alerts of front ends cannot be counted: %s", error)
            return []
        counts = {
            row["type"]: row["count"] for row in found if row["type"].startswith(BROWSER_PREFIX)
        }
        told = []
        for kind, count in counts.items():
            known = self._browser.get(kind)
            if known:
                self._browser[kind] = replace(known, value=count, worst=max(known.worst, count))
                continue
            severity, _, name = kind.removeprefix(BROWSER_PREFIX).partition(":")
            if severity in SEVERITIES and name:
                begun = Alert(
                    secrets.token_hex(8), BROWSER_PREFIX + name, severity, "posted by browsers",
                    0.0, float(count), float(count), now, now,
                )  # fmt: skip
                self._browser[kind] = begun
                told.append(begun)
        silent = [kind for kind in self._browser if kind not in counts]
        told += [
            replace(self._browser.pop(kind), resolved_s=now, reason="quiet") for kind in silent
        ]
        return told


def _or_nothing(rule: AlertRule, ask: Callable[[Query], "pa.Table"], now: float) -> float | None:
    try:
        return rule.measure(ask, now)
    except OmnishotError as error:
        logger.warning("the alert rule %s cannot be measured: %s", rule.name, error)
        return None
