"""The front between memory, tiers, claims and the work. Stores are real where files will do."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnishot_ray.cache.breaker import Breaker, GuardedTier
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.front import CachingOptimizer, Served, build_front
from omnishot_ray.cache.memory import MemoryTier
from omnishot_ray.cache.stored import StorageTier
from omnishot_ray.errors import CorruptImage, OmnishotError
from omnishot_ray.imaging.pipeline import Rendition, Result, Timings
from tests.cached import TASK, Clock, key, partial_result, result, settled, until

pytestmark = pytest.mark.anyio

CONFIG = CacheConfig(ttl_s=60, stale_s=600, timeout_s=5)


class Work:
    """What `execute` is: counts, and ends when the test says so."""

    def __init__(self, outcome: Result | OmnishotError | Exception | None = None) -> None:
        self.outcome = outcome or result()
        self.count = 0
        self.running = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Result | OmnishotError:
        self.count += 1
        self.running += 1
        assert self.running == 1
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if isinstance(self.outcome, Exception) and not isinstance(self.outcome, OmnishotError):
            raise self.outcome
        return self.outcome


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def make(tmp_path: Path, clock: Clock) -> AsyncIterator[Callable[..., CachingOptimizer]]:
    """Makes fronts over one storage; `memory` and `storage` say which tiers there are."""
    fronts = []

    def make(memory: bool = True, storage: bool = True) -> CachingOptimizer:
        tiers = []
        if storage:
            tier = StorageTier(tmp_path.as_uri(), 1 << 20, clock)
            tiers.append(GuardedTier(tier, Breaker("storage", clock=clock), 5))
        kept = MemoryTier(1 << 20, clock) if memory else None
        fronts.append(CachingOptimizer(CONFIG, kept, tiers, clock=clock))
        return fronts[-1]

    yield make
    for front in fronts:
        await front.close()


async def written(front: CachingOptimizer) -> None:
    await until(lambda: front.stats()["pending_writes"] == 0)


def data_of(served: Served) -> bytes:
    assert isinstance(served.outcome, Result)
    (rendition,) = served.outcome.renditions
    assert isinstance(rendition, Rendition)
    return rendition.data


async def test_miss_then_memory(make: Callable[..., CachingOptimizer]) -> None:
    front, work = make(storage=False), Work()
    assert front.get_now(key()) is None
    assert await front.serve(key(), TASK, work) == Served(work.outcome, "miss")
    assert (await front.serve(key(), TASK, work)).cache == "hit-memory"
    assert front.get_now(key()) == work.outcome
    assert (await front.serve(key(2), TASK, work)).cache == "miss"
    assert (work.count, front.executions) == (2, 2)
    memory = front.stats()["tiers"]["memory"]
    assert (memory["hits"], memory["misses"], memory["hit_rate"]) == (2, 2, 0.5)
    assert memory["entries"] == 2
    assert 0 < memory["bytes"] < 10_000


async def test_storage_serves_who_has_it_not_in_memory(
    make: Callable[..., CachingOptimizer],
) -> None:
    first, second, work = make(), make(), Work()
    await first.serve(key(), TASK, work)
    await written(first)
    served = await second.serve(key(), TASK, work)
    assert served.cache == "hit-storage"
    assert data_of(served) == b"pixels"
    assert (await second.serve(key(), TASK, work)).cache == "hit-memory"
    assert work.count == 1
    storage = second.stats()["tiers"]["storage"]
    assert (storage["hits"], storage["hit_rate"]) == (1, 1.0)
    assert second.stats()["breakers"] == {"storage": "closed"}


async def test_timings_are_of_this_request(make: Callable[..., CachingOptimizer]) -> None:
    front = make()
    work = Work(Result(result().source, result().renditions, Timings(decode=5.0)))
    made = (await front.serve(key(), TASK, work)).outcome
    assert isinstance(made, Result)
    assert made.timings.decode == 5.0
    assert made.timings.cache > 0
    again = (await front.serve(key(), TASK, work)).outcome
    assert isinstance(again, Result)
    assert again.timings == Timings()


async def test_callers_of_the_same_join(make: Callable[..., CachingOptimizer]) -> None:
    front, work = make(), Work()
    work.gate.clear()
    callers = [asyncio.create_task(front.serve(key(), TASK, work)) for _ in range(200)]
    await until(lambda: work.count)
    work.gate.set()
    served = await asyncio.gather(*callers)
    assert [one.cache for one in served] == ["miss"] + 199 * ["joined"]
    assert (work.count, front.executions, front.joined) == (1, 1, 199)


@pytest.mark.parametrize("outcome", [CorruptImage("broken"), partial_result()])
async def test_failures_reach_all_and_are_not_kept(
    make: Callable[..., CachingOptimizer], outcome: Result | OmnishotError, tmp_path: Path
) -> None:
    front, work = make(), Work(outcome)
    served = await asyncio.gather(*(front.serve(key(), TASK, work) for _ in range(3)))
    assert all(type(one.outcome) is type(outcome) for one in served)
    assert work.count == 1
    await written(front)
    assert (await front.serve(key(), TASK, work)).cache == "miss"
    await written(front)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_programming_error_is_raised_in_all(make: Callable[..., CachingOptimizer]) -> None:
    front, work = make(), Work(ZeroDivisionError())
    callers = (front.serve(key(), TASK, work) for _ in range(3))
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == 3 * [ZeroDivisionError]
    work.outcome = result()
    assert (await front.serve(key(), TASK, work)).cache == "miss"


async def test_unstored_is_joined_and_forgotten(
    make: Callable[..., CachingOptimizer], tmp_path: Path
) -> None:
    front, work = make(), Work()
    served = await asyncio.gather(*(front.serve(key(), TASK, work, store=False) for _ in range(2)))
    assert [one.cache for one in served] == ["miss", "joined"]
    await settled()
    assert front.get_now(key()) is None
    assert front.stats()["pending_writes"] == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_stale_in_memory_is_served_and_made_anew_once(
    make: Callable[..., CachingOptimizer], clock: Clock
) -> None:
    front, work = make(), Work()
    await front.serve(key(), TASK, work)
    await written(front)
    clock.now += 61
    work.outcome = result(b"new")
    work.gate.clear()
    for _ in range(10):
        served = await front.serve(key(), TASK, work)
        assert (served.cache, data_of(served)) == ("hit-memory", b"pixels")
    assert front.get_now(key()) is None
    work.gate.set()
    await until(lambda: front.get_now(key()) is not None)
    assert data_of(await front.serve(key(), TASK, work)) == b"new"
    assert (work.count, front.refreshes) == (2, 1)


async def test_what_is_being_made_or_old_is_something(
    make: Callable[..., CachingOptimizer], clock: Clock
) -> None:
    """So nobody who asks for it is turned away, though there is no room for new work."""
    front, work = make(), Work()
    assert not front.has_something(key())
    work.gate.clear()
    making = asyncio.create_task(front.serve(key(), TASK, work))
    await until(lambda: work.running == 1)
    assert front.has_something(key())
    work.gate.set()
    await making
    clock.now += 61
    assert front.get_now(key()) is None
    assert front.has_something(key())
    clock.now += 600
    assert not front.has_something(key())
    assert not make(memory=False).has_something(key())


async def test_stale_in_storage_is_served_and_made_anew_once(
    make: Callable[..., CachingOptimizer], clock: Clock
) -> None:
    first, second, work = make(), make(memory=False), Work()
    await first.serve(key(), TASK, work)
    await written(first)
    clock.now += 61
    work.outcome = result(b"new")
    served = await asyncio.gather(*(second.serve(key(), TASK, work) for _ in range(5)))
    assert [data_of(one) for one in served] == 5 * [b"pixels"]
    assert served[0].cache == "hit-storage"
    await until(lambda: work.count == 2)
    await until(lambda: second.stats()["in_flight"] == 0)
    await written(second)
    assert data_of(await second.serve(key(), TASK, work)) == b"new"
    assert (work.count, second.refreshes) == (2, 1)
    # Another gateway still has the old one in memory: it finds the new one, and makes none.
    assert data_of(await first.serve(key(), TASK, work)) == b"pixels"
    await until(lambda: first.get_now(key()) is not None)
    assert data_of(await first.serve(key(), TASK, work)) == b"new"
    assert work.count == 2


@pytest.mark.parametrize("failure", [CorruptImage("broken"), ZeroDivisionError()])
async def test_stale_stays_when_it_cannot_be_made_anew(
    make: Callable[..., CachingOptimizer], clock: Clock, failure: Exception
) -> None:
    front, work = make(storage=False), Work()
    await front.serve(key(), TASK, work)
    clock.now += 61
    work.outcome = failure
    for expected in (2, 2, 2):
        assert data_of(await front.serve(key(), TASK, work)) == b"pixels"
        await settled()
        assert work.count == expected, "not tried again at once"
    clock.now += 6
    await front.serve(key(), TASK, work)
    await settled()
    assert work.count == 3


async def test_past_stale_it_is_made_anew_first(
    make: Callable[..., CachingOptimizer], clock: Clock
) -> None:
    front, work = make(), Work()
    await front.serve(key(), TASK, work)
    await written(front)
    clock.now += 661
    assert (await front.serve(key(), TASK, work)).cache == "miss"


async def test_invalidation_by_tier(make: Callable[..., CachingOptimizer]) -> None:
    front, work = make(), Work()
    for source, options in [(1, 1), (1, 2), (2, 1)]:
        await front.serve(key(source, options), TASK, work)
    await written(front)
    assert await front.invalidate(f"{1:064x}") == {"memory": 2, "storage": 2}
    assert (await front.serve(key(1), TASK, work)).cache == "miss"
    assert (await front.serve(key(2), TASK, work)).cache == "hit-memory"
    with pytest.raises(ValueError, match="prefix"):
        await front.invalidate("*")


async def test_work_begun_before_an_invalidation_is_not_kept(
    make: Callable[..., CachingOptimizer], tmp_path: Path
) -> None:
    front, work = make(), Work()
    work.gate.clear()
    caller = asyncio.create_task(front.serve(key(), TASK, work))
    await until(lambda: work.count)
    await front.invalidate("")
    work.gate.set()
    assert (await caller).cache == "miss"
    await written(front)
    assert front.get_now(key()) is None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_damaged_entry_is_made_anew(
    make: Callable[..., CachingOptimizer], tmp_path: Path
) -> None:
    first, second, work = make(), make(), Work()
    await first.serve(key(), TASK, work)
    await written(first)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"!")
    assert (await second.serve(key(), TASK, work)).cache == "miss"
    await written(second)
    assert path.read_bytes() == good


async def test_write_begun_before_an_invalidation_is_not_finished(
    make: Callable[..., CachingOptimizer], tmp_path: Path
) -> None:
    front, work = make(), Work()
    await front.serve(key(), TASK, work)
    assert front.stats()["pending_writes"] == 1
    await front.invalidate("")
    await written(front)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


class HeldUpTier:
    """A store whose writes end when the test says so."""

    name = "storage"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.puts = 0

    async def get(self, key: str) -> None:
        return None

    async def put(self, key: str, data: bytes, ttl_s: float, age_s: float = 0.0) -> None:
        self.puts += 1
        await self.gate.wait()

    async def delete(self, prefix: str) -> int:
        return 0

    async def close(self) -> None:
        pass


async def test_writes_are_not_waited_for_and_bounded() -> None:
    tier = HeldUpTier()
    shared = [GuardedTier(tier, Breaker("storage"), 5)]
    front = CachingOptimizer(CONFIG, MemoryTier(1 << 20), shared)
    for number in range(300):
        assert (await front.serve(key(number), TASK, Work())).cache == "miss"
    await until(lambda: front.stats()["pending_writes"] == tier.puts)
    assert 0 < tier.puts <= 256
    assert front.dropped_writes == 300 - tier.puts
    tier.gate.set()
    await front.close()
    assert front.stats()["pending_writes"] == 0


async def test_store_that_is_down_costs_nothing_but_the_hit(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = CacheConfig(
        storage_uri=(tmp_path / "file").as_uri(),
        redis_url="redis://127.0.0.1:1",
        node_dir=str(tmp_path / "node"),
        timeout_s=5,
    )
    front, work = build_front(config), Work()
    for number in range(20):
        served = await front.serve(key(number), TASK, work)
        assert (served.cache, data_of(served)) == ("miss", b"pixels")
    await written(front)
    stats = front.stats()
    assert stats["breakers"]["redis"] == "open"
    assert stats["breakers"]["storage"] == "open"
    assert (await front.serve(key(3), TASK, work)).cache == "hit-memory"
    assert await front.invalidate("") == {"memory": 20, "redis": None, "storage": None}
    await front.close()


async def test_gateways_of_a_node_join(tmp_path: Path) -> None:
    config = CacheConfig(node_dir=str(tmp_path / "node"))
    first, second, work = build_front(config), build_front(config), Work()
    work.gate.clear()
    leader = asyncio.create_task(first.serve(key(), TASK, work))
    await until(lambda: work.count)
    follower = asyncio.create_task(second.serve(key(), TASK, work))
    await settled()
    work.gate.set()
    assert (await leader).cache == "miss"
    assert (await follower).cache == "joined"
    assert second.get_now(key()) is not None
    assert (first.executions, second.executions, second.joined) == (1, 0, 1)
    await first.close()
    await second.close()


async def test_leader_that_is_left_lets_the_next_gateway_lead(tmp_path: Path) -> None:
    config = CacheConfig(node_dir=str(tmp_path / "node"))
    first, second = build_front(config), build_front(config)
    never, work = Work(), Work()
    never.gate.clear()
    leader = asyncio.create_task(first.serve(key(), TASK, never))
    await until(lambda: never.count)
    follower = asyncio.create_task(second.serve(key(), TASK, work))
    await settled()
    leader.cancel()
    assert (await follower).cache == "miss"
    await first.close()
    await second.close()


async def test_node_dir_that_cannot_be_used_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "node").write_text("in the way")
    front = build_front(CacheConfig(node_dir=str(tmp_path / "node"), memory_bytes=0))
    assert (await front.serve(key(), TASK, Work())).cache == "miss"
    assert front.stats()["tiers"] == {}
    assert await front.invalidate("") == {}
    await front.close()


async def test_memory_hit_takes_less_than_ten_microseconds(
    make: Callable[..., CachingOptimizer],
) -> None:
    front, wanted = make(storage=False), key()
    await front.serve(wanted, TASK, Work())

    def hits_ms() -> float:
        started = time.process_time()
        for _ in range(1000):
            front.get_now(wanted)
        return (time.process_time() - started) * 1000

    assert min(hits_ms() for _ in range(5)) < 10


steps = st.lists(
    st.tuples(
        st.sampled_from(["come", "come", "leave", "finish", "fail", "age", "invalidate"]),
        st.integers(0, 2),
        st.integers(0, 4),
    ),
    max_size=40,
)


@settings(max_examples=100)
@given(steps)
def test_any_interleaving_executes_once_at_a_time_and_answers_all(
    script: list[tuple[str, int, int]],
) -> None:
    asyncio.run(_play(script))


async def _play(script: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    front = CachingOptimizer(CONFIG, MemoryTier(1 << 20, clock), clock=clock)
    gates: dict[str, asyncio.Future[Any]] = {}
    running = {key(number): 0 for number in range(3)}
    made: dict[str, int] = dict.fromkeys(running, 0)
    callers: list[tuple[str, asyncio.Task[Served]]] = []

    def execute(name: str) -> Callable[[], Any]:
        async def run() -> Result | OmnishotError:
            running[name] += 1
            assert running[name] == 1, "two at a time"
            gates[name] = asyncio.get_running_loop().create_future()
            try:
                outcome: Result | OmnishotError = await gates[name]
                return outcome
            finally:
                await asyncio.sleep(0)
                running[name] -= 1

        return run

    def finish(name: str, fails: bool) -> None:
        gate = gates.get(name)
        if gate is not None and not gate.done():
            made[name] += 1
            new = result(f"{name} {made[name]}".encode())
            gate.set_result(CorruptImage(name) if fails else new)

    for what, number, pause in script:
        name = key(number)
        if what == "come":
            serving = front.serve(name, TASK, execute(name))
            callers.append((name, asyncio.create_task(serving)))
        elif what == "leave" and callers:
            callers.pop(number % len(callers))[1].cancel()
        elif what in ("finish", "fail"):
            finish(name, what == "fail")
        elif what == "age":
            clock.now += 61
        elif what == "invalidate":
            await front.invalidate(name[:64])
        for _ in range(pause):
            await asyncio.sleep(0)
    for _ in range(4):
        await settled()
        for name in running:
            finish(name, fails=False)
    await settled()
    for name, caller in callers:
        assert caller.done(), "somebody was forgotten"
        outcome = caller.result().outcome
        if isinstance(outcome, OmnishotError):
            assert outcome.detail == name
        else:
            assert data_of(caller.result()).decode().split()[0] == name
    assert front.stats()["in_flight"] == 0
    assert sum(running.values()) == 0
    await front.close()


async def test_gateways_of_a_node_find_what_another_made(tmp_path: Path) -> None:
    config = CacheConfig(node_dir=str(tmp_path / "node"))
    first, second, work = build_front(config), build_front(config), Work()
    await first.serve(key(), TASK, work)
    await written(first)
    assert (await second.serve(key(), TASK, work)).cache == "hit-shared"
    assert (await second.serve(key(), TASK, work)).cache == "hit-memory"
    assert work.count == 1
    await first.close()
    await second.close()


@pytest.mark.parametrize("prefix", [key(), key()[:8], key()[:64], ""])
async def test_what_is_invalidated_is_so_in_all_gateways_of_a_node(
    tmp_path: Path, prefix: str
) -> None:
    config = CacheConfig(node_dir=str(tmp_path / "node"))
    first, second, work = build_front(config), build_front(config), Work()
    for front in (first, second):
        await front.serve(key(), TASK, work)
        await written(front)
    assert second.get_now(key()) is not None
    assert await first.invalidate(prefix) == {"memory": 1}
    assert second.get_now(key()) is None
    assert (await second.serve(key(), TASK, work)).cache == "miss"
    await first.close()
    await second.close()


async def test_the_list_of_what_is_invalid_does_not_grow_without_end(tmp_path: Path) -> None:
    config = CacheConfig(node_dir=str(tmp_path / "node"))
    first, second, work = build_front(config), build_front(config), Work()
    log = tmp_path / "node" / "claims" / "forgotten"
    await first.invalidate("abc")
    log.write_bytes(b"abc\n" * 300_000)
    assert second.get_now(key()) is None  # has heard all of it
    await second.serve(key(), TASK, work)
    await first.invalidate("def")
    assert log.read_text() == "def\n"
    assert second.get_now(key()) is None, "what stood there before may have been its key"
    await first.close()
    await second.close()


async def test_what_was_made_without_asking_is_kept(tmp_path: Path) -> None:
    front = build_front(CacheConfig(node_dir=str(tmp_path / "node")))
    assert front.is_near
    front.keep(key(), result())
    front.keep(key(2), partial_result())
    front.keep(key(3), CorruptImage("It is broken."))
    assert front.get_now(key()) == result()
    assert front.get_now(key(2)) is None
    assert front.get_now(key(3)) is None
    assert front.executions == 3
    await front.close()
