"""How much work there is and who is at it: what gateways report, and what a Resizer passes on.

The work waits in the gateways; who decides on the number of Resizers sits in another process and
hears only from the Resizers. So each gateway sends its report to any one of them once a second,
busy or not, and a Resizer passes on those it has got lately, each under the gateway's name. Whoever
reads them takes the newest of each gateway: a report that two Resizers have counts once.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

REPORT_INTERVAL_S = 1.0
"""How often a gateway reports."""

_KEPT_S = 2.0 * REPORT_INTERVAL_S
"""Passed on twice, in case one is lost; Serve keeps what it was told for its look-back time."""
_MAX_GATEWAYS = 1024
"""Far more than there can be: a bound on what is kept of what others send."""
_SHORTEST_S = 0.2
"""Of a measurement of CPU time; its clock ticks in steps of up to 10 ms."""
_FIELDS = ("queued_ms", "waiting", "p95_ms", "offered", "at_s")
_CPU, _ACTIVE = "cpu", "active"


@dataclass(frozen=True, slots=True)
class GatewayLoad:
    """What waits in one gateway.

    `queued_ms` are estimated core-milliseconds in `waiting` tasks, `p95_ms` the time that pooled
    tasks have taken lately, waiting and working together; `offered` the cores that the tasks for
    the pool would keep busy that came lately, those turned away among them: of a queue that is full
    nothing else tells how much more there is. `at_s` is the gateway's `time.time()`.
    """

    gateway_id: str
    queued_ms: float
    waiting: int
    p95_ms: float
    offered: float
    at_s: float


class LoadBook:
    """A Resizer's book: the reports it got, the tasks it has, the CPU time it takes."""

    def __init__(
        self,
        cores: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._cores = max(cores, 1.0)
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._reports: dict[str, tuple[float, GatewayLoad]] = {}
        self._active = 0
        self._measured_at, self._cpu_s = clock(), cpu_clock()
        self._share = 0.0

    def note(self, report: GatewayLoad) -> None:
        """Keep a report unless a newer one of the same gateway is there."""
        self._forget_old()
        known = self._reports.get(report.gateway_id)
        if known is None and len(self._reports) >= _MAX_GATEWAYS:
            return
        if known is None or report.at_s >= known[1].at_s:
            self._reports[report.gateway_id] = (self._clock(), report)

    @contextmanager
    def batch(self, tasks: int) -> Iterator[None]:
        """Counts the tasks of a batch as being here, from its arrival to its answer."""
        self._active += tasks
        try:
            yield
        finally:
            self._active -= tasks

    def stats(self) -> dict[str, float]:
        """For Serve's `record_autoscaling_stats`; `read_loads` and the like read it again.

        `cpu` is this process' share of its cores since the call before, `active` the tasks here.
        """
        self._forget_old()
        stats = {_CPU: self._cpu_share(), _ACTIVE: float(self._active)}
        for _, report in self._reports.values():
            for name in _FIELDS:
                stats[f"{name}@{report.gateway_id}"] = float(getattr(report, name))
        return stats

    def _forget_old(self) -> None:
        oldest = self._clock() - _KEPT_S
        self._reports = {name: kept for name, kept in self._reports.items() if kept[0] >= oldest}

    def _cpu_share(self) -> float:
        now, cpu = self._clock(), self._cpu_clock()
        if now - self._measured_at >= _SHORTEST_S:
            share = (cpu - self._cpu_s) / (now - self._measured_at) / self._cores
            self._share = min(max(share, 0.0), 1.0)
            self._measured_at, self._cpu_s = now, cpu
        return self._share


class Latencies:
    """A gateway's latest task times, for their 95th percentile."""

    def __init__(self, window_s: float = 10.0, most: int = 2048) -> None:
        self._window_s = window_s
        self._times: deque[tuple[float, float]] = deque(maxlen=most)

    def note(self, ms: float, now_s: float) -> None:
        """Take note of a task that took `ms`, done at `now_s`."""
        self._times.append((now_s, ms))

    def p95(self, now_s: float) -> float:
        """Milliseconds, by nearest rank; 0 when nothing was done lately."""
        while self._times and self._times[0][0] < now_s - self._window_s:
            self._times.popleft()
        ordered = sorted(ms for _, ms in self._times)
        return ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else 0.0


class Arrivals:
    """The work that came to a gateway lately, for its mean."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._costs: deque[tuple[float, float]] = deque()
        self._sum_ms = 0.0

    def note(self, cost_ms: float, now_s: float) -> None:
        """Take note of a task for the pool, whether or not there is room for it."""
        self._costs.append((now_s, cost_ms))
        self._sum_ms += cost_ms
        self._forget_old(now_s)

    def cores(self, now_s: float) -> float:
        """Cores that this work keeps busy."""
        self._forget_old(now_s)
        return self._sum_ms / 1000.0 / self._window_s

    def _forget_old(self, now_s: float) -> None:
        while self._costs and self._costs[0][0] < now_s - self._window_s:
            self._sum_ms -= self._costs.popleft()[1]
        if not self._costs:
            self._sum_ms = 0.0  # sums of floats drift


class Stretch:
    """How many times as long as was estimated batches are out, of late; 1 at least.

    More where Resizers have the batches of other gateways too, or others have their cores.
    """

    def __init__(self) -> None:
        self.times = 1.0

    def note(self, estimated_ms: float, took_ms: float) -> None:
        """Take note of a batch that came back."""
        times = max(1.0, took_ms / max(estimated_ms, 1.0))
        self.times += _NEWEST * (times - self.times)


_NEWEST = 0.1
"""The share of the last batch: of the last twenty the stretch is made."""


class Point(Protocol):
    """A value that a replica told, and its `time.time()` then: Serve's `TimeStampedValue`."""

    @property
    def timestamp(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def value(self) -> float:
        """What was told."""
        ...


Told = Mapping[str, Mapping[object, Sequence[Point]]]
"""By name of the value and replica: `raw_metrics` of Serve's `AutoscalingContext`."""


def read_loads(told: Told, now_s: float, stale_s: float) -> list[GatewayLoad]:
    """The newest report of each gateway that is not older than `stale_s`."""
    newest: dict[str, GatewayLoad] = {}
    for name, replicas in told.items():
        kind, _, gateway = name.partition("@")
        if kind != "at_s" or not gateway:
            continue
        for replica in replicas:
            load = _read_load(told, gateway, replica)
            if load is None or abs(now_s - load.at_s) > stale_s:
                continue
            if gateway not in newest or load.at_s > newest[gateway].at_s:
                newest[gateway] = load
    return list(newest.values())


def _read_load(told: Told, gateway: str, replica: object) -> GatewayLoad | None:
    values: list[float] = []
    for name in _FIELDS:
        points = told.get(f"{name}@{gateway}", {}).get(replica, ())
        if not points or not math.isfinite(points[-1].value):
            return None
        values.append(points[-1].value)
    queued_ms, waiting, p95_ms, offered, at_s = values
    return GatewayLoad(gateway, queued_ms, int(waiting), p95_ms, offered, at_s)


def read_cpu(told: Told, replicas: int, now_s: float, stale_s: float) -> float | None:
    """Mean share of CPU of the replicas, `None` unless more than half of them have told it."""
    return _read_mean(told, _CPU, replicas, now_s, stale_s)


def read_active(told: Told, replicas: int, now_s: float, stale_s: float) -> float | None:
    """Mean number of tasks at a replica, `None` unless more than half of them have told it."""
    return _read_mean(told, _ACTIVE, replicas, now_s, stale_s)


def _read_mean(told: Told, name: str, replicas: int, now_s: float, stale_s: float) -> float | None:
    """The mean over the window smooths what one point of a second tells by chance."""
    means: list[float] = []
    for points in told.get(name, {}).values():
        fresh = [point.value for point in points if abs(now_s - point.timestamp) <= stale_s]
        if fresh and all(map(math.isfinite, fresh)):
            means.append(sum(fresh) / len(fresh))
    return sum(means) / len(means) if 2 * len(means) > replicas else None
