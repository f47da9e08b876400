"""The waiting line of the pool: by rank, bounded by the work in it, drained in batches.

A task's rank is the time it came, moved back by its priority and by its cost. So urgent and cheap
work goes first, and nobody starves: whatever comes later than a task's rank goes behind it.
"""

import heapq
import itertools
import math
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
    """Seconds on the dispatcher's clock."""
    deadline: float = float("inf")
    """When its time is up, on the same clock."""
    deaths: int = 0
    """How many replicas died with it in their hands, or had to."""
    suspect: int = 0
    """How many of them had nothing else."""
    rank: tuple[float, int] = (0.0, 0)
    """Its place in the line, kept when it comes back; the second part parts equals."""


_MORE_THAN_NOTHING = (
    "max_waiting_s",
    "standing_s",
    "max_waiting_ms",
    "batch_ms",
    "batch_max",
    "batch_max_bytes",
)


@dataclass(frozen=True, slots=True)
class QueueConfig:
    """How much may wait, and how much leaves at once."""

    max_waiting_s: float = 5.0
    """How long the line may be: the estimated work in it over the rate it is worked off at. A burst
    is worth waiting for."""
    standing_s: float = 0.3
    standing_after_s: float = 0.5
    """How long it may be when all who came for `standing_after_s` have found it longer, or when it
    was half as long as it may be and is still longer then: what waits beyond that is turned away. A
    line that does not get shorter makes everybody late and nobody more served (Nichols and
    Jacobson, "Controlling Queue Delay", ACM Queue 10, 2012). The more comes than is done, the
    sooner that is seen and the place of one who leaves is taken: both are shorter by as many times,
    though the line never than a batch."""
    standing_tasks: float = 5.0
    """The same in tasks of what those who wait cost in the mean, where that is longer: a few
    clients with dear work, each of whom asks again when it is answered, are no overload."""
    growth_s: float = 15.0
    """How long the line may stand instead where there may be more replicas: those that come make it
    short again."""
    max_waiting_ms: float = 60_000.0
    """Estimated core-milliseconds that may wait in one gateway, however fast it is."""
    ageing_s: float = 0.5
    """Seconds of waiting that one step of priority is worth."""
    cost_weight: float = 1.0
    """Seconds of waiting that a core-second of estimated work is worth: 0 is first come, first
    served within a priority."""
    hop_ms: float = 4.0
    """What a batch costs beyond its work (1 to 5 core-ms measured). A batch grows as long as its
    first member waits no longer for the others than all who wait save in hops."""
    batch_ms: float = 60.0
    """Estimated work in a batch of several tasks, at most."""
    batch_max: int = 16
    batch_max_bytes: int = 48 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in _MORE_THAN_NOTHING:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be more than 0")
        for name in (
            *("standing_tasks", "standing_after_s", "growth_s"),
            *("ageing_s", "cost_weight", "hop_ms"),
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")


class TaskQueue:
    """A bounded line of tasks, the lowest rank first."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._heap: list[tuple[tuple[float, int], int, Waiting]] = []
        self._arrivals = itertools.count()
        self._ties = itertools.count()
        self._bound_ms = config.max_waiting_ms
        self._drain_rate = 1.0
        self._excess = 1.0
        """How many times as much comes as is done."""
        self._missing = 0
        self._stands = self._was_long = self._cut_due = False
        self._since: float | None = None
        """Since when those who came have found what is contrary to `_stands`."""
        self.waiting_ms = 0.0

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def fill(self) -> float:
        """The share of the bound that is taken."""
        return self.waiting_ms / self._bound_ms if self._heap else 0.0

    @property
    def stands(self) -> bool:
        """Whether the line does not get shorter: more comes than is done."""
        return self._stands

    def push(
        self, waiting: Waiting, drain_rate: float, missing: int = 0, offered: float = 0.0
    ) -> None:
        """Add a task that `check` lets in. Ask `shed` after it: the line may have stood for too
        long.
        """
        self.check(waiting.enqueued_at, waiting.cost_ms, drain_rate, missing, offered)
        seconds = (
            waiting.enqueued_at
            + self._config.ageing_s * waiting.task.priority
            + self._config.cost_weight * waiting.cost_ms / 1000.0
        )
        waiting.rank = (seconds, next(self._arrivals))
        self._add(waiting)

    def check(
        self,
        now: float,
        cost_ms: float,
        drain_rate: float,
        missing: int = 0,
        offered: float = 0.0,
    ) -> None:
        """Whether there is room for one more task.

        `drain_rate` is how many core-milliseconds are worked off in a millisecond (the cores of
        the pool), `offered` how many come, `missing` how many replicas more there may be. Raises
        `Overloaded` with the time after which there should be room again.
        """
        self._drain_rate = drain_rate
        self._excess = max(1.0, offered / drain_rate)
        if missing != self._missing:
            self._missing, self._since = missing, None  # what has come has not shown its worth yet
        self._judge(now)
        self._set_bound()
        if self.waiting_ms + cost_ms > self._bound_ms:
            self._forget_abandoned()
        excess_ms = self.waiting_ms + cost_ms - self._bound_ms
        if self._heap and excess_ms > 0 and not self._cut_due:
            raise Overloaded(
                f"{len(self._heap)} tasks with {self.waiting_ms / 1000:.1f} core-seconds of work "
                "are waiting already; come back after the time in Retry-After.",
                excess_ms / drain_rate / 1000.0,
            )

    def shed(self, now: float) -> Sequence[Waiting]:
        """Take out who has to go because the line has stood for too long: the last ones.

        `now` is on the dispatcher's clock. Nobody comes after a burst, so one is worked off as it
        is, unless it was long: then more may have come and gone to gateways with less to do.
        """
        if self._was_long:
            self._judge(now)
        if not self._cut_due:
            return ()
        self._cut_due = False
        return self._cut()

    def _judge(self, now: float) -> None:
        config = self._config
        line_s = self.waiting_ms / self._drain_rate / 1000.0
        if line_s > config.max_waiting_s / 2:
            self._was_long = True
        elif line_s <= config.standing_s:
            self._was_long = False
        most_s = self._most_standing_s
        contrary = line_s < most_s / 2 if self._stands else line_s > most_s
        if not contrary:
            self._since = None
        elif self._since is None:
            self._since = now
        elif now - self._since >= self._patience_s:
            self._stands, self._since = not self._stands, None
            self._cut_due = self._stands

    @property
    def _most_standing_s(self) -> float:
        """How long the line may be before it stands, and how long when it does."""
        config = self._config
        mean_ms = self.waiting_ms / len(self._heap) if self._heap else 0.0
        # The time in which one replica does so many tasks.
        most_s = max(config.standing_s, config.standing_tasks * mean_ms / 1000.0)
        if not self._stands:
            return most_s
        return min(most_s, max(most_s / self._excess, config.batch_ms / 1000.0))

    @property
    def _patience_s(self) -> float:
        if self._stands:
            return self._config.standing_after_s
        if self._missing > 0:
            return self._config.growth_s
        return self._config.standing_after_s / self._excess

    def _set_bound(self) -> None:
        config = self._config
        bound_s = min(config.max_waiting_s, self._most_standing_s if self._stands else math.inf)
        self._bound_ms = min(config.max_waiting_ms, bound_s * 1000.0 * self._drain_rate)

    def _cut(self) -> Sequence[Waiting]:
        self._set_bound()
        gone: list[Waiting] = []
        kept = []
        for entry in sorted(self._heap, reverse=True):
            waiting = entry[-1]
            is_first = len(gone) == len(self._heap) - 1  # as one who finds no line comes in too
            # What comes back from a replica that died has waited already.
            if self.waiting_ms > self._bound_ms and waiting.deaths == 0 and not is_first:
                gone.append(waiting)
                self.waiting_ms -= waiting.cost_ms
            else:
                kept.append(entry)
        self._heap = kept[::-1]  # in order, which is a heap
        return gone

    def push_back(self, waiting: Waiting, later_s: float = 0.0) -> None:
        """Return a task to the place it had, or `later_s` seconds behind it.

        It has waited already, and is never shed.
        """
        seconds, number = waiting.rank
        waiting.rank = (seconds + later_s, number)
        self._add(waiting)

    def _add(self, waiting: Waiting) -> None:
        heapq.heappush(self._heap, (waiting.rank, next(self._ties), waiting))
        self.waiting_ms += waiting.cost_ms

    def _forget_abandoned(self) -> None:
        """Tasks whose client has left take up no room that another could have."""
        self._heap = [entry for entry in self._heap if not entry[-1].outcome.done()]
        heapq.heapify(self._heap)
        self.waiting_ms = sum(entry[-1].cost_ms for entry in self._heap)

    def pop_batch(self, places: int = 1) -> Sequence[Waiting]:
        """The next tasks, as many as make a batch for one of `places` free replicas.

        Those whose client has left are dropped. A task that comes back from a replica that died
        travels alone: it may be the reason.
        """
        config = self._config
        batch: list[Waiting] = []
        saved_ms = config.hop_ms * len(self._heap)
        # With several replicas free at once, none takes the share of the next.
        budget_ms = min(config.batch_ms, self.waiting_ms / max(1, places))
        cost, size = 0.0, 0
        while self._heap and len(batch) < config.batch_max:
            head = self._heap[0][-1]
            head_bytes = len(head.task.data)
            full = (
                cost + head.cost_ms > budget_ms
                or size + head_bytes > config.batch_max_bytes
                or cost + head.cost_ms - batch[0].cost_ms > saved_ms
                if batch
                else False
            )
            alone = batch and (head.deaths > 0 or batch[0].deaths > 0)
            if (full or alone) and not head.outcome.done():
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
