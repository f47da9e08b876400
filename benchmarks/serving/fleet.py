"""A cluster that is simulated task by task, scaled by the real policy.

Simulated are arrivals, one line for all gateways (the service's own class), replicas of one core
that take 3 s to start where there is a node and 40 s where there is none yet, and signals as late
as they are in the service. Not simulated: the batches that lie at a replica already, and Ray's own
limits in starting replicas.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from omnishot_ray.errors import Overloaded
from omnishot_ray.serving.autoscaling import SETTLE_S, Fleet, Signals, State, decide
from omnishot_ray.serving.dispatch import DispatchConfig, count_places
from omnishot_ray.serving.load import Arrivals, Latencies
from omnishot_ray.serving.queue import QueueConfig, TaskQueue, Waiting
from omnishot_ray.serving.scaling import AutoscaleConfig

TICK_S = 0.25
"""`RAY_SERVE_CONTROL_LOOP_INTERVAL_S` of the service."""
REPORT_S = 1.0
LATE_S = 1.5
"""A report waits up to a second to be recorded and up to a second to be pushed."""
NOISE = 0.22
"""Standard deviation of the logarithm of true over estimated cost (half of them within ±15 %,
`benchmarks/results/cost.md`)."""


@dataclass(frozen=True)
class Scenario:
    """A load: offered cores of work by the second."""

    name: str
    what: str
    duration_s: float
    offered: Callable[[float], float]


@dataclass(frozen=True)
class Cluster:
    """Where replicas start."""

    nodes: int = 64
    cores_per_node: int = 2
    gateways: int = 4
    replica_start_s: float = 3.0
    node_start_s: float = 40.0


@dataclass(frozen=True)
class Sample:
    """What there was at the end of a second. `p95_ms` is of the ten seconds before."""

    at_s: float
    offered: float
    target: int
    running: int
    queued_s: float
    p95_ms: float
    done: int
    shed: int


@dataclass
class Run:
    """All seconds of a scenario, and every change of the number of replicas."""

    samples: list[Sample] = field(default_factory=list)
    changes: list[tuple[float, int, int, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    """What a task is to the line, and how long it takes a replica, in core-ms."""

    takes_ms: float
    priority: int = 5
    data: bytes = b""


class _NeverLeaves:
    """The promise of an outcome of which nobody asks."""

    def done(self) -> bool:
        return False


class _Service:
    """Replicas and their line, moved on from event to event."""

    def __init__(self, queue: QueueConfig, gateways: int, most: int) -> None:
        self.now = 0.0
        self.running = 1
        # Batches are not simulated: a replica takes one task at a time.
        bound_ms = queue.max_waiting_ms * gateways
        self.waiting = TaskQueue(replace(queue, max_waiting_ms=bound_ms, batch_max=1))
        self.latencies = Latencies()
        self.arrivals = Arrivals()
        self.done = self.shed = 0
        self.busy_s = self.cores_s = 0.0
        self._ends: list[tuple[float, float]] = []
        self._most = most

    @property
    def queued_ms(self) -> float:
        return self.waiting.waiting_ms

    @property
    def busy(self) -> int:
        return len(self._ends)

    def arrive(self, at_s: float, cost_ms: float, takes_ms: float) -> None:
        self.advance(at_s)
        self.arrivals.note(cost_ms, at_s)
        never: Any = _NeverLeaves()
        task: Any = _Task(takes_ms)
        missing = max(0, self._most - self.running)
        waiting, offered = Waiting(task, cost_ms, never, at_s), self.arrivals.cores(at_s)
        try:
            self.waiting.push(waiting, float(self.running), missing, offered)
        except Overloaded:
            self.shed += 1
        self._start()

    def advance(self, until_s: float) -> None:
        while self._ends and self._ends[0][0] <= until_s:
            end_s, arrived_s = heapq.heappop(self._ends)
            self._pass_time(end_s, self.busy + 1)
            self.done += 1
            self.latencies.note((end_s - arrived_s) * 1000.0, end_s)
            self._start()
        self._pass_time(until_s, self.busy)

    def _pass_time(self, until_s: float, busy: int) -> None:
        passed = until_s - self.now
        # A replica that was told to go finishes its task first.
        self.busy_s += min(busy, self.running) * passed
        self.cores_s += self.running * passed
        self.now = until_s

    def resize(self, running: int) -> None:
        self.running = running
        self._start()

    def _start(self) -> None:
        self.shed += len(self.waiting.shed(self.now))
        while self.waiting and self.busy < self.running:
            for one in self.waiting.pop_batch():
                task: Any = one.task
                end_s = self.now + task.takes_ms / 1000.0
                heapq.heappush(self._ends, (end_s, one.enqueued_at))


class Starting:
    """Replicas on their way: at once wanted, later there."""

    def __init__(self, cluster: Cluster, running: int = 1) -> None:
        self._cluster = cluster
        self._ready_at = [0.0] * running
        self._node_ready_at = [0.0] * math.ceil(running / cluster.cores_per_node)

    def want(self, target: int, now_s: float) -> None:
        """Have so many, from now on."""
        cluster = self._cluster
        del self._ready_at[target:]
        del self._node_ready_at[math.ceil(target / cluster.cores_per_node) :]
        while len(self._ready_at) < target:
            node = len(self._ready_at) // cluster.cores_per_node
            if node == len(self._node_ready_at):
                self._node_ready_at.append(now_s + cluster.node_start_s - cluster.replica_start_s)
            there = max(now_s, self._node_ready_at[node]) + cluster.replica_start_s
            self._ready_at.append(there)

    def count(self, now_s: float) -> int:
        """Those that are there."""
        return sum(ready <= now_s for ready in self._ready_at)


class _Signals:
    """What the policy sees: old by `LATE_S`, CPU over the window that Serve keeps.

    `blind` is without the reports: Serve's count of batches out is all there is.
    """

    def __init__(self, service: _Service, gateways: int, blind: bool) -> None:
        self._service = service
        self._gateways, self._blind = gateways, blind
        self._reports: deque[tuple[float, Signals]] = deque()
        self._usage: deque[tuple[float, float, float]] = deque([(0.0, 0.0, 0.0)])
        self.seen = Signals(complete=False)

    def record(self, now_s: float) -> None:
        service = self._service
        if self._blind:
            places = self._gateways * count_places(
                service.running, self._gateways, 1, service.running
            )
            out = min(service.busy + len(service.waiting), places)
            active = out / max(service.running, 1)
            self._reports.append((now_s, Signals(active=active, complete=False)))
            return
        self._usage.append((now_s, service.busy_s, service.cores_s))
        while self._usage[0][0] < now_s - SETTLE_S:
            self._usage.popleft()
        busy = self._usage[-1][1] - self._usage[0][1]
        cores = self._usage[-1][2] - self._usage[0][2]
        report = Signals(
            queued_ms=service.queued_ms,
            waiting=len(service.waiting),
            active=service.busy / max(service.running, 1),
            cpu=busy / cores if cores else 0.0,
            p95_ms=service.latencies.p95(now_s) if service.waiting else 0.0,
            offered=service.arrivals.cores(now_s),
        )
        self._reports.append((now_s, report))

    def read(self, now_s: float) -> Signals:
        while self._reports and self._reports[0][0] <= now_s - LATE_S:
            self.seen = self._reports.popleft()[1]
        return self.seen


def simulate(
    scenario: Scenario,
    costs: tuple[Sequence[float], Sequence[int]],
    config: AutoscaleConfig | None = None,
    cluster: Cluster | None = None,
    seed: int = 1,
    blind: bool = False,
) -> Run:
    """Run a scenario with Poisson arrivals of tasks drawn from `costs` (core-ms, weights).

    `blind` is with no report coming from the gateways.
    """
    config, cluster = config or AutoscaleConfig(), cluster or Cluster()
    chance = random.Random(seed)
    mean_s = sum(c * w for c, w in zip(*costs, strict=True)) / sum(costs[1]) / 1000.0
    target, most = 1, cluster.nodes * cluster.cores_per_node
    service = _Service(DispatchConfig().queue, cluster.gateways, most)
    signals = _Signals(service, cluster.gateways, blind)
    starting, state, run = Starting(cluster), State(), Run()
    for tick in range(round(scenario.duration_s / TICK_S)):
        begin_s, end_s = tick * TICK_S, (tick + 1) * TICK_S
        for at_s in _arrivals(scenario.offered(begin_s) / mean_s, begin_s, chance):
            (cost_ms,) = chance.choices(*costs)
            service.arrive(at_s, cost_ms, cost_ms * math.exp(chance.gauss(0.0, NOISE)))
        service.advance(end_s)
        service.resize(starting.count(end_s))
        fleet = Fleet(service.running, target, 1, most)
        decision = decide(fleet, signals.read(end_s), state, config, end_s)
        state = decision.state
        if decision.replicas != target:
            run.changes.append((end_s, target, decision.replicas, decision.reason))
            target = decision.replicas
            starting.want(target, end_s)
        if (tick + 1) % round(REPORT_S / TICK_S) == 0:
            signals.record(end_s)
            run.samples.append(_sample(scenario, service, target, end_s))
    return run


def _arrivals(per_s: float, begin_s: float, chance: random.Random) -> list[float]:
    times, at_s = [], begin_s
    while per_s > 0:
        at_s += chance.expovariate(per_s)
        if at_s >= begin_s + TICK_S:
            break
        times.append(at_s)
    return times


def _sample(scenario: Scenario, service: _Service, target: int, now_s: float) -> Sample:
    return Sample(
        at_s=now_s,
        offered=scenario.offered(now_s),
        target=target,
        running=service.running,
        queued_s=service.queued_ms / 1000.0,
        p95_ms=service.latencies.p95(now_s),
        done=service.done,
        shed=service.shed,
    )
