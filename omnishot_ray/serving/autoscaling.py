"""How many Resizers there should be: one pure function of what is told, what was, and the time.

Two signals say how many replicas are needed, the others only that there are too few:

- work waiting (core-ms): as many as are busy now, or as what comes would keep busy, and beyond them
  work it off within `drain_s`. Replicas on their way are counted, so this may ask for more while
  others start;
- CPU: as many as bring it down to `cpu_goal`;
- tasks waiting, tasks at a replica, p95 with a queue: a quarter more, or as the ratio says.

All but the first judge replicas that run, so they wait until those asked for before are there and
the window of the measurements has passed. Up goes in steps that at most double, down in quarters
after a time of calm, never below what the CPU needs at its goal. What is not known changes nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from omnishot_ray.serving.scaling import AutoscaleConfig

SETTLE_S = 5.0
"""After the last replica came or went: the window that CPU and batches are measured over."""
_CALM = 0.5
"""Part of a limit below which a signal is calm."""
_QUEUE_PART = 0.5
"""Part of the p95 limit that waiting has to make up: a slow task alone is not helped by cores."""
_LATER_STEPS = 0.25
"""Part of the calm time after which a further step down follows the one before."""
_ALMOST = 1e-9


@dataclass(frozen=True, slots=True)
class Fleet:
    """Replicas that run, that are wanted (running and starting), and that may be."""

    running: int
    target: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known; `None` is what is not.

    `queued_ms`, `waiting` and `offered` (cores of work that comes, a guess by a few seconds) are
    sums over all gateways; `active` is the mean number of tasks at a replica, `cpu` the mean
    share of their cores, 0 to 1. `complete` tells whether every gateway was heard: without one of
    them the rest may add replicas but not take any away.
    """

    queued_ms: float | None = None
    waiting: int | None = None
    active: float | None = None
    cpu: float | None = None
    p95_ms: float | None = None
    offered: float | None = None
    complete: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """What a decision remembers for the next; times in seconds of the same clock."""

    pressed_since: float | None = None
    calm_since: float | None = None
    changed_at: float = -math.inf
    running: int | None = None
    running_since: float = -math.inf
    needed: int = 0
    """The most that was needed since it is calm, or since the last step down."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be, and the signal that decided."""

    replicas: int
    signal: str
    value: float
    threshold: float
    state: State

    @property
    def reason(self) -> str:
        """The signal with its value and threshold, for people."""
        return f"{self.signal} {self.value:.4g} (threshold {self.threshold:.4g})"


@dataclass(frozen=True, slots=True)
class _Want:
    replicas: int
    signal: str
    value: float
    threshold: float


def decide(
    fleet: Fleet, signals: Signals, state: State, config: AutoscaleConfig, now_s: float
) -> Decision:
    """The number of replicas to have from now on.

    More load never gives fewer replicas, and the number is never outside `least` and `most`.
    """
    state = _note_running(fleet, state, now_s)
    within = min(max(fleet.target, fleet.least), fleet.most)
    if within != fleet.target:
        return Decision(within, "bounds", fleet.target, within, replace(state, changed_at=now_s))
    wants = list(_wants(fleet, signals, state, config, now_s))
    pressing = max(wants, key=lambda want: want.replicas, default=None)
    if pressing is not None and pressing.replicas > fleet.target:
        return _step_up(fleet, pressing, state, config, now_s)
    state = replace(state, pressed_since=None)
    needed = _needed(fleet, signals, config)
    if needed is None or not _is_calm(fleet, signals, needed, config):
        # A limit that is crossed while replicas start holds the number as well.
        return _hold(fleet, signals, replace(state, calm_since=None, needed=0))
    return _step_down(fleet, signals, needed, state, config, now_s)


def _note_running(fleet: Fleet, state: State, now_s: float) -> State:
    if state.running == fleet.running:
        return state
    since = -math.inf if state.running is None else now_s
    return replace(state, running=fleet.running, running_since=since)


def _wants(
    fleet: Fleet, signals: Signals, state: State, config: AutoscaleConfig, now_s: float
) -> Iterator[_Want]:
    """What each signal asks for."""
    if signals.queued_ms is not None and _is_queue(fleet, signals, config):
        yield _want_drained(fleet, signals, signals.queued_ms, config)
    starting = fleet.running < fleet.target
    if fleet.running == 0 or starting or now_s - state.running_since < SETTLE_S:
        return
    if signals.cpu is not None and signals.cpu > config.cpu_limit:
        wanted = _whole(fleet.running * signals.cpu / config.cpu_goal)
        yield _Want(wanted, "cpu", signals.cpu, config.cpu_limit)
    yield from _crossed(fleet, signals, config, 1.0)


def _want_drained(
    fleet: Fleet, signals: Signals, queued_ms: float, config: AutoscaleConfig
) -> _Want:
    busy, offered = fleet.running * (signals.cpu or 0.0), signals.offered or 0.0
    needed = _whole(max(busy, offered) + _drained(queued_ms, config))
    if offered > max(busy, fleet.target):
        return _Want(needed, "offered", offered, fleet.target)
    spare = max(fleet.target - max(busy, offered), 0.0)
    return _Want(needed, "queued_ms", queued_ms, round(spare * config.drain_s * 1000.0))


def _crossed(
    fleet: Fleet, signals: Signals, config: AutoscaleConfig, part: float
) -> Iterator[_Want]:
    """Signals above this part of their limits that tell of too few replicas, not of how many."""
    more = fleet.running + max(1, fleet.running // 4)
    # A large fleet has a task waiting here and there at any time.
    limit = max(config.waiting_limit, fleet.running) * part
    if signals.waiting is not None and signals.waiting > limit:
        yield _Want(more, "waiting", signals.waiting, limit)
    # Without reports Serve's count of batches in flight is all there is.
    blind = signals.queued_ms is None and signals.cpu is None
    limit = (config.target_batches if blind else config.active_limit) * part
    if signals.active is not None and signals.active > limit:
        yield _Want(_whole(fleet.running * signals.active / limit), "active", signals.active, limit)
    limit = config.p95_limit_ms * part
    late = signals.p95_ms is not None and signals.p95_ms > limit
    if late and _is_queue(fleet, signals, config):
        yield _Want(more, "p95_ms", signals.p95_ms or 0.0, limit)


def _is_queue(fleet: Fleet, signals: Signals, config: AutoscaleConfig) -> bool:
    """Whether enough waits to be felt; a task here and there waits for no reason at all."""
    wait_ms = (signals.queued_ms or 0.0) / max(fleet.running, 1)
    return wait_ms >= config.p95_limit_ms * _QUEUE_PART


def _step_up(
    fleet: Fleet, want: _Want, state: State, config: AutoscaleConfig, now_s: float
) -> Decision:
    since = now_s if state.pressed_since is None else state.pressed_since
    state = replace(state, pressed_since=since, calm_since=None, needed=0)
    replicas = fleet.target
    if now_s - max(since, state.changed_at) >= config.upscale_delay_s - _ALMOST:
        step = max(fleet.target, config.step_up)
        replicas = min(want.replicas, fleet.target + step, fleet.most)
        if replicas > fleet.target:
            state = replace(state, changed_at=now_s)
    return Decision(replicas, want.signal, want.value, want.threshold, state)


def _needed(fleet: Fleet, signals: Signals, config: AutoscaleConfig) -> int | None:
    """Replicas that what is told now would keep at the goal; `None` when too little is told."""
    if signals.queued_ms is None or signals.cpu is None or not signals.complete:
        return None
    busy = fleet.running * signals.cpu / config.cpu_goal
    return _whole(busy + _drained(signals.queued_ms, config))


def _is_calm(fleet: Fleet, signals: Signals, needed: int, config: AutoscaleConfig) -> bool:
    if None in (signals.waiting, signals.active, signals.p95_ms):
        return False
    return needed < fleet.target and not any(_crossed(fleet, signals, config, _CALM))


def _step_down(
    fleet: Fleet, signals: Signals, needed: int, state: State, config: AutoscaleConfig, now_s: float
) -> Decision:
    since = now_s if state.calm_since is None else state.calm_since
    needed = max(needed, state.needed)
    state = replace(state, calm_since=since, needed=needed)
    delay = config.downscale_delay_s
    due = max(since + delay, state.changed_at + delay * _LATER_STEPS)
    lowest = max(needed, fleet.least)
    if now_s < due - _ALMOST or lowest >= fleet.target:
        return _hold(fleet, signals, state)
    replicas = max(lowest, fleet.target - max(1, fleet.target // 4))
    state = replace(state, changed_at=now_s, needed=0)
    return Decision(replicas, "needed", needed, fleet.target, state)


def _hold(fleet: Fleet, signals: Signals, state: State) -> Decision:
    blind = signals.queued_ms is None or signals.cpu is None
    signal = "missing" if blind else "steady" if signals.complete else "incomplete"
    return Decision(fleet.target, signal, fleet.target, fleet.target, state)


def _drained(queued_ms: float, config: AutoscaleConfig) -> float:
    """Cores that work this off in the time it may take."""
    return queued_ms / 1000.0 / config.drain_s


def _whole(replicas: float) -> int:
    return math.ceil(replicas - _ALMOST)
