"""What the API asks: the cheapest way to a result, and the work itself only where there is none.

Memory, work in flight in this process, Redis, storage, work in flight in other processes, work.
What was made goes to the tiers after the answer. No fault of any of them is one of the request.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from cachetools import TTLCache

from omnishot_ray.cache.codec import decode_outcome, decode_result, encode_outcome, is_complete
from omnishot_ray.cache.config import CacheConfig
from omnishot_ray.cache.flight import UNCLAIMED, ChainedClaims, Claim, Claims, Flights, NoClaims
from omnishot_ray.cache.memory import MemoryTier
from omnishot_ray.cache.node_claims import NodeClaims
from omnishot_ray.cache.tiers import Counts, check_prefix
from omnishot_ray.errors import EngineUnavailable, OmnishotError, Overloaded
from omnishot_ray.imaging.pipeline import Result, Timings
from omnishot_ray.protocol import ImageTask, Outcome

if TYPE_CHECKING:
    from omnishot_ray.cache.breaker import GuardedTier

logger = logging.getLogger(__name__)

Execute = Callable[[], Awaitable[Outcome]]

_PATIENCE_S = 30.0
"""How long another process's work is waited for; then it is done here too."""
_AFTER_ANSWER_S = 0.001
"""Those in line look every few milliseconds; who made the result is not to wait for its copies."""
_PENDING_WRITES = 256
_PENDING_BYTES = 64 << 20
_PENDING_REFRESHES = 64
_CLOSING_S = 2.0
_REST_S = 5.0
"""After a result could not be made anew, the stale one is given out so long without trying."""
_RESTING_KEYS = 4096


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a task, and where it came from.

    `cache` is `miss`, `joined`, `hit-memory`, `hit-shared` (another gateway or Redis) or
    `hit-storage`.
    """

    outcome: Outcome
    cache: str


@dataclass(frozen=True, slots=True)
class _Found:
    outcome: Outcome
    cache: str
    is_stale: bool = False


class CachingOptimizer:
    """Between the API and who does the work. For one event loop."""

    def __init__(
        self,
        config: CacheConfig,
        memory: MemoryTier | None,
        shared: "Sequence[GuardedTier]" = (),
        claims: Claims | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = config.ttl_s
        self._life_s = config.ttl_s + config.stale_s
        self._max_entry_bytes = config.max_entry_bytes
        self._memory = memory
        self._shared = shared
        self._claims = claims or NoClaims()
        self._clock = clock
        self._flights: Flights[_Found] = Flights()
        self._background: set[asyncio.Task[None]] = set()
        self._writes: set[asyncio.Task[None]] = set()
        self._pending_bytes = 0
        self._generation = 0  # of invalidations: what was begun before one is not kept
        self._resting: TTLCache[str, bool] = TTLCache(_RESTING_KEYS, _REST_S, timer=clock)
        self._refreshing: set[str] = set()
        self._counts = Counts()  # of memory
        self.executions = 0
        """How many times work was really done."""
        self.joined = 0
        self.refreshes = 0
        self.dropped_writes = 0

    def get_now(self, key: str) -> Result | None:
        """The result, when memory holds a fresh one. A miss is not counted: `serve` will."""
        if self._memory is None:
            return None
        self._hear_news()
        held = self._memory.get_now(key)
        if held is None or self._clock() - held.made_at > self._ttl_s:
            return None
        self._counts.hits += 1
        return held.result

    async def serve(
        self, key: str, task: ImageTask, execute: Execute, store: bool = True
    ) -> Served:
        """The outcome of a task under its key, by whichever way is cheapest.

        Without `store` the outcome of the work is kept nowhere; callers of this process still
        join it. Raises what `execute` raises, in everybody who waits for it.
        """
        found = self._recall(key)
        if found is None:
            found, joined = await self._flights.join(
                key, lambda: self._find_or_make(key, task, execute, store)
            )
            if joined or found.cache == "joined":
                self.joined += 1
                found = replace(found, cache="joined")
        if found.is_stale and store:
            self._begin_refresh(key, task, execute)
        return Served(found.outcome, found.cache)

    @property
    def is_near(self) -> bool:
        """Whether there is no tier to ask beyond this node."""
        return not self._shared

    def has_something(self, key: str) -> bool:
        """Whether callers of this process wait for it, or memory holds one, however old."""
        return key in self._flights or (self._memory is not None and key in self._memory)

    def keep(self, key: str, outcome: Outcome) -> None:
        """Keep in memory what was made without asking: it took less time than to ask."""
        self.executions += 1
        if self._memory is not None and isinstance(outcome, Result) and is_complete(outcome):
            self._counts.misses += 1
            self._keep(key, outcome)

    async def invalidate(self, prefix: str) -> dict[str, int | None]:
        """Forget all results whose keys begin so, by tier how many; work in flight is not kept.

        None is a tier that could not be reached and holds what it held. Gateways of this node
        know at once, those of others within a second where there is a Redis.

        Raises:
            ValueError: no key begins so.
        """
        check_prefix(prefix)
        forgotten: dict[str, int | None] = {}
        if self._memory is not None:
            forgotten["memory"] = self._forget(prefix)
        if self._writes:
            await asyncio.wait(self._writes)
        for tier in self._shared:
            forgotten[tier.name] = await tier.delete(prefix)
        # Now that nobody can have it from a tier again, here and elsewhere.
        self._forget(prefix)
        await self._claims.forget(prefix)
        return forgotten

    def stats(self) -> dict[str, Any]:
        """Figures since the start. `hit_rate` is from 0 to 1, None before the first look."""
        tiers: dict[str, Any] = {}
        if self._memory is not None:
            tiers["memory"] = self._counts.figures() | {
                "errors": 0,
                "entries": len(self._memory),
                "bytes": self._memory.held_bytes,
            }
        for tier in self._shared:
            tiers[tier.name] = tier.counts.figures() | {
                "errors": tier.breaker.errors,
                "skipped": tier.breaker.skipped,
                "bytes_read": tier.counts.bytes_read,
                "bytes_written": tier.counts.bytes_written,
            }
        return {
            "tiers": tiers,
            "breakers": {tier.name: tier.breaker.state for tier in self._shared},
            "executions": self.executions,
            "joined": self.joined,
            "in_flight": len(self._flights),
            "refreshes": self.refreshes,
            "pending_writes": len(self._writes),
            "dropped_writes": self.dropped_writes,
        }

    @property
    def held(self) -> tuple[int, int]:
        """Bytes and results in memory."""
        return (self._memory.held_bytes, len(self._memory)) if self._memory else (0, 0)

    def describe_services(self) -> dict[str, dict[str, Any]]:
        """State of each tier for those who watch the service: ok or down, and its circuit."""
        services: dict[str, dict[str, Any]] = {}
        if self._memory is not None:
            services["memory-cache"] = _service("closed")
        for tier in self._shared:
            services[f"{tier.name}-cache"] = _service(tier.breaker.state)
        return services

    async def close(self) -> None:
        """Finish what is being written, for two seconds at most, and let go of everything."""
        if self._writes:
            await asyncio.wait(self._writes, timeout=_CLOSING_S)
        left = [*self._writes, *self._background]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._claims.close()
        for tier in self._shared:
            await tier.close()
        if self._memory is not None:
            await self._memory.close()

    def _recall(self, key: str) -> _Found | None:
        if self._memory is None:
            return None
        self._hear_news()
        held = self._memory.get_now(key)
        if held is None:
            self._counts.misses += 1
            return None
        self._counts.hits += 1
        is_stale = self._clock() - held.made_at > self._ttl_s
        self._counts.stale += is_stale
        return _Found(held.result, "hit-memory", is_stale)

    def _hear_news(self) -> None:
        """Forget what other gateways were told to."""
        for prefix in self._claims.news():
            self._forget(prefix)

    def _forget(self, prefix: str) -> int:
        """Out of memory, and what is being made is not kept."""
        self._generation += 1
        return self._memory.forget(prefix) if self._memory is not None else 0

    async def _find_or_make(
        self, key: str, task: ImageTask, execute: Execute, store: bool, fresh: bool = False
    ) -> _Found:
        """`fresh` when a stale result will not do."""
        started = perf_counter()
        generation = self._generation
        found = await self._look(key, fresh, generation)
        lookup_ms = (perf_counter() - started) * 1000
        if found is not None:
            return replace(found, outcome=_with_cache_time(found.outcome, lookup_ms))
        claim = await self._claims.claim(key) if store else UNCLAIMED
        try:
            outcome = None if claim.leads else await self._wait(claim, task)
            cache = "hit-shared" if claim.found else "joined"
            if outcome is None:
                cache = "miss"
                self.executions += 1
                outcome = await execute()
        except BaseException:
            self._start(claim.release(), self._background)
            raise
        made = cache == "miss"
        keeps = is_complete(outcome) and store and generation == self._generation
        if keeps and isinstance(outcome, Result):
            self._keep(key, outcome)
        self._hand_on(key, outcome, claim, generation if keeps and made else None)
        return _Found(_with_cache_time(outcome, lookup_ms) if self._shared else outcome, cache)

    async def _look(self, key: str, fresh: bool, generation: int) -> _Found | None:
        for number, tier in enumerate(self._shared):
            entry = await tier.get(key)
            result = decode_result(entry.data) if entry else None
            is_stale = entry is not None and entry.age_s > self._ttl_s
            if (
                entry is None
                or result is None
                or entry.age_s > self._life_s
                or (is_stale and fresh)
            ):
                tier.counts.misses += 1
                continue
            tier.counts.hits += 1
            tier.counts.stale += is_stale
            tier.counts.bytes_read += len(entry.data)
            if generation == self._generation:
                self._keep(key, result, entry.age_s)
                self._write(self._shared[:number], key, entry.data, generation, entry.age_s)
            return _Found(result, "hit-shared" if tier.name == "redis" else "hit-storage", is_stale)
        return None

    async def _wait(self, claim: Claim, task: ImageTask) -> Outcome | None:
        """What another process made of it; None when it is to be made here."""
        data = await claim.wait(time.monotonic() + _PATIENCE_S)
        if data is not None:
            return decode_outcome(data)
        if not claim.leads:
            logger.warning(
                "%g s waited for another gateway's work; it is done here too",
                _PATIENCE_S,
                extra={"request_id": task.request_id},
            )
        return None

    def _keep(self, key: str, result: Result, age_s: float = 0.0) -> None:
        if self._memory is not None:
            # Timings are of the work, and this is a result without it.
            kept = replace(result, timings=Timings())
            self._memory.keep(key, kept, self._life_s - age_s, age_s)

    def _hand_on(self, key: str, outcome: Outcome, claim: Claim, generation: int | None) -> None:
        """Give the outcome to other processes and, with a `generation`, to the tiers, later."""
        if claim is UNCLAIMED and (generation is None or not self._shared):
            return

        async def hand_on() -> None:
            data = None
            try:
                await asyncio.sleep(_AFTER_ANSWER_S)
                if claim.leads and claim is not UNCLAIMED and _concerns_others(outcome):
                    data = encode_outcome(outcome)
                    await claim.publish(data, brief=generation is None)
            finally:
                await claim.release()
            if generation is not None:
                self._write(self._shared, key, data or encode_outcome(outcome), generation)

        self._start(hand_on(), self._writes)

    def _write(
        self,
        tiers: "Sequence[GuardedTier]",
        key: str,
        data: bytes,
        generation: int,
        age_s: float = 0.0,
    ) -> None:
        """Put into the tiers in the background; beyond what may be pending it is not done."""
        if not tiers or len(data) > self._max_entry_bytes:
            return
        if len(self._writes) >= _PENDING_WRITES or self._pending_bytes + len(data) > _PENDING_BYTES:
            self.dropped_writes += 1
            return

        async def write() -> None:
            try:
                for tier in tiers:
                    if generation == self._generation:
                        await tier.put(key, data, self._life_s - age_s, age_s)
                        tier.counts.bytes_written += len(data)
            finally:
                self._pending_bytes -= len(data)

        self._pending_bytes += len(data)
        self._start(write(), self._writes)

    def _begin_refresh(self, key: str, task: ImageTask, execute: Execute) -> None:
        if (
            key in self._refreshing
            or key in self._resting
            or len(self._refreshing) >= _PENDING_REFRESHES
        ):
            return
        self._refreshing.add(key)
        self.refreshes += 1
        self._start(self._refresh(key, task, execute), self._background)

    async def _refresh(self, key: str, task: ImageTask, execute: Execute) -> None:
        """Make a stale result anew. Who asks meanwhile gets the stale one, or joins."""
        try:
            found, _ = await self._flights.join(
                key, lambda: self._find_or_make(key, task, execute, store=True, fresh=True)
            )
            if not is_complete(found.outcome) or found.is_stale:
                self._resting[key] = True
        except Exception:
            self._resting[key] = True
            told = {"request_id": task.request_id}
            logger.exception("a stale result could not be made anew", extra=told)
        finally:
            self._refreshing.discard(key)

    def _start(self, work: Coroutine[Any, Any, None], tasks: "set[asyncio.Task[None]]") -> None:
        task = asyncio.create_task(work)
        tasks.add(task)

        def end(task: "asyncio.Task[None]") -> None:
            tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("work after an answer failed", exc_info=error)

        task.add_done_callback(end)


def _service(circuit: str) -> dict[str, Any]:
    return {
        "status": "down" if circuit == "open" else "ok",
        "latency_ms": None,
        "circuit": circuit,
        "detail": "left out until it answers again" if circuit == "open" else "",
    }


def _concerns_others(outcome: Outcome) -> bool:
    """Whether it says something of the picture, and not of how busy this one gateway was."""
    return not isinstance(outcome, Overloaded | EngineUnavailable)


def _with_cache_time(outcome: Outcome, milliseconds: float) -> Outcome:
    if isinstance(outcome, OmnishotError):
        return outcome
    return replace(outcome, timings=replace(outcome.timings, cache=milliseconds))


def build_front(config: CacheConfig) -> CachingOptimizer:
    """The cache with the tiers that are configured. Connects to nothing yet."""
    memory = MemoryTier(config.memory_bytes) if config.memory_bytes else None
    claims: Claims
    try:
        claims = NodeClaims(config.node_dir)
    except OSError as error:
        logger.warning("identical work of several gateways of this node is not joined: %s", error)
        claims = NoClaims()
    if not (config.redis_url or config.storage_uri):
        return CachingOptimizer(config, memory, (), claims)
    # pybreaker, redis and pyarrow take 0.2 s each to import: only for who uses them.
    from omnishot_ray.cache.breaker import Breaker, GuardedTier  # noqa: PLC0415

    shared: list[GuardedTier] = []
    if config.redis_url:
        from omnishot_ray.cache.shared import RedisTier, connect  # noqa: PLC0415
        from omnishot_ray.cache.shared_claims import RedisClaims  # noqa: PLC0415

        client = connect(config.redis_url, config.timeout_s)
        breaker = Breaker("Redis")
        redis = RedisTier(client, config.max_entry_bytes)
        shared.append(GuardedTier(redis, breaker, config.timeout_s))
        far = RedisClaims(client, breaker, config.timeout_s, config.max_entry_bytes)
        claims = ChainedClaims(claims, far)
    if config.storage_uri:
        from omnishot_ray.cache.stored import StorageTier  # noqa: PLC0415

        storage = StorageTier(config.storage_uri, config.max_entry_bytes)
        shared.append(GuardedTier(storage, Breaker("storage"), config.timeout_s))
    return CachingOptimizer(config, memory, shared, claims)
