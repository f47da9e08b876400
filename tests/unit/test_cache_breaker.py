"""The circuit around a store."""

import asyncio

import pytest

from omnishot_ray.cache.breaker import Breaker, GuardedTier
from omnishot_ray.cache.tiers import Entry
from tests.cached import Clock, key, settled

pytestmark = pytest.mark.anyio


async def fail() -> str:
    raise ConnectionError("down")


async def succeed() -> str:
    return "value"


async def opened(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        assert await breaker.run(fail, "otherwise", 1) == "otherwise"


async def test_opens_skips_tries_and_closes() -> None:
    clock = Clock()
    breaker = Breaker("store", fail_max=3, reset_timeout_s=5, clock=clock)
    await opened(breaker, 2)
    assert breaker.state == "closed"
    await opened(breaker, 1)
    assert breaker.state == "open"
    assert await breaker.run(succeed, "otherwise", 1) == "otherwise"
    assert (breaker.errors, breaker.skipped) == (3, 1)

    clock.now += 5
    assert await breaker.run(succeed, "otherwise", 1) == "value"
    assert breaker.state == "closed"


async def test_failed_trial_opens_again() -> None:
    clock = Clock()
    breaker = Breaker("store", fail_max=3, reset_timeout_s=5, clock=clock)
    await opened(breaker)
    clock.now += 5
    await breaker.run(fail, "otherwise", 1)
    assert breaker.state == "open"
    clock.now += 4
    assert await breaker.run(succeed, "otherwise", 1) == "otherwise"


async def test_failures_in_between_successes_do_not_open() -> None:
    breaker = Breaker("store", fail_max=3)
    for _ in range(5):
        await opened(breaker, 2)
        await breaker.run(succeed, "otherwise", 1)
    assert breaker.state == "closed"


async def test_one_caller_tries_at_a_time() -> None:
    clock = Clock()
    breaker = Breaker("store", fail_max=3, reset_timeout_s=5, clock=clock)
    await opened(breaker)
    clock.now += 5
    gate: asyncio.Future[str] = asyncio.Future()
    trial = asyncio.create_task(breaker.run(lambda: gate, "otherwise", 5))
    await settled()
    assert breaker.state == "half-open"
    assert await breaker.run(succeed, "otherwise", 1) == "otherwise"
    gate.set_result("tried")
    assert await trial == "tried"
    assert breaker.state == "closed"


async def test_who_goes_away_says_nothing_of_the_store() -> None:
    clock = Clock()
    breaker = Breaker("store", fail_max=3, reset_timeout_s=5, clock=clock)

    async def leave() -> None:
        caller = asyncio.create_task(breaker.run(lambda: asyncio.Future(), "otherwise", 5))
        await settled()
        caller.cancel()
        await settled()
        assert caller.cancelled()

    await opened(breaker, 2)
    for _ in range(5):
        await leave()
    assert breaker.state == "closed"
    await opened(breaker, 1)  # and has not set the count back either
    assert breaker.state == "open"
    clock.now += 5
    await leave()
    assert breaker.state == "half-open"
    assert await breaker.run(succeed, "otherwise", 1) == "value"


async def test_too_slow_is_a_failure() -> None:
    breaker = Breaker("store", fail_max=1)
    assert await breaker.run(lambda: asyncio.Future(), "otherwise", 0.001) == "otherwise"
    assert breaker.state == "open"


async def test_late_news_from_before_it_opened_change_nothing() -> None:
    clock = Clock()
    breaker = Breaker("store", fail_max=3, reset_timeout_s=5, clock=clock)
    gate: asyncio.Future[str] = asyncio.Future()
    early = asyncio.create_task(breaker.run(lambda: gate, "otherwise", 50))
    await settled()
    await opened(breaker)
    gate.set_result("late")
    assert await early == "late"
    assert breaker.state == "open"


class BrokenTier:
    name = "broken"

    async def get(self, key: str) -> Entry | None:
        raise OSError("disk")

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        raise MemoryError

    async def delete(self, prefix: str) -> int:
        raise RuntimeError("anything")

    async def close(self) -> None:
        pass


async def test_guarded_tier_never_raises() -> None:
    tier = GuardedTier(BrokenTier(), Breaker("broken", fail_max=10), 1)
    assert await tier.get(key()) is None
    await tier.put(key(), b"", 1)
    assert await tier.delete("") is None
    assert tier.breaker.errors == 3
