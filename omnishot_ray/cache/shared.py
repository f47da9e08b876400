"""The tier in Redis, for the gateways of all nodes."""

import time
from collections.abc import Callable

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from omnishot_ray.cache.tiers import ENVELOPE_BYTES, Entry, check_key, check_prefix, seal, unseal

KEY_PREFIX = "omnishot:result:"
_CONNECTIONS = 16
"""Of one gateway; who finds none free waits, and beyond its timeout goes without."""
_SCAN_COUNT = 1000


def connect(url: str, timeout_s: float) -> Redis:
    """A client of the Redis at `url`, which connects when it is first used."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=timeout_s,
        socket_timeout=timeout_s * 8,  # the caller's own, shorter limits come first
        socket_connect_timeout=timeout_s,
        # Once, at once: a connection may have been closed since, by a Redis that is there again.
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)


class RedisTier:
    """Keys are `omnishot:result:<key>`; Redis itself forgets them when their time is over."""

    name = "redis"

    def __init__(
        self, client: Redis, max_entry_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._max_bytes = max_entry_bytes
        self._clock = clock

    async def get(self, key: str) -> Entry | None:
        """One round trip, and never more than the largest entry, whatever somebody put there."""
        limit = self._max_bytes + ENVELOPE_BYTES
        try:
            sealed: bytes = await self._client.getrange(  # type: ignore[assignment]
                KEY_PREFIX + check_key(key), 0, limit
            )
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                return None
            raise
        return unseal(sealed, self._clock()) if len(sealed) <= limit else None

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep; Redis rounds the time to milliseconds."""
        if len(data) > self._max_bytes:
            return
        sealed = seal(data, self._clock(), ttl_s, age_s)
        await self._client.set(KEY_PREFIX + check_key(key), sealed, px=max(1, int(ttl_s * 1000)))

    async def delete(self, prefix: str) -> int:
        """By SCAN and UNLINK, which hold up nobody, however many there are."""
        pattern = KEY_PREFIX + check_prefix(prefix) + "*"
        deleted = 0
        cursor = 0
        while True:
            cursor, keys = await self._client.scan(cursor, match=pattern, count=_SCAN_COUNT)
            if keys:
                deleted += await self._client.unlink(*keys)
            if cursor == 0:
                return deleted

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose(close_connection_pool=True)
