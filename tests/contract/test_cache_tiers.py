"""What every tier does, each with its real store."""

import asyncio
import errno
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from omnishot_ray.cache.breaker import Breaker, GuardedTier
from omnishot_ray.cache.codec import decode_result, encode_result
from omnishot_ray.cache.memory import MemoryTier
from omnishot_ray.cache.shared import KEY_PREFIX, RedisTier, connect
from omnishot_ray.cache.stored import StorageTier
from omnishot_ray.cache.tiers import Tier
from tests.cached import Clock, key, result
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.anyio

LIMIT = 32_768
TIMEOUT_S = 2.0
DATA = encode_result(result(b"a"))
OTHER = encode_result(result(b"b"))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "redis", "storage"])
async def tier(
    request: pytest.FixtureRequest, server: RedisServer, tmp_path: Path, clock: Clock
) -> AsyncIterator[Tier]:
    tier: Tier
    if request.param == "memory":
        tier = MemoryTier(LIMIT, clock)
    elif request.param == "redis":
        client = connect(server.url, TIMEOUT_S)
        await client.flushall()
        tier = RedisTier(client, LIMIT, clock)
    else:
        tier = StorageTier(tmp_path.as_uri(), LIMIT, clock)
    assert tier.name == request.param
    yield tier
    await tier.close()


async def test_gives_what_was_put(tier: Tier, clock: Clock) -> None:
    assert await tier.get(key()) is None
    await tier.put(key(), DATA, 60)
    clock.now += 5
    entry = await tier.get(key())
    assert entry is not None
    assert entry.data == DATA
    assert entry.age_s == pytest.approx(5, abs=1e-3)
    assert await tier.get(key(2)) is None


async def test_replaces(tier: Tier) -> None:
    await tier.put(key(), DATA, 60)
    await tier.put(key(), OTHER, 60)
    entry = await tier.get(key())
    assert entry is not None
    assert entry.data == OTHER


async def test_forgets_when_the_time_is_over(tier: Tier, clock: Clock) -> None:
    await tier.put(key(), DATA, 60)
    clock.now += 59.9
    assert await tier.get(key()) is not None
    clock.now += 0.2
    assert await tier.get(key()) is None


async def test_age_goes_along(tier: Tier, clock: Clock) -> None:
    await tier.put(key(), DATA, 60, age_s=100)
    clock.now += 1
    entry = await tier.get(key())
    assert entry is not None
    assert entry.age_s == pytest.approx(101, abs=1e-3)


async def test_age_is_never_negative(tier: Tier, clock: Clock) -> None:
    await tier.put(key(), DATA, 60)
    clock.now -= 10  # another node's clock
    entry = await tier.get(key())
    assert entry is not None
    assert entry.age_s == 0


async def test_too_large_is_not_kept(tier: Tier) -> None:
    await tier.put(key(), encode_result(result(bytes(2 * LIMIT))), 60)
    assert await tier.get(key()) is None


async def test_deletes_by_key_by_source_and_by_prefix(tier: Tier) -> None:
    async def fill() -> None:
        for source in (0x11 << 248, 0x12 << 248):
            for options in (1, 2):
                await tier.put(key(source, options), encode_result(result(b"")), 60)

    first, second = 0x11 << 248, 0x12 << 248
    await fill()
    assert await tier.delete(key(first, 1)) == 1
    assert await tier.get(key(first, 1)) is None
    assert await tier.get(key(first, 2)) is not None
    await fill()
    assert await tier.delete(f"{first:064x}") == 2
    assert await tier.get(key(second, 1)) is not None
    await fill()
    assert await tier.delete("1") == 4
    await fill()
    assert await tier.delete("12") == 2
    assert await tier.delete("2") == 0
    assert await tier.delete("") == 2
    assert await tier.delete("") == 0


@pytest.mark.parametrize("prefix", ["*", "..", "a/../..", "A", "[0-9]", "a" * 65])
async def test_prefix_that_is_more_than_one_is_refused(tier: Tier, prefix: str) -> None:
    await tier.put(key(), DATA, 60)
    with pytest.raises(ValueError, match="prefix"):
        await tier.delete(prefix)
    assert await tier.get(key()) is not None


@pytest.mark.parametrize("damage", [b"", b"garbage", b"OSRe", bytes(1000), b"\xff" * 30])
async def test_garbage_is_a_miss_and_is_replaced(
    tier: Tier, server: RedisServer, tmp_path: Path, damage: bytes
) -> None:
    if tier.name == "memory":
        await tier.put(key(), damage, 60)
    elif tier.name == "redis":
        client = connect(server.url, TIMEOUT_S)
        await client.set(KEY_PREFIX + key(), damage)
        await client.aclose(close_connection_pool=True)
    else:
        path = tmp_path / key()[:2] / key()
        path.parent.mkdir()
        path.write_bytes(damage)
    assert await tier.get(key()) is None
    await tier.put(key(), DATA, 60)
    entry = await tier.get(key())
    assert entry is not None
    assert entry.data == DATA


async def test_memory_drops_what_was_not_used_for_longest() -> None:
    tier = MemoryTier(3 * 2048 + 3 * 512 + 300)
    for number in range(3):
        tier.keep(key(number), result(bytes(100)), 60)
    assert tier.get_now(key(0)) is not None
    tier.keep(key(3), result(bytes(100)), 60)
    assert [tier.get_now(key(number)) is not None for number in range(4)] == [
        True,
        False,
        True,
        True,
    ]
    assert tier.held_bytes <= 3 * 2048 + 3 * 512 + 300


async def test_redis_value_of_another_kind_or_size_is_a_miss(server: RedisServer) -> None:
    client = connect(server.url, TIMEOUT_S)
    tier = RedisTier(client, LIMIT)
    await client.flushall()
    await client.lpush(KEY_PREFIX + key(1), "a")  # type: ignore[misc]
    await client.setrange(KEY_PREFIX + key(2), 50_000_000, b"x")
    assert await tier.get(key(1)) is None
    assert await tier.get(key(2)) is None
    await client.flushall()
    await tier.close()


async def test_redis_forgets_by_itself(server: RedisServer) -> None:
    client = connect(server.url, TIMEOUT_S)
    tier = RedisTier(client, LIMIT)
    await tier.put(key(), DATA, 60)
    assert 59_000 < await client.pttl(KEY_PREFIX + key()) <= 60_000
    assert await tier.delete("") == 1
    await client.set("omnishot:other", "kept")
    assert await tier.delete("") == 0
    assert await client.get("omnishot:other") == b"kept"
    await tier.close()


async def test_redis_killed_and_back(server: RedisServer) -> None:
    clock = Clock()
    breaker = Breaker("Redis", fail_max=3, reset_timeout_s=5, clock=clock)
    tier = GuardedTier(RedisTier(connect(server.url, 0.25), LIMIT), breaker, 0.25)
    await tier.put(key(), DATA, 60)
    assert await tier.get(key()) is not None

    server.kill()
    for _ in range(3):
        assert await tier.get(key()) is None
    assert breaker.state == "open"
    errors = breaker.errors
    await tier.put(key(), DATA, 60)
    assert await tier.delete("") is None
    assert (breaker.errors, breaker.skipped) == (errors, 2)

    clock.now += 5
    assert await tier.get(key()) is None
    assert breaker.state == "open"

    server.start()
    clock.now += 5
    assert await tier.get(key()) is None  # there again, and empty
    assert breaker.state == "closed"
    await tier.put(key(), DATA, 60)
    assert await tier.get(key()) is not None
    await tier.close()


async def test_redis_restarted_between_two_uses_is_no_failure(server: RedisServer) -> None:
    breaker = Breaker("Redis")
    tier = GuardedTier(RedisTier(connect(server.url, TIMEOUT_S), LIMIT), breaker, TIMEOUT_S)
    await asyncio.gather(*(tier.put(key(number), DATA, 60) for number in range(20)))
    server.kill()
    server.start()
    await asyncio.gather(*(tier.put(key(number), DATA, 60) for number in range(20)))
    assert breaker.errors == 0
    assert await tier.get(key(7)) is not None
    await tier.close()


async def test_redis_that_does_not_answer_costs_the_timeout() -> None:
    async def ignore(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await never.wait()
        writer.close()

    never = asyncio.Event()
    silent = await asyncio.start_server(ignore, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    breaker = Breaker("Redis", fail_max=1)
    client = connect(f"redis://127.0.0.1:{port}", 0.05)
    tier = GuardedTier(RedisTier(client, LIMIT), breaker, 0.05)
    async with asyncio.timeout(1):
        assert await tier.get(key()) is None
    assert breaker.state == "open"
    await tier.close()
    never.set()
    silent.close()
    await silent.wait_closed()


async def test_storage_shows_no_half_files(tmp_path: Path) -> None:
    tier = StorageTier(tmp_path.as_uri(), 1 << 20)
    sizes = [encode_result(result(bytes(size))) for size in (400_000, 800_000)]
    await tier.put(key(), sizes[0], 60)
    writing = True
    seen = set()

    async def write() -> None:
        nonlocal writing
        for number in range(40):
            await tier.put(key(), sizes[number % 2], 60)
        writing = False

    async def read() -> None:
        while writing:
            entry = await tier.get(key())
            assert entry is not None
            assert decode_result(entry.data) is not None
            seen.add(len(entry.data))

    await asyncio.gather(write(), read())
    assert seen == {len(size) for size in sizes}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [key()]
    await tier.close()


async def test_storage_leaves_other_files_alone(tmp_path: Path) -> None:
    tier = StorageTier(tmp_path.as_uri(), LIMIT)
    await tier.put(key(), DATA, 60)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / key()[:2] / "0000").write_text("mine")
    being_written = tmp_path / key()[:2] / f"{key(2)}.abc"
    being_written.write_text("a part")
    left_behind = tmp_path / key()[:2] / f"{key(3)}.abc"
    left_behind.write_text("a part")
    os.utime(left_behind, (1, 1))
    assert await tier.delete("") == 1
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == sorted(
        ["notes.txt", "0000", being_written.name]
    )
    await tier.close()


@pytest.fixture
def no_space() -> Iterator[Callable[[], None]]:
    """Makes files end where the limit of this process is: the write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_storage_full_is_counted_and_nothing_more(
    tmp_path: Path, no_space: Callable[[], None]
) -> None:
    breaker = Breaker("storage", fail_max=3)
    inner = StorageTier(tmp_path.as_uri(), 1 << 20)
    tier = GuardedTier(inner, breaker, TIMEOUT_S)
    await tier.put(key(2), DATA, 60)
    no_space()
    large = encode_result(result(bytes(800_000)))
    with pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
        await inner.put(key(), large, 60)
    assert await tier.get(key()) is None
    for _ in range(3):
        await tier.put(key(), large, 60)
        assert await tier.get(key(2)) is not None
    assert (breaker.errors, breaker.state) == (3, "open")
    assert await tier.get(key(2)) is not None
    assert breaker.skipped == 0
    await tier.put(key(2), DATA, 60)
    assert breaker.skipped == 1
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [key(2)]
    await tier.close()


async def test_storage_that_cannot_be_opened_is_counted() -> None:
    breaker = Breaker("storage", fail_max=1)
    tier = GuardedTier(StorageTier("nothing://here", LIMIT), breaker, TIMEOUT_S)
    assert await tier.get(key()) is None
    assert breaker.state == "open"
    await tier.close()
