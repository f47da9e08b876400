"""Who is told of alerts: the log, and a webhook signed by the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import http.client
import logging
import queue
import random
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from standardwebhooks.webhooks import Webhook

from omnishot_ray.metrics.alerts import Alert, AlertConfig

logger = logging.getLogger(__name__)

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}
_MOST_WAITING = 256
_PATIENCE_S = 10.0
_PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Between attempts, each with half of it more or less at random: twelve minutes in all."""


def log_alert(alert: Alert) -> None:
    """One line when it begins, one when it is over."""
    if alert.resolved_s is None:
        logger.log(
            _LEVELS[alert.severity],
            "alert %s (%s): %s is %g, threshold %g",
            alert.name, alert.severity, alert.metric, alert.value, alert.threshold,
        )  # fmt: skip
    else:
        lasted_s = alert.resolved_s - alert.began_s
        logger.info("alert %s is over (%s) after %.0f s", alert.name, alert.reason, lasted_s)


class AlertWebhook:
    """Posts alerts, one after the other, on a thread of its own. `tell` never waits."""

    def __init__(self, config: AlertConfig, pauses_s: Sequence[float] = _PAUSES_S) -> None:
        self._signer = Webhook(config.webhook_secret)
        self._url = config.webhook_url
        self._pauses_s = tuple(pauses_s)
        self._waiting: queue.Queue[Alert] = queue.Queue(_MOST_WAITING)
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._thread: threading.Thread | None = None
        self.delivered = 0
        self.dropped = 0
        """Given up after the last attempt, refused for good, or come while too many waited."""

    def tell(self, alert: Alert) -> None:
        """Put it in the line."""
        try:
            self._waiting.put_nowait(alert)
        except queue.Full:
            self.dropped += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until all have been told or given up."""
        self._waiting.join()

    def _work(self) -> None:
        while True:
            alert = self._waiting.get()
            if self._deliver(alert):
                self.delivered += 1
            else:
                self.dropped += 1
                logger.warning("the webhook was not told of alert %s", alert.name)
            self._waiting.task_done()

    def _deliver(self, alert: Alert) -> bool:
        what = "alert.active" if alert.resolved_s is None else "alert.resolved"
        # The same in every attempt, so that the receiver knows a message that comes twice.
        message_id = f"msg_{alert.id}_{what.partition('.')[2]}"
        happened = datetime.fromtimestamp(alert.resolved_s or alert.at_s, UTC).isoformat()
        body = orjson.dumps({"type": what, "timestamp": happened, "data": alert.describe()})
        pausing = threading.Event()
        for pause_s in (*self._pauses_s, None):
            status = self._attempt(message_id, body)
            if 200 <= status < 300:
                return True
            # The scheme: 410 means that nobody wants them any more; other refusals can pass.
            if status == http.HTTPStatus.GONE or pause_s is None:
                return False
            pausing.wait(pause_s * random.uniform(0.5, 1.5))
        return False

    def _attempt(self, message_id: str, body: bytes) -> int:
        """The status of the answer; 0 without one."""
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message_id, now, body.decode()),
        }
        request = urllib.request.Request(self._url, body, headers)
        try:
            with self._opener.open(request, timeout=_PATIENCE_S) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except (OSError, http.client.HTTPException):
            return 0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the message to whom it was not signed for."""

    def redirect_request(self, *_: Any) -> None:
        return None
