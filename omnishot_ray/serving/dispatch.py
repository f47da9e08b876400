"""Which lane a task takes, and what happens to it there. Knows no Ray: lanes are handed in.

Inline lane: work estimated below `inline_ms` runs in this process, in one thread, because a hop to
another process would cost more than it brings. Pool lane: the rest waits in one queue and is
pulled in batches whenever a replica is free; nothing waits for a timer.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from omnishot_ray.errors import (
    EngineUnavailable,
    InternalError,
    OmnishotError,
    TaskTimeout,
)
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.protocol import AnyOutcome, AnyTask, Made, Task, run_task, with_queue_time
from omnishot_ray.serving.queue import QueueConfig, TaskQueue, Waiting

logger = logging.getLogger(__name__)


class ReplicaLost(Exception):
    """The replica that a batch was sent to died or cannot be reached; the batch may be retried."""


class Pool(Protocol):
    """Replicas that work off batches."""

    @property
    def replicas(self) -> int:
        """How many replicas are running now."""
        ...

    async def run(self, batch: Sequence[AnyTask]) -> Sequence[AnyOutcome]:
        """Outcomes in the order of the batch. Raises `ReplicaLost`."""
        ...

    async def check_ready(self) -> str:
        """`ok` when a replica answers, else what is the matter."""
        ...


@dataclass(frozen=True, slots=True)
class DispatchConfig:
    """Where the lanes part, and how long anybody waits."""

    inline_ms: float = 100.0
    """Work estimated below this runs in the gateway; 0 sends everything to the pool."""
    loop_ms: float = 4.0
    """Inline work estimated below this runs on the event loop itself: handing it to the thread and
    sharing the interpreter lock with it costs about a millisecond."""
    inline_waiting_ms: float = 500.0
    """With more work than this waiting for the inline thread, cheap tasks go to the pool too."""
    batches_per_replica: int = 1
    """Batches that one gateway has out at each replica."""
    time_limit_s: float = 10.0
    queue: QueueConfig = field(default_factory=QueueConfig)

    def __post_init__(self) -> None:
        for name in ("inline_ms", "loop_ms", "inline_waiting_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.batches_per_replica < 1 or self.time_limit_s <= 0:
            raise ValueError("batches_per_replica must be at least 1, time_limit_s more than 0")


_MAX_ATTEMPTS = 2
"""Resizing is pure, so a task whose replica died runs once more; a task that was there twice when
a replica died may be the reason."""

_REPLICA_POLL_S = 0.25
"""How often a queue without a running replica looks for one."""


class Dispatcher:
    """The `Optimizer` of a gateway."""

    def __init__(self, pool: Pool, config: DispatchConfig, limits: Limits) -> None:
        self._pool = pool
        self._config = config
        self._limits = limits
        self._inline_thread = ThreadPoolExecutor(1, thread_name_prefix="inline")
        self._inline_waiting_ms = 0.0
        self._queue = TaskQueue(config.queue)
        self._batches: set[asyncio.Task[None]] = set()
        self._poll: asyncio.TimerHandle | None = None

    async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
        """Choose the lane and wait for the outcome, at most `time_limit_s`."""
        try:
            header = read_header(task.data)
            check_header(header, self._limits)
            cost_ms = task.estimate_ms(header)
            async with asyncio.timeout(self._config.time_limit_s):
                if self._fits_inline(cost_ms):
                    return await self._run_inline(task, cost_ms)
                return await self._run_pooled(task, cost_ms)
        except TimeoutError:
            return TaskTimeout(
                f"The work was not done within {self._config.time_limit_s:g} s; "
                "ask for fewer or smaller renditions, a lower effort, or send a smaller picture."
            )
        except OmnishotError as error:
            return error

    async def check_ready(self) -> dict[str, str]:
        """Whether the replicas answer."""
        return {"engine": await self._pool.check_ready()}

    def _fits_inline(self, cost_ms: float) -> bool:
        waiting = self._inline_waiting_ms
        return cost_ms < self._config.inline_ms and (
            waiting == 0 or waiting + cost_ms <= self._config.inline_waiting_ms
        )

    async def _run_inline(self, task: Task[Made], cost_ms: float) -> Made | OmnishotError:
        if cost_ms < self._config.loop_ms:
            return run_task(task, self._limits)
        enqueued_at = perf_counter()

        def work() -> Made | OmnishotError:
            started_at = perf_counter()
            return _timed(run_task(task, self._limits), started_at - enqueued_at)

        def forget(_: object) -> None:
            self._inline_waiting_ms -= cost_ms

        self._inline_waiting_ms += cost_ms
        running = asyncio.get_running_loop().run_in_executor(self._inline_thread, work)
        running.add_done_callback(forget)
        # Shielded: a client that leaves does not end what the thread has begun.
        return await asyncio.shield(running)

    async def _run_pooled(self, task: Task[Made], cost_ms: float) -> Made | OmnishotError:
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        waiting = Waiting(task, cost_ms, outcome, perf_counter())
        self._queue.push(waiting, drain_rate=self._pool.replicas)
        self._pump()
        made: Made | OmnishotError = await outcome
        return made

    def _pump(self) -> None:
        """Send batches as long as there is work and a free place at a replica."""
        places = self._pool.replicas * self._config.batches_per_replica
        while self._queue and len(self._batches) < places:
            batch = self._queue.pop_batch()
            if batch:
                running = asyncio.create_task(self._run_batch(batch))
                self._batches.add(running)
                running.add_done_callback(self._on_batch_done)
        if self._queue and not self._batches and self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(_REPLICA_POLL_S, self._on_poll)

    def _on_batch_done(self, running: "asyncio.Task[None]") -> None:
        self._batches.discard(running)
        self._pump()

    def _on_poll(self) -> None:
        self._poll = None
        self._pump()

    async def _run_batch(self, batch: Sequence[Waiting]) -> None:
        sent_at = perf_counter()
        try:
            outcomes = await self._pool.run([waiting.task for waiting in batch])
        except ReplicaLost as lost:
            logger.warning("replica lost with %d tasks: %s", len(batch), lost)
            for waiting in batch:
                self._retry(waiting)
        except Exception:
            logger.exception("a batch of %d tasks failed", len(batch))
            for waiting in batch:
                _settle(waiting, InternalError("The engine failed on this task; it is logged."))
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                _settle(waiting, _timed(outcome, sent_at - waiting.enqueued_at))

    def _retry(self, waiting: Waiting) -> None:
        waiting.attempts += 1
        if waiting.attempts < _MAX_ATTEMPTS:
            self._queue.push_back(waiting)
        else:
            _settle(
                waiting,
                EngineUnavailable(
                    "The replica that worked on this died, twice. Trying later may help, "
                    "unless it is this image that does it."
                ),
            )


def _timed(outcome: Made | OmnishotError, queue_s: float) -> Made | OmnishotError:
    if isinstance(outcome, OmnishotError):
        return outcome
    return with_queue_time(outcome, outcome.timings.queue + queue_s * 1000.0)


def _settle(waiting: Waiting, outcome: AnyOutcome) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_result(outcome)
