"""Who is told of alerts: the log, and a webhook signed by the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from time import time

import aiohttp
import orjson

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


def sign(message_id: str, timestamp: int, body: bytes, secret: str) -> str:
    """The `webhook-signature` of a message: `v1,` and HMAC-SHA256 in base64.

    Raises:
        ValueError: the secret is not `whsec_` and base64.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("the secret of a webhook is whsec_ and base64") from None
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class WebhookTeller:
    """Posts alerts, one after the other, in a task of its own. `tell` never waits."""

    def __init__(self, config: AlertConfig, pauses_s: Sequence[float] = _PAUSES_S) -> None:
        sign("check", 0, b"", config.webhook_secret)
        self._url = config.webhook_url
        self._secret = config.webhook_secret
        self._pauses_s = tuple(pauses_s)
        self._waiting: asyncio.Queue[Alert] = asyncio.Queue(_MOST_WAITING)
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        self.dropped = 0
        """Given up after the last attempt, refused for good, or come while too many waited."""

    def tell(self, alert: Alert) -> None:
        """Put it in the line; begins to work on it where an event loop runs."""
        try:
            self._waiting.put_nowait(alert)
        except asyncio.QueueFull:
            self.dropped += 1
            return
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def flush(self) -> None:
        """Until nobody waits any more."""
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Stop at once; what waits is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_S)
        while not self._waiting.empty():  # again, for what comes while the session is closed
            async with aiohttp.ClientSession(timeout=timeout) as session:
                while not self._waiting.empty():
                    alert = self._waiting.get_nowait()
                    if await self._deliver(session, alert):
                        self.delivered += 1
                    else:
                        self.dropped += 1
                        logger.warning("the webhook was not told of alert %s", alert.name)

    async def _deliver(self, session: aiohttp.ClientSession, alert: Alert) -> bool:
        what = "alert.active" if alert.resolved_s is None else "alert.resolved"
        # The same in every attempt, so that the receiver knows a message that comes twice.
        message_id = f"msg_{alert.id}_{what.partition('.')[2]}"
        happened = datetime.fromtimestamp(alert.resolved_s or alert.at_s, UTC).isoformat()
        body = orjson.dumps({"type": what, "timestamp": happened, "data": alert.describe()})
        for pause_s in (*self._pauses_s, None):
            again = await self._attempt(session, message_id, body)
            if not again:
                return again is None
            if pause_s is not None:
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
        return False

    async def _attempt(
        self, session: aiohttp.ClientSession, message_id: str, body: bytes
    ) -> bool | None:
        """None when it has arrived, else whether another attempt is worth it."""
        timestamp = int(time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(message_id, timestamp, body, self._secret),
        }
        try:
            async with session.post(
                self._url, data=body, headers=headers, allow_redirects=False
            ) as response:
                if response.ok:
                    return None
                # The scheme: 410 means that nobody wants them any more; 4xx can be passing.
                return response.status != 410
        except (aiohttp.ClientError, TimeoutError, OSError):
            return True
