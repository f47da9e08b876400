"""Keeps a store that is down from slowing every request: after some failures it is left alone.

pybreaker counts and decides. Its `calling()` is not used around awaits: a caller who goes away in
the middle would count as a failure of the store, or, with `CancelledError` excluded, as a success
that closes a half-open circuit (pybreaker 1.4, `CircuitBreakerState.generator_call`), and while it
is half-open everybody may call. So operations run outside, their outcomes are told to it, and one
caller at a time tries a half-open circuit.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pybreaker

from omnishot_ray.cache.tiers import Counts, Entry, Tier

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WRITE_PATIENCE = 8
"""Nobody waits for a write, so it may take that many times as long as a look."""
_DELETE_PATIENCE_S = 60.0
"""Deleting by prefix walks through the store."""


class Breaker:
    """The circuit around one store. Failures of the store never come through."""

    def __init__(
        self,
        name: str,
        fail_max: int = 5,
        reset_timeout_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._reset_timeout_s = reset_timeout_s
        self._clock = clock
        self._trying = False
        self._opened_at = 0.0
        self._circuit = pybreaker.CircuitBreaker(
            fail_max=fail_max,
            reset_timeout=reset_timeout_s,
            throw_new_error_on_trip=False,
            name=name,
        )
        self.errors = 0
        self.skipped = 0

    @property
    def state(self) -> str:
        """`closed` is well, `open` leaves the store alone, `half-open` tries it once."""
        return self._circuit.current_state

    async def run(self, operation: Callable[[], Awaitable[T]], otherwise: T, timeout_s: float) -> T:
        """The value of the operation, or `otherwise` when it fails, takes too long or is skipped.

        A failure of any kind is one of the store: no cache is worth a request.
        """
        if self.state == pybreaker.STATE_OPEN and self._rested():
            self._circuit.half_open()
        trial = self.state == pybreaker.STATE_HALF_OPEN
        if self.state == pybreaker.STATE_OPEN or (trial and self._trying):
            self.skipped += 1
            return otherwise
        self._trying = trial
        try:
            async with asyncio.timeout(timeout_s):
                value = await operation()
        except Exception as error:
            self._note(error)
            return otherwise
        else:
            self._note(None)
            return value
        finally:
            if trial:
                self._trying = False

    def _rested(self) -> bool:
        return self._clock() - self._opened_at >= self._reset_timeout_s

    def _note(self, error: Exception | None) -> None:
        self.errors += error is not None
        before = self.state
        if before == pybreaker.STATE_OPEN:
            return  # begun before it opened: old news
        try:
            self._circuit.call(_tell, error)
        except Exception as told:
            if told is not error:
                raise
        if self.state == before:
            return
        if self.state == pybreaker.STATE_OPEN:
            self._opened_at = self._clock()
            logger.warning(
                "%s is left alone for %g s: %r", self._name, self._reset_timeout_s, error
            )
        else:
            logger.warning("%s is used again", self._name)


def _tell(error: Exception | None) -> None:
    if error is not None:
        raise error


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
        await self.breaker.run(lambda: self._tier.put(key, data, ttl_s, age_s), None, patience_s)

    async def delete(self, prefix: str) -> int:
        """How many were forgotten; 0 too when the tier cannot be reached."""
        return await self.breaker.run(lambda: self._tier.delete(prefix), 0, _DELETE_PATIENCE_S)

    async def close(self) -> None:
        """Let go of connections and threads."""
        await self._tier.close()
