"""Keeps a store that is down from slowing every request: after some failures it is left alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from omnishot_ray.cache.tiers import Counts, Entry, Tier
from omnishot_ray.circuit import CLOSED, Circuit

T = TypeVar("T")

_WRITE_PATIENCE = 8
"""Nobody waits for a write, so it may take that many times as long as a look."""
_DELETE_PATIENCE_S = 60.0
"""Deleting by prefix walks through the store."""


class Breaker:
    """The circuits around one store. Failures of the store never come through.

    Writing has a circuit of its own: a full disk answers every look, and each answer would make
    good for the writes that failed.
    """

    def __init__(
        self,
        name: str,
        fail_max: int = 5,
        reset_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._looking = Circuit(name, fail_max, reset_timeout_s, clock)
        self._writing = Circuit(f"writing to {name}", fail_max, reset_timeout_s, clock)
        self.errors = 0
        self.skipped = 0

    @property
    def state(self) -> str:
        """`closed` is well, `open` leaves the store alone, `half-open` tries it once.

        Of the circuit for looking where that is not closed, else of the one for writing.
        """
        return self._looking.state if self._looking.state != CLOSED else self._writing.state

    async def run(
        self,
        operation: Callable[[], Awaitable[T]],
        otherwise: T,
        timeout_s: float,
        *,
        writes: bool = False,
    ) -> T:
        """The value of the operation, or `otherwise` when it fails, takes too long or is skipped.

        A failure of any kind is one of the store: no cache is worth a request. What `writes` is
        also skipped where looking is: a store that cannot be read is not written to.
        """
        circuit = self._writing if writes else self._looking
        with circuit.turn() as may:
            if not may or (writes and self._looking.state != CLOSED):
                self.skipped += 1
                return otherwise
            try:
                async with asyncio.timeout(timeout_s):
                    value = await operation()
            except Exception as error:
                self.errors += 1
                circuit.note(error)
                return otherwise
            circuit.note(None)
            return value


class GuardedTier:
    """A tier behind its breaker: what fails is a miss."""

    def __init__(self, tier: Tier, breaker: Breaker, timeout_s: float) -> None:
        self._tier = tier
        self._timeout_s = timeout_s
        self.breaker = breaker
        self.name = tier.name
        self.counts = Counts()

    async def get(self, key: str) -> Entry | None:
        """What the tier holds, as far as it can be reached within `timeout_s`."""
        return await self.breaker.run(lambda: self._tier.get(key), None, self._timeout_s)

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        """Keep, if that is possible."""
        patience_s = self._timeout_s * _WRITE_PATIENCE
        await self.breaker.run(
            lambda: self._tier.put(key, data, ttl_s, age_s), None, patience_s, writes=True
        )

    async def delete(self, prefix: str) -> int | None:
        """How many were forgotten; None when the tier cannot be reached."""
        return await self.breaker.run(lambda: self._tier.delete(prefix), None, _DELETE_PATIENCE_S)

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._tier.close()
