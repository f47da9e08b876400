"""The waiting line of the pool: by priority, bounded by the work in it, drained in batches."""

import heapq
import itertools
from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass

from omnishot_ray.errors import Overloaded
from omnishot_ray.protocol import AnyOutcome, AnyTask


@dataclass(slots=True)
class Waiting:
    """A task in the line, and the promise of its outcome."""

    task: AnyTask
    cost_ms: float
    outcome: "Future[AnyOutcome]"
    enqueued_at: float
    attempts: int = 0
    arrival: int = -1
    """Its place in the line, kept when it comes back."""


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How much may wait, and how much leaves at once."""

    max_waiting_ms: float = 20_000.0
    """Estimated core-milliseconds that may wait in one gateway."""
    batch_ms: float = 30.0
    """A batch is filled up to this much estimated work, so that it is worth its hop (1–5 ms) and
    its first member does not wait long for the last."""
    batch_max: int = 16
    batch_max_bytes: int = 48 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("max_waiting_ms", "batch_ms", "batch_max", "batch_max_bytes"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")


class TaskQueue:
    """A bounded priority queue. First come, first served within a priority."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._heap: list[tuple[int, int, int, Waiting]] = []
        self._arrivals = itertools.count()
        self._ties = itertools.count()
        self.waiting_ms = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    def push(self, waiting: Waiting, drain_rate: float) -> None:
        """Add a task at the end of its priority.

        `drain_rate` is how many core-milliseconds are worked off in a millisecond (the cores of
        the pool). Raises `Overloaded` with the time after which there should be room again.
        """
        if self.waiting_ms + waiting.cost_ms > self._config.max_waiting_ms:
            self._forget_abandoned()
        if self._heap and self.waiting_ms + waiting.cost_ms > self._config.max_waiting_ms:
            excess = self.waiting_ms + waiting.cost_ms - self._config.max_waiting_ms
            retry_after_s = excess / max(drain_rate, 0.5) / 1000.0
            raise Overloaded(
                f"{len(self._heap)} tasks with {self.waiting_ms / 1000:.1f} core-seconds of work "
                "are waiting already; come back after the time in Retry-After.",
                retry_after_s,
            )
        waiting.arrival = next(self._arrivals)
        self._add(waiting)

    def push_back(self, waiting: Waiting) -> None:
        """Return a task to the place it had: it has waited already, and is never shed."""
        self._add(waiting)

    def _add(self, waiting: Waiting) -> None:
        heapq.heappush(
            self._heap, (waiting.task.priority, waiting.arrival, next(self._ties), waiting)
        )
        self.waiting_ms += waiting.cost_ms

    def _forget_abandoned(self) -> None:
        """Tasks whose client has left take up no room that another could have."""
        self._heap = [entry for entry in self._heap if not entry[-1].outcome.done()]
        heapq.heapify(self._heap)
        self.waiting_ms = sum(entry[-1].cost_ms for entry in self._heap)

    def pop_batch(self) -> Sequence[Waiting]:
        """The next tasks, as many as make a batch; those whose client has left are dropped.

        A task that comes back from a replica that died travels alone: it may be the reason.
        """
        config = self._config
        batch: list[Waiting] = []
        cost, size = 0.0, 0
        while self._heap and len(batch) < config.batch_max:
            head = self._heap[0][-1]
            head_bytes = len(head.task.data)
            full = cost + head.cost_ms > config.batch_ms or size + head_bytes > (
                config.batch_max_bytes
            )
            alone = head.attempts > 0 or any(waiting.attempts > 0 for waiting in batch)
            if batch and (full or alone) and not head.outcome.done():
                break
            heapq.heappop(self._heap)
            self.waiting_ms -= head.cost_ms
            if head.outcome.done():
                continue
            batch.append(head)
            cost += head.cost_ms
            size += head_bytes
        if not self._heap:
            self.waiting_ms = 0.0  # sums of floats drift
        return batch
