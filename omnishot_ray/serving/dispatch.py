"""Which lane a task takes, and what happens to it there. Knows no Ray: lanes are handed in.

Inline lane: work estimated below `inline_ms`, and that cannot run away, is done in this process, in
one thread, because a hop to another process would cost more than it brings. Pool lane: the rest
waits in one queue and is pulled in batches whenever a replica is free; nothing waits for a timer.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter, time
from typing import Any, Protocol

from cachetools import LRUCache

from omnishot_ray.cache.quarantine import Quarantine
from omnishot_ray.errors import (
    EngineUnavailable,
    InternalError,
    OmnishotError,
    Overloaded,
    Quarantined,
    TaskTimeout,
)
from omnishot_ray.imaging.header import Header, read_header
from omnishot_ray.imaging.limits import Limits, check_header
from omnishot_ray.metrics.notes import note_lane
from omnishot_ray.metrics.query import Metrics
from omnishot_ray.metrics.samples import BatchSample, GaugeSample
from omnishot_ray.protocol import AnyOutcome, AnyTask, Made, Task, run_task, with_queue_time
from omnishot_ray.serving.load import Arrivals, GatewayLoad, Latencies, Stretch
from omnishot_ray.serving.overload import DrainRate, Overload, OverloadConfig
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

    async def run(
        self, batch: Sequence[AnyTask], time_limits_s: Sequence[float]
    ) -> Sequence[AnyOutcome | None]:
        """Outcomes in the order of the batch, None for a task that another replica has to do.

        A task that is over its time limit comes back as `TaskTimeout`, and its work has been
        stopped. Raises `ReplicaLost`.
        """
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
    split_ms: float = 150.0
    """Work on several renditions estimated above this is split over the replicas that are free."""
    batches_per_replica: int = 1
    """Batches that are out for each replica, half as many again from several gateways as long as
    no line stands."""
    time_limit_s: float = 10.0
    queue: QueueConfig = field(default_factory=QueueConfig)
    overload: OverloadConfig = field(default_factory=OverloadConfig)

    def __post_init__(self) -> None:
        for name in ("inline_ms", "loop_ms", "inline_waiting_ms", "split_ms"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more")
        if self.batches_per_replica < 1 or self.time_limit_s <= 0:
            raise ValueError("batches_per_replica must be at least 1, time_limit_s more than 0")


_MAX_DEATHS = 2
"""Resizing is pure, so a task whose replica died runs once more; a task that was there twice when
a replica died may be the reason."""

_REPLICA_POLL_S = 0.25
"""How often a queue without a running replica looks for one."""

_GRACE_S = 1.0
"""How much longer than its time limit a task at a replica is waited for: the replica stops the work
itself and says so, and only one that cannot even do that is given up from here."""


_JUDGED_MAX = 1024
"""Tasks that `optimize_now` has judged and `optimize` has not asked after yet."""

_PAUSE_S = 2.0
"""A machine may stand still for so long without a task being to blame for it."""
_LEAST_S = 0.5
"""Of work in a batch, also where less is left: it is begun, so let it be tried."""

_PROMPT_S = 0.01
"""Who waits no longer than this has not waited."""


_QUIET_S = 1.0
"""With nobody coming for so long there is no overload."""

REFUSAL_S = 0.1
"""How long who is turned away waits for that: clients who ask again at once, against Retry-After,
would else take the cores of the work, and be taken for more than they are."""


def count_places(
    replicas: int, gateways: int, each: int, offered: float, stands: bool = False
) -> int:
    """How many batches one of `gateways` may have out, with `each` for a replica.

    Half as much again as its share, because one has more to do than the other: what all of them
    have out waits at the replicas, where no queue bounds it (`docs/architecture.md` has what that
    did to p99). More where little comes: what the others leave if twice as much is `offered` to
    each of them, in cores, as to this one, so that one request can have all replicas to itself.
    No more than its share where its line `stands`: then all have enough to do, and one batch behind
    another only makes both late.
    """
    if stands:
        return math.ceil(replicas * each / gateways)
    share = math.ceil(_OVER_SHARE * replicas * each / gateways)
    left = int(each * (replicas - _AT_TIMES * (gateways - 1) * offered))
    return min(max(share, left), replicas * each)


_OVER_SHARE = 1.5
_AT_TIMES = 2.0
"""How much more than in the mean may come; with 1, splitting cost others 15 % at 60 % load."""


class Dispatcher:
    """The `Optimizer` of a gateway, one of `gateways`.

    There may be `most_replicas` when the pool has grown; 0 is a pool that does not grow. `clock`
    counts seconds from anywhere, as fast as those of the event loop.
    """

    def __init__(
        self,
        pool: Pool,
        config: DispatchConfig,
        limits: Limits,
        quarantine: Quarantine | None = None,
        gateway_id: str = "",
        metrics: Metrics | None = None,
        gateways: int = 1,
        most_replicas: int = 0,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._gateways = gateways
        self._most_replicas = most_replicas
        self._metrics = metrics
        self._config = config
        self._limits = limits
        self._quarantine = quarantine
        self._gateway_id = gateway_id
        self._inline_thread = ThreadPoolExecutor(1, thread_name_prefix="inline")
        self._inline_waiting_ms = 0.0
        self._queue = TaskQueue(config.queue)
        self._batches: set[asyncio.Task[None]] = set()
        self._poll: asyncio.TimerHandle | None = None
        self._came_at = -math.inf
        self._overload = Overload(config.overload, clock)
        self._drain = DrainRate(clock)
        self._latencies, self._arrivals, self._stretch = Latencies(), Arrivals(), Stretch()
        self._judged: LRUCache[object, tuple[Header, float]] = LRUCache(_JUDGED_MAX)

    async def optimize(self, task: Task[Made]) -> Made | OmnishotError:
        """Choose the lane and wait for the outcome, at most `time_limit_s`."""
        try:
            header, cost_ms = self._judge(task)
            if self._is_prompt(task, header, cost_ms):
                note_lane("loop")
                return run_task(task, self._limits, header)
            deadline = self._clock() + self._config.time_limit_s
            if self._fits_inline(task, header, cost_ms):
                note_lane("inline")
                async with asyncio.timeout(self._config.time_limit_s):
                    return await self._run_inline(task, header, cost_ms)
            note_lane("pool")
            async with asyncio.timeout(self._config.time_limit_s + _GRACE_S):
                return await self._run_pooled(task, header, cost_ms, deadline)
        except TimeoutError:
            return self._timed_out()
        except OmnishotError as error:
            return error

    async def optimize_now(self, task: Task[Made], is_new: bool) -> Made | OmnishotError | None:
        """Do what is estimated below `loop_ms`, or say what is wrong with the task; turn it away if
        it is new and the line stands.
        """
        now = self._clock()
        try:
            header, cost_ms = self._judge(task)
            if self._is_prompt(task, header, cost_ms):
                note_lane("loop")
                return run_task(task, self._limits, header)
            if is_new and self._queue.stands and not self._fits_inline(task, header, cost_ms):
                self._queue.check(now, cost_ms, *self._rates(now))
        except Overloaded as refusal:
            note_lane("pool")
            self._note_arrival(cost_ms, now)
            return await self._hold(refusal)
        except OmnishotError as error:
            return error
        self._judged[task.identity] = header, cost_ms
        return None

    async def check_ready(self) -> dict[str, str]:
        """Whether the replicas answer."""
        return {"engine": await self._pool.check_ready()}

    @property
    def highest_effort(self) -> int | None:
        """The effort to keep to while overload lasts; None when all is well."""
        overload = self._config.overload
        self._overload.note(self._fullness())
        return overload.effort if overload.degrade and self._overload.lasts else None

    def report_load(self) -> GatewayLoad:
        """What waits here, for the autoscaler."""
        now = self._clock()
        return GatewayLoad(
            self._gateway_id,
            queued_ms=self._queue.waiting_ms,
            waiting=len(self._queue),
            p95_ms=self._latencies.p95(now),
            offered=self._arrivals.cores(now),
            at_s=time(),
        )

    def gauge(self) -> GaugeSample:
        """What stands here at the moment; of the caches it says nothing."""
        return GaugeSample(
            at_s=time(),
            waiting=len(self._queue),
            waiting_ms=self._queue.waiting_ms,
            active=len(self._batches),
            replicas=self._pool.replicas,
        )

    def _judge(self, task: Task[Made]) -> tuple[Header, float]:
        """The header of the picture and the estimated core-milliseconds. Raises `ImageError`."""
        if self._judged and (judged := self._judged.pop(task.identity, None)):
            return judged
        header = read_header(task.data)
        check_header(header, self._limits)
        if self._quarantine and self._quarantine.is_quarantined(task.digest):
            raise _quarantined()
        return header, task.estimate_ms(header)

    def _is_prompt(self, task: Task[Made], header: Header, cost_ms: float) -> bool:
        return cost_ms < self._config.loop_ms and self._fits_inline(task, header, cost_ms)

    def _timed_out(self) -> TaskTimeout:
        return TaskTimeout(
            f"The work was not done within {self._config.time_limit_s:g} s; "
            "ask for fewer or smaller renditions, a lower effort, or send a smaller picture."
        )

    def _fits_inline(self, task: Task[Made], header: Header, cost_ms: float) -> bool:
        waiting = self._inline_waiting_ms
        return (
            cost_ms < self._config.inline_ms
            and (waiting == 0 or waiting + cost_ms <= self._config.inline_waiting_ms)
            and task.may_run_inline(header)
        )

    async def _run_inline(
        self, task: Task[Made], header: Header, cost_ms: float
    ) -> Made | OmnishotError:
        enqueued_at = self._clock()

        def work() -> Made | OmnishotError:
            started_at = self._clock()
            return _timed(run_task(task, self._limits, header), started_at - enqueued_at)

        def forget(_: object) -> None:
            self._inline_waiting_ms -= cost_ms

        self._inline_waiting_ms += cost_ms
        running = asyncio.get_running_loop().run_in_executor(self._inline_thread, work)
        running.add_done_callback(forget)
        # Shielded: a client that leaves does not end what the thread has begun.
        return await asyncio.shield(running)

    async def _run_pooled(
        self, task: Task[Made], header: Header, cost_ms: float, deadline: float
    ) -> Made | OmnishotError:
        parts = self._split(task, header, cost_ms)
        if len(parts) == 1:
            return await self._enqueue(task, cost_ms, deadline)
        outcomes = await asyncio.gather(
            *(self._enqueue(part, part.estimate_ms(header), deadline) for part in parts)
        )
        made: list[Made] = []
        for outcome in outcomes:
            if isinstance(outcome, OmnishotError):
                return outcome
            made.append(outcome)
        return task.merge(made)

    def _split(self, task: Task[Made], header: Header, cost_ms: float) -> Sequence[Task[Made]]:
        """Parts for the replicas that are free, when that shortens the work."""
        free = self._places() - len(self._batches)
        if free < 2 or self._queue or cost_ms < self._config.split_ms:
            return [task]
        parts = task.split(header, free)
        longest_ms = max(part.estimate_ms(header) for part in parts)
        return parts if longest_ms + self._config.queue.hop_ms < 0.8 * cost_ms else [task]

    async def _enqueue(
        self, task: Task[Made], cost_ms: float, deadline: float
    ) -> Made | OmnishotError:
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        now = self._clock()
        waiting = Waiting(task, cost_ms, outcome, now, deadline)
        self._note_arrival(cost_ms, now)
        try:
            self._queue.push(waiting, *self._rates(now))
        except Overloaded as refusal:
            return await self._hold(refusal)
        self._pump()
        made: Made | OmnishotError = await outcome
        return made

    def _note_arrival(self, cost_ms: float, now: float) -> None:
        self._came_at = now
        self._arrivals.note(cost_ms, now)  # what is turned away is wanted too

    def _rates(self, now: float) -> tuple[float, int, float]:
        """What is worked off, how many replicas more there may be, and what comes."""
        replicas = self._pool.replicas
        missing = max(0, self._most_replicas - replicas)
        return self._drain.per_ms(replicas), missing, self._arrivals.cores(now)

    async def _hold(self, refusal: Overloaded) -> Overloaded:
        self._overload.note(1.0)
        await asyncio.sleep(REFUSAL_S)
        return refusal

    def _places(self) -> int:
        each = self._config.batches_per_replica
        # What takes twice as long keeps twice as many replicas busy.
        offered = self._arrivals.cores(self._clock()) * self._stretch.times
        replicas, stands = self._pool.replicas, self._queue.stands
        return count_places(replicas, self._gateways, each, offered, stands)

    def _pump(self) -> None:
        """Send batches as long as there is work and a free place at a replica."""
        self._shed()
        while self._queue and len(self._batches) < self._places():
            popped = self._queue.pop_batch(self._places() - len(self._batches))
            batch = [waiting for waiting in popped if not self._is_too_late(waiting)]
            if batch:
                running = asyncio.create_task(self._run_batch(batch))
                self._batches.add(running)
                running.add_done_callback(self._on_batch_done)
        self._overload.note(self._fullness())
        # A replica may come, or the load sink, while nobody else asks and no batch ends.
        if self._queue and self._poll is None:
            self._poll = asyncio.get_running_loop().call_later(_REPLICA_POLL_S, self._on_poll)

    def _fullness(self) -> float:
        """How full the line is, as overload counts it.

        A line that stands is short, so often empty for a moment, and all the same more comes than
        is done, until nobody comes.
        """
        comes = self._clock() - self._came_at < _QUIET_S
        return 1.0 if self._queue.stands and comes else self._queue.fill

    def _shed(self) -> None:
        """Turn away who has to go because the line stands."""
        line_ms = self._queue.waiting_ms
        gone = self._queue.shed(self._clock())
        if gone:
            wait_s = line_ms / 1000.0 / self._drain.per_ms(self._pool.replicas)
            for waiting in gone:
                _settle(waiting, _stood(wait_s))

    def _is_too_late(self, waiting: Waiting) -> bool:
        """Settles a task that has waited so long that it would hardly be half done in time.

        One that has not waited is tried: an estimate may be wrong.
        """
        now = self._clock()
        has_waited = now - waiting.enqueued_at > _PROMPT_S
        if not has_waited or now + waiting.cost_ms / 2000.0 < waiting.deadline:
            return False
        _settle(waiting, self._timed_out())
        return True

    def _on_batch_done(self, running: "asyncio.Task[None]") -> None:
        self._batches.discard(running)
        self._pump()

    def _on_poll(self) -> None:
        self._poll = None
        self._pump()

    async def _run_batch(self, batch: Sequence[Waiting]) -> None:
        sent_at = self._clock()
        alone = len(batch) == 1
        limits_s = [self._limit_s(waiting, sent_at, alone) for waiting in batch]
        tasks = [waiting.task for waiting in batch]
        cost_ms = sum(waiting.cost_ms for waiting in batch)
        self._drain.begin()
        try:
            outcomes = await self._pool.run(tasks, limits_s)
        except ReplicaLost as lost:
            logger.warning("replica lost: %s", lost, extra=_request_ids(batch))
            for waiting in batch:
                self._retry(waiting, alone)
        except Exception:
            logger.exception("a batch failed", extra=_request_ids(batch))
            for waiting in batch:
                _settle(waiting, InternalError("The engine failed on this task; it is logged."))
        else:
            estimated_ms = cost_ms + self._config.queue.hop_ms
            self._stretch.note(estimated_ms, (self._clock() - sent_at) * 1000.0)
            for waiting, outcome in zip(batch, outcomes, strict=True):
                self._finish(waiting, outcome, sent_at, alone)
        finally:
            self._drain.end(cost_ms)
            self._record_batch(batch, cost_ms, sent_at)

    def _record_batch(self, batch: Sequence[Waiting], cost_ms: float, sent_at: float) -> None:
        if self._metrics is None:
            return
        failed = sum(
            not w.outcome.done()
            or w.outcome.cancelled()
            or isinstance(w.outcome.result(), Exception)
            for w in batch
        )
        self._metrics.record(
            BatchSample(
                at_s=time(),
                tasks=len(batch),
                bytes_in=sum(len(waiting.task.data) for waiting in batch),
                cost_ms=cost_ms,
                took_ms=(self._clock() - sent_at) * 1000.0,
                failed=failed,
            )
        )

    def _limit_s(self, waiting: Waiting, now: float, alone: bool) -> float:
        """How long a replica may work on a task.

        Till its deadline, and where it has waited long, three times its estimate within the limit:
        what was late through no fault of its own must not cost a replica. In a batch of several
        hardly longer than that either, for the others have deadlines too.
        """
        usual_s = 3.0 * waiting.cost_ms / 1000.0 + 1.0
        left_s = waiting.deadline - now
        if alone:
            return max(left_s, min(usual_s, self._config.time_limit_s))
        return min(max(left_s, _LEAST_S), usual_s + _PAUSE_S)

    def _finish(
        self, waiting: Waiting, outcome: AnyOutcome | None, sent_at: float, alone: bool
    ) -> None:
        if outcome is None:
            self._queue.push_back(waiting)
            return
        if isinstance(outcome, TaskTimeout) and not alone:
            # It has the rest of its time, by itself, behind those whom it has kept waiting.
            waiting.deaths += 1
            self._queue.push_back(waiting, later_s=self._clock() - sent_at)
            return
        if isinstance(outcome, TaskTimeout):
            logger.warning("work was stopped at its limit", extra=_request_ids([waiting]))
            self._blame(waiting)
            outcome = self._timed_out()
        elif waiting.deaths and self._quarantine:
            self._quarantine.clear(waiting.task.digest)
        now = self._clock()
        self._latencies.note((now - waiting.enqueued_at) * 1000.0, now)
        _settle(waiting, _timed(outcome, sent_at - waiting.enqueued_at))

    def _retry(self, waiting: Waiting, alone: bool) -> None:
        """Once more where that may help. A replica may have died of anything, and all of them at
        once, so what was alone with it is blamed only when another one has died too.
        """
        waiting.deaths += 1
        waiting.suspect += alone
        if waiting.deaths < _MAX_DEATHS:
            self._queue.push_back(waiting)
        elif any(self._blame(waiting) for _ in range(waiting.suspect)):
            _settle(waiting, _quarantined())
        else:
            _settle(
                waiting,
                EngineUnavailable(
                    "The replica that worked on this died, twice. Trying later may help, "
                    "unless it is this image that does it."
                ),
            )

    def _blame(self, waiting: Waiting) -> bool:
        """Count a death against the picture; whether it is turned away from now on."""
        if self._quarantine is None:
            return False
        digest = waiting.task.digest
        self._quarantine.note_kill(digest)
        return self._quarantine.is_quarantined(digest)


def _request_ids(batch: Sequence[Waiting]) -> dict[str, list[str]]:
    return {"request_ids": [waiting.task.request_id for waiting in batch]}


def _stood(wait_s: float) -> Overloaded:
    return Overloaded(
        "More work keeps coming than is done, and this had waited behind too much of it; "
        "come back after the time in Retry-After.",
        wait_s,
    )


def _quarantined() -> Quarantined:
    return Quarantined(
        "This picture ended the process that worked on it, twice. It is turned away for an hour; "
        "write it anew with another program before you send it again."
    )


def _timed(outcome: Made | OmnishotError, queue_s: float) -> Made | OmnishotError:
    if isinstance(outcome, OmnishotError):
        return outcome
    return with_queue_time(outcome, outcome.timings.queue + queue_s * 1000.0)


def _settle(waiting: Waiting, outcome: AnyOutcome) -> None:
    if not waiting.outcome.done():
        waiting.outcome.set_result(outcome)
