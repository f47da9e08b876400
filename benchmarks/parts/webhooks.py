"""`webhooks.*`: how callbacks are tried, by the real schedule."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from statistics import mean
from time import perf_counter
from typing import Any

import orjson

from benchmarks.parts.case import Case, Figures, pace, pace_of
from benchmarks.parts.peers import NEAR, serving, slow
from omnishot_ray.jobs.webhooks import Attempt, WebhookConfig, Webhooks
from omnishot_ray.storage.fetch import FetchConfig

_SECRET, _NEXT = (f"whsec_{base64.b64encode(one * 32).decode()}" for one in (b"k", b"l"))
_PAYLOAD = {"id": "0123456789abcdef", "status": "completed", "variants": [{"name": "a"}] * 4}
_BODY = orjson.dumps(_PAYLOAD)
_ENDLESS_S = 3600.0


def _webhooks(
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep, **config: Any
) -> Webhooks:
    return Webhooks(
        WebhookConfig(**{"secrets": (_SECRET,), **config}), FetchConfig(**NEAR), sleep=sleep
    )


async def _tell(webhooks: Webhooks, url: str) -> Attempt:
    return await webhooks.attempt(url, "job.completed", _PAYLOAD, "message-1")


async def _signed(secrets: tuple[str, ...]) -> Figures:
    async with serving(slow(0.0, 204)) as peer:
        webhooks = _webhooks(secrets=secrets)
        told = await _tell(webhooks, peer.url)
        taken = await pace(lambda: _tell(webhooks, peer.url), 50)
        await webhooks.close()
    signed = pace_of(lambda: webhooks._signature(_BODY, "message-1"), 500)
    return {
        "delivered": told.delivered,
        "core-µs with what receives it": taken.core_us,
        "core-µs of the signatures": signed.core_us,
    }


async def _hanging(seconds: float) -> Figures:
    async with serving(slow(_ENDLESS_S)) as peer:
        webhooks = _webhooks(timeout_s=seconds)
        began = perf_counter()
        told = await _tell(webhooks, peer.url)
        took_s = perf_counter() - began
        await webhooks.close()
    assert told.status is None, told
    return {"s of an attempt": took_s}


async def _given_up(messages: int = 100, headers: Any = None, **config: Any) -> Figures:
    """The pauses are drawn as they are, and not waited for."""
    pauses: list[float] = []

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)

    spans = []
    async with serving(slow(0.0, 503, **(headers or {}))) as peer:
        webhooks = _webhooks(note, **config)
        for number in range(messages):
            await webhooks.deliver(peer.url, "job.completed", _PAYLOAD, f"message-{number}")
            spans.append(sum(pauses))
            pauses.clear()
        await webhooks.close()
        asked = peer.asked
    return {
        "attempts": asked / messages,
        "s until it is given up, on average": mean(spans),
        "s at most": max(spans),
    }


async def _at_once(most: int, messages: int = 80) -> Figures:
    async with serving(slow(0.1, 204)) as peer:
        webhooks = _webhooks(max_at_once=most)
        began = perf_counter()
        await asyncio.gather(*(_tell(webhooks, peer.url) for _ in range(messages)))
        took_s = perf_counter() - began
        await webhooks.close()
    return {"told a second": messages / took_s}


_FAILING = "100 messages to a server that answers 503"
CASES = (
    Case("webhooks.secrets", ((), (_SECRET,), (_SECRET, _NEXT)), "a message of 0.2 kB", _signed),
    Case("webhooks.timeout_s", (10.0, 1.0, 20.0), "a server that hangs", _hanging, True),
    Case("webhooks.max_attempts", (6, 1, 10), _FAILING,
         lambda most: _given_up(max_attempts=most)),
    Case("webhooks.backoff_s", (2.0, 0.5, 30.0), _FAILING, lambda s: _given_up(backoff_s=s)),
    Case("webhooks.max_delay_s", (600.0, 10.0, 3600.0), f"{_FAILING} and `Retry-After: 1800`",
         lambda s: _given_up(headers={"Retry-After": "1800"}, max_delay_s=s)),
    Case("webhooks.max_at_once", (8, 1, 32), "80 messages to a server that takes 100 ms",
         _at_once),
)  # fmt: skip
