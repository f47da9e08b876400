"""Claims among nodes, by Redis: a lease that its leader renews and that ends soon after its death.

`SET NX PX` with a token, deleted only by who holds the token, as Redis documents it for a single
instance (redis.io, "Distributed Locks with Redis"). A lease that is lost in a fail-over means work
done twice, which costs time and nothing else.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis

from omnishot_ray.cache.breaker import Breaker
from omnishot_ray.cache.flight import Claim
from omnishot_ray.cache.tiers import check_key, check_prefix

_LEASE_MS = 3000
_RENEW_S = 1.0
_DONE_MS = 3000
"""How long a result waits for those in line. The tier keeps it for longer, this one when there is
an error or a partial result to hand over too."""
_FIRST_POLL_S, _LAST_POLL_S = 0.01, 0.05
_SCAN_COUNT = 1000
_FORGOTTEN = "omnishot:forgotten"
"""A stream of what was invalidated, for the memory of gateways on other nodes."""
_FORGOTTEN_MOST = 10_000
_LISTEN_S = 1.0
"""How often a gateway looks for what is new there."""

_LEAD_OR_READ = """
local done = redis.call('GET', KEYS[2])
if done then return done end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end
return 0
"""


class RedisClaims:
    """Where Redis cannot be reached, everybody leads."""

    def __init__(
        self, client: Redis, breaker: Breaker, timeout_s: float, max_entry_bytes: int
    ) -> None:
        self.client = client
        self.breaker = breaker
        self.timeout_s = timeout_s
        self.max_entry_bytes = max_entry_bytes
        self._news: deque[str] = deque()
        self._heard_to = ""
        self._listening: asyncio.Task[None] | None = None

    async def claim(self, key: str) -> Claim:
        """Lead, unless another process does or has just done it."""
        claim = _RedisClaim(self, check_key(key))
        await claim.ask()
        claim.found = claim.has_result
        return claim

    async def forget(self, prefix: str) -> None:
        """Take results away, whosoever they are, and tell the others."""
        await self.breaker.run(lambda: self._forget(check_prefix(prefix)), None, 60.0)

    async def close(self) -> None:
        """Listen no longer. The client belongs to who gave it."""
        if self._listening:
            self._listening.cancel()

    def news(self) -> Sequence[str]:
        """What gateways of any node have had forgotten, a second ago at most."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        if not self._news:
            return ()
        news = list(self._news)
        self._news.clear()
        return news

    async def _listen(self) -> None:
        while True:
            await self.breaker.run(self._hear, None, self.timeout_s)
            await asyncio.sleep(_LISTEN_S)

    async def _hear(self) -> None:
        if not self._heard_to:  # memory holds nothing from before
            newest: Any = await self.client.xrevrange(_FORGOTTEN, count=1)
            self._heard_to = newest[0][0].decode() if newest else "0"
            return
        told_since: Any = await self.client.xrange(_FORGOTTEN, min=f"({self._heard_to}")
        for number, told in told_since:
            self._heard_to = number.decode()
            self._news.append(told[b"prefix"].decode())

    async def _forget(self, prefix: str) -> None:
        pattern = "omnishot:done:{" + prefix + "*"
        async for name in self.client.scan_iter(match=pattern, count=_SCAN_COUNT):
            await self.client.unlink(name)
        await self.client.xadd(_FORGOTTEN, {"prefix": prefix}, maxlen=_FORGOTTEN_MOST)

    async def evaluate(self, script: str, *keys_and_values: str) -> int | bytes:
        """Run a script; whatever is wrong with Redis, the answer is that there is no line."""
        keys = sum(item.startswith("omnishot:") for item in keys_and_values)
        answer: int | bytes = await self.breaker.run(
            lambda: self.client.eval(script, keys, *keys_and_values),
            1,
            self.timeout_s,
            writes=True,
        )
        return answer


class _RedisClaim:
    def __init__(self, claims: RedisClaims, key: str) -> None:
        self._claims = claims
        # Braces: a cluster keeps both on one server.
        self._name = "omnishot:claim:{" + key + "}"
        self._done_name = "omnishot:done:{" + key + "}"
        self._token = uuid.uuid4().hex
        self._ready: bytes | None = None
        self._renewing: asyncio.Task[None] | None = None
        self.leads = self.found = False

    async def ask(self) -> None:
        """Become the leader, or find the result, or neither."""
        answer = await self._claims.evaluate(
            _LEAD_OR_READ, self._name, self._done_name, self._token, str(_LEASE_MS)
        )
        if isinstance(answer, bytes):
            self._ready = answer
        elif answer == 1:
            self.leads = True
            self._renewing = asyncio.create_task(self._renew())

    @property
    def has_result(self) -> bool:
        return self._ready is not None

    async def wait(self, deadline: float) -> bytes | None:
        pause_s = _FIRST_POLL_S
        while self._ready is None and not self.leads and time.monotonic() < deadline:
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.2, _LAST_POLL_S)
            await self.ask()
        return self._ready

    async def publish(self, data: bytes, brief: bool = False) -> None:  # noqa: ARG002
        if self.leads and len(data) <= self._claims.max_entry_bytes:
            client, name = self._claims.client, self._done_name
            await self._claims.breaker.run(
                lambda: client.set(name, data, px=_DONE_MS),
                None,
                self._claims.timeout_s,
                writes=True,
            )

    async def release(self) -> None:
        if self._renewing is None:
            return
        self._renewing.cancel()
        self._renewing = None
        await self._claims.evaluate(_RELEASE, self._name, self._token)

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            await self._claims.evaluate(_RENEW, self._name, self._token, str(_LEASE_MS))
