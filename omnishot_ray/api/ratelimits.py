"""Rate limits: how often one caller may ask, counted here or in Redis by `limits`."""

from dataclasses import dataclass
from math import floor
from time import time

from cachetools import TTLCache
from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from omnishot_ray.cache.breaker import Breaker
from omnishot_ray.circuit import CLOSED

_PATIENCE_S = 0.25
_PAUSE_S = 1.0
_MOST_CALLERS = 32_768


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands after a request."""

    admitted: bool
    remaining: int
    """Requests that would still be let in."""
    wait_s: float
    """Until the window ends or, where nothing remains, until the next request is let in."""

    @property
    def wait_whole_s(self) -> int:
        """Whole seconds, never too few."""
        return floor(self.wait_s) + 1


class RateLimits:
    """At most `count` requests of a caller in any `window_s` seconds.

    A sliding window of two counters: what came in the window before counts by the share of it that
    still lies within the last `window_s` (the approximation of Cloudflare's "How we built rate
    limiting capable of scaling to millions of domains", 2017), so that a caller costs two numbers
    however high the limit is. Each process counts for itself, all of them together with Redis.
    """

    def __init__(self, count: int, window_s: int, redis_url: str = "") -> None:
        self._item = RateLimitItemPerSecond(count, window_s)
        self._storage = _connect(redis_url) if redis_url else _Memory(window_s)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._remote = bool(redis_url)
        self._breaker = Breaker("Redis of rate limits", fail_max=1, reset_timeout_s=_PAUSE_S)
        self.policy = f'"default";q={count};w={window_s}'
        """The `RateLimit-Policy` header (draft-ietf-httpapi-ratelimit-headers-10 §3)."""

    @property
    def count(self) -> int:
        """Requests in a window."""
        return self._item.amount

    @property
    def window_s(self) -> int:
        """Length of a window in seconds."""
        return self._item.get_expiry()

    async def take(self, caller: str) -> Standing | None:
        """Count a request of a caller; None when the storage does not answer.

        A limit is no reason to fail: after a fault the storage is left alone for a second, and
        nobody waits for it in the meantime.
        """
        if not self._remote:
            return await self._count(caller)
        return await self._breaker.run(lambda: self._count(caller), None, _PATIENCE_S)

    @property
    def unchecked(self) -> int:
        """Requests let in because the storage did not answer."""
        return self._breaker.errors + self._breaker.skipped

    def describe_services(self) -> dict[str, dict[str, object]]:
        """The Redis that counts, if there is one, as a part of the service's health."""
        if not self._remote:
            return {}
        state, is_closed = self._breaker.state, self._breaker.state == CLOSED
        return {
            "rate-limits": {
                "status": "ok" if is_closed else "down",
                "latency_ms": None,
                "circuit": state,
                "detail": "" if is_closed else f"not counted: {self.unchecked} requests so far",
            }
        }

    async def close(self) -> None:
        """Close the connections to the storage."""
        if isinstance(self._storage, RedisStorage):
            await self._storage.bridge.get_connection().aclose()  # type: ignore[attr-defined]

    async def _count(self, caller: str) -> Standing:
        admitted = await self._limiter.hit(self._item, caller)
        counters = await self._storage.get_sliding_window(self._item.key_for(caller), self.window_s)
        return stand(admitted, self.count, self.window_s, counters)


def stand(
    admitted: bool, count: int, window_s: int, counters: tuple[int, float, int, float]
) -> Standing:
    """What the counters mean: `(before, left of its weight in s, now, life of the counter in s)`.

    The counter of a window lives for two windows, and so ends one after the window does.
    """
    before, weighing_s, now, lives_s = counters
    ends_s = weighing_s if before else max(0.0, lives_s - window_s)
    used = before * weighing_s / window_s + now
    remaining = max(0, count - floor(used))
    if remaining and admitted:
        return Standing(admitted, remaining, ends_s)
    if now < count and before:
        # Within this window, when enough of the one before has lost its weight.
        return Standing(admitted, 0, max(0.0, weighing_s - (count - now) * window_s / before))
    # In the next window, when enough of this one has.
    return Standing(admitted, 0, ends_s + window_s * (1 - count / max(now, count)))


def _connect(url: str) -> RedisStorage:
    return RedisStorage(
        "async+" + url.replace("unix://", "redis+unix://", 1),
        implementation="redispy",
        key_prefix="omnishot-limits",
    )


class _Memory(MemoryStorage):
    """Counters that end by themselves, of so many callers and no more.

    The storage of `limits` starts a task at every hit that walks the counters of all callers.
    """

    def __init__(self, window_s: int) -> None:
        super().__init__()
        self._counts: TTLCache[tuple[str, int], int] = TTLCache(2 * _MOST_CALLERS, 2 * window_s)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        window, (before, weighing_s, now, _) = self._look(key, expiry)
        if floor(before * weighing_s / expiry) + now + amount > limit:
            return False
        self._counts[key, window] = now + amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        return self._look(key, expiry)[1]

    def _look(self, key: str, expiry: int) -> tuple[int, tuple[int, float, int, float]]:
        window, begun_s = divmod(time(), expiry)
        ends_s = expiry - begun_s
        before = self._counts.get((key, int(window) - 1), 0)
        now = self._counts.get((key, int(window)), 0)
        return int(window), (before, ends_s, now, ends_s + expiry)
