"""The whole cache as the service builds it, with a Redis that is killed and comes back."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnishot_ray.cache.breaker import Breaker, GuardedTier
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.flight import ChainedClaims
from omnishot_ray.cache.front import CachingOptimizer, build_front
from omnishot_ray.cache.node_claims import NodeClaims
from omnishot_ray.cache.shared import RedisTier, connect
from omnishot_ray.cache.shared_claims import RedisClaims
from omnishot_ray.imaging.pipeline import Result
from tests.cached import TASK, key, result, until
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


def build(server: RedisServer, folder: Path, node: str, **more: object) -> CachingOptimizer:
    given = {"redis_url": server.url, "node_dir": str(folder / node), "timeout_s": 2.0} | more
    return build_front(CacheConfig(**given))  # type: ignore[arg-type]


async def execute() -> Result:
    return result()


async def written(front: CachingOptimizer) -> None:
    await until(lambda: front.stats()["pending_writes"] == 0)


async def test_nodes_share_by_redis_and_by_storage(server: RedisServer, tmp_path: Path) -> None:
    uri = (tmp_path / "store").as_uri()
    first = build(server, tmp_path, "a", storage_uri=uri)
    second = build(server, tmp_path, "b", storage_uri=uri)
    assert (await first.serve(key(), TASK, execute)).cache == "miss"
    await written(first)
    assert (await second.serve(key(), TASK, execute)).cache == "hit-shared"
    server.kill()
    server.start()  # empty now
    third = build(server, tmp_path, "c", storage_uri=uri)
    assert (await third.serve(key(), TASK, execute)).cache == "hit-storage"
    await written(third)  # and has put it back into Redis
    fourth = build(server, tmp_path, "d")
    served = await fourth.serve(key(), TASK, execute)
    assert served.cache == "hit-shared"
    assert isinstance(served.outcome, Result)
    assert served.outcome.renditions == result().renditions
    assert await first.invalidate(key()) == {"memory": 1, "redis": 1, "storage": 1}
    for front in (first, second, third, fourth):
        await front.close()


async def test_what_is_invalidated_is_so_on_all_nodes(server: RedisServer, tmp_path: Path) -> None:
    first, second = build(server, tmp_path, "a"), build(server, tmp_path, "b")
    for front in (first, second):
        await front.serve(key(), TASK, execute)
        await front.serve(key(2), TASK, execute)
        await written(front)
    assert second.get_now(key()) is not None
    assert await first.invalidate(key()) == {"memory": 1, "redis": 1}
    await until(lambda: second.get_now(key()) is None)
    assert second.get_now(key(2)) is not None
    assert (await second.serve(key(), TASK, execute)).cache == "miss"
    for front in (first, second):
        await front.close()


async def test_an_invalidation_says_what_it_could_not_reach(
    server: RedisServer, tmp_path: Path
) -> None:
    front = build(server, tmp_path, "a")
    await front.serve(key(), TASK, execute)
    await written(front)
    server.kill()
    assert await front.invalidate(key()) == {"memory": 1, "redis": None}
    server.start()
    await front.close()


async def test_redis_killed_and_back_under_requests(server: RedisServer, tmp_path: Path) -> None:
    client = connect(server.url, 0.25)
    breaker = Breaker("Redis", reset_timeout_s=0.1)
    tier = GuardedTier(RedisTier(client, 1 << 20), breaker, 0.25)
    far = RedisClaims(client, breaker, 0.25, 1 << 20)
    claims = ChainedClaims(NodeClaims(tmp_path / "node"), far)
    front = CachingOptimizer(CacheConfig(), None, [tier], claims)
    stop = False
    count = 0

    async def ask(start: int) -> None:
        nonlocal count
        number = start
        while not stop:
            number += 8
            served = await front.serve(key(start * 10_000 + number // 256), TASK, execute)
            assert isinstance(served.outcome, Result)
            assert served.outcome.renditions == result().renditions
            count += 1

    async def state_is(state: str) -> None:
        await until(lambda: front.stats()["breakers"]["redis"] == state)

    def hits() -> int:
        found: int = front.stats()["tiers"]["redis"]["hits"]
        return found

    asking = [asyncio.create_task(ask(start)) for start in range(8)]
    await until(lambda: hits() > 20)
    server.kill()
    await state_is("open")
    before = count
    await until(lambda: count > before + 200)
    server.start()
    await state_is("closed")
    before = hits()
    await until(lambda: hits() > before + 20)
    stop = True
    await asyncio.gather(*asking)
    await front.close()
