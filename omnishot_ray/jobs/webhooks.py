"""Tells others that work is done, by the Standard Webhooks scheme.

github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md: the body is signed with
its id and the time of the attempt, so that it can neither be forged nor sent once more later.
"""

import asyncio
import base64
import binascii
import math
import random
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson
from standardwebhooks.webhooks import Webhook

from omnishot_ray.errors import AddressRefused, OmnishotError
from omnishot_ray.storage.fetch import USER_AGENT, FetchConfig
from omnishot_ray.storage.guard import Guard
from omnishot_ray.storage.outbound import OpenSocket, Outbound, Resolver
from omnishot_ray.telemetry.context import REQUEST_ID

if TYPE_CHECKING:
    from yarl import URL

_SECRET_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)  # spec, "Signature scheme"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")  # no dot: it joins what is signed
_WORTH_A_RETRY = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """How callbacks are signed and how long they are tried."""

    secrets: tuple[str, ...] = field(default=(), repr=False)
    """`whsec_…` each, 24 to 64 bytes in base64. All of them sign, so that receivers can change
    from one to the next. None: no webhooks."""
    timeout_s: float = 10.0
    """For one attempt."""
    max_attempts: int = 6
    """Until a message is given up."""
    backoff_s: float = 2.0
    """The second attempt comes at most so much later, each further one at most twice as late."""
    max_delay_s: float = 600.0
    """The longest pause, also when a `Retry-After` asks for more."""
    max_at_once: int = 8
    """Attempts at a time in one process."""

    def __post_init__(self) -> None:
        for name in ("timeout_s", "backoff_s", "max_delay_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be more than 0 and finite")
        for name in ("max_attempts", "max_at_once"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        for place, secret in enumerate(self.secrets, 1):
            if not _is_secret(secret):
                raise ValueError(
                    f"secrets: number {place} has to be whsec_ and 24 to 64 bytes in base64"
                )


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    except binascii.Error:
        return False
    return text.startswith(_SECRET_PREFIX) and len(key) in _SECRET_BYTES


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one attempt went."""

    delivered: bool
    status: int | None
    """Of the answer; None without one."""
    detail: str
    """What was wrong, in a sentence; empty when delivered."""
    again_in_s: float | None
    """When another attempt is worth it; None: delivered, or never."""


class Webhooks:
    """Delivers messages through the guard of downloads; redirects are not followed.

    Only for one event loop.
    """

    def __init__(
        self,
        config: WebhookConfig,
        fetch: FetchConfig,
        resolver: Resolver | None = None,
        open_socket: OpenSocket = socket.socket,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`fetch` says which addresses may be asked. Nothing is opened before the first message."""
        self._config = config
        self._guard = Guard(fetch.ports, fetch.allow, fetch.deny)
        self._outbound = Outbound(self._guard, resolver, fetch.ca_file, open_socket)
        self._places = asyncio.Semaphore(config.max_at_once)
        self._signers = [Webhook(secret) for secret in config.secrets]
        self._sleep = sleep

    def check(self, url: str) -> None:
        """Say no when work is taken on: what the address alone shows to be wrong.

        Raises `InvalidParameters`, or `AddressRefused`, also when no secret is set.
        """
        if not self._signers:
            raise AddressRefused(
                "Nobody is called back here: no secret to sign with is set. Leave the address out."
            )
        self._guard.read(url)

    async def attempt(
        self,
        url: str,
        event_type: str,
        payload: Mapping[str, Any],
        message_id: str,
        attempt: int = 1,
        happened_at: float | None = None,
    ) -> Attempt:
        """One try, the `attempt`th, for those who keep the schedule in a store.

        The body is `{"type", "timestamp", "data"}`, the timestamp that of `happened_at` (seconds
        since the epoch, or now). `message_id` has to be the same in every attempt: receivers know
        a repeated message by it. What fails is told, not raised.

        Raises `ValueError` for an id that cannot be signed.
        """
        if not _ID.fullmatch(message_id):
            raise ValueError("a message id has letters, digits, _ and -, at most 128")
        body = _body(event_type, payload, time.time() if happened_at is None else happened_at)
        try:
            self.check(url)
            at = self._guard.read(url)
            async with self._places, asyncio.timeout(self._config.timeout_s):
                status, retry_after = await self._post(at, body, message_id)
        except TimeoutError:
            detail = f"No answer within {self._config.timeout_s:g} s."
            return Attempt(False, None, detail, self._pause_s(attempt))
        except ConnectionError:
            return Attempt(False, None, "No connection.", self._pause_s(attempt))
        except OmnishotError as refusal:
            return Attempt(False, None, refusal.detail, None)
        if 200 <= status < 300:
            return Attempt(True, status, "", None)
        again = status >= 500 or status in _WORTH_A_RETRY
        pause_s = self._pause_s(attempt, retry_after) if again else None
        return Attempt(False, status, f"Answered {status}; 2xx is wanted.", pause_s)

    async def deliver(
        self, url: str, event_type: str, payload: Mapping[str, Any], message_id: str
    ) -> Attempt:
        """Attempts until it is delivered, hopeless, or `max_attempts` are made: the last one."""
        happened_at = time.time()
        number = 1
        while True:
            made = await self.attempt(url, event_type, payload, message_id, number, happened_at)
            if made.again_in_s is None or number == self._config.max_attempts:
                return made
            await self._sleep(made.again_in_s)
            number += 1

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._outbound.close()

    async def _post(self, url: "URL", body: bytes, message_id: str) -> tuple[int, str]:
        """Status and `Retry-After` of the answer, whose body nobody reads.

        Raises:
            AddressRefused: the name leads to where nobody is asked.
            ConnectionError: there was no answer.
        """
        from aiohttp import ClientError  # noqa: PLC0415

        headers = {
            "User-Agent": USER_AGENT,
            "Content-Type": "application/json",
            **({"X-Request-Id": request_id} if (request_id := REQUEST_ID.get()) else {}),
            **self._signature(body, message_id),
        }
        try:
            async with await self._outbound.ask("POST", url, headers, body) as answer:
                answer.close()
                return answer.status, answer.headers.get("Retry-After", "")
        except (ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise ConnectionError from error

    def _signature(self, body: bytes, message_id: str) -> dict[str, str]:
        now = datetime.now(UTC)
        text = body.decode("utf-8")
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(
                signer.sign(message_id, now, text) for signer in self._signers
            ),
        }

    def _pause_s(self, attempt: int, retry_after: str = "") -> float:
        """Full jitter: anything up to the doubled pause ("Exponential Backoff And Jitter", AWS
        Architecture Blog, 2015); never before the receiver wants it.
        """
        highest = min(
            self._config.max_delay_s, self._config.backoff_s * 2.0 ** min(attempt - 1, 60)
        )
        pause_s = random.uniform(0.0, highest)
        if wanted_s := read_retry_after(retry_after, time.time()):
            pause_s += wanted_s
        return min(pause_s, self._config.max_delay_s)


def read_retry_after(text: str, now_s: float) -> float:
    """Seconds of a `Retry-After` (RFC 9110 §10.2.3), a number or a date; 0 when it is neither."""
    if text.strip().isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _body(event_type: str, payload: Mapping[str, Any], happened_at: float) -> bytes:
    timestamp = datetime.fromtimestamp(happened_at, UTC).isoformat(timespec="milliseconds")
    return orjson.dumps(
        {"type": event_type, "timestamp": timestamp.replace("+00:00", "Z"), "data": payload}
    )
