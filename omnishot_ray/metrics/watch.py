"""The hub's watch over its own tables: rules every few seconds, and who is told of changes."""

from typing import Any

from omnishot_ray.metrics.alerts import AlertBook, AlertConfig
from omnishot_ray.metrics.store import MetricStore
from omnishot_ray.metrics.telling import AlertWebhook, log_alert


class AlertWatch:
    """`Alerting` by the rules of a configuration."""

    def __init__(self, config: AlertConfig) -> None:
        self._every_s = config.every_s
        self._book = AlertBook(config)
        self._webhook = AlertWebhook(config) if config.webhook_url else None
        self._due_s = 0.0

    def evaluate(self, store: MetricStore, now_s: float) -> None:
        """Look at the tables where it is time to, and tell what has changed."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s
        for alert in self._book.evaluate(store.query, now_s):
            log_alert(alert)
            if self._webhook:
                self._webhook.tell(alert)

    def alerts(self) -> list[dict[str, Any]]:
        """As `Metrics.alerts`."""
        return self._book.listed()
