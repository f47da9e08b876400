"""The number of Resizers: each signal, all of them together, bounds, patience, a simulated day."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.fleet import Cluster, Run, Scenario, simulate
from benchmarks.serving.mix import pooled_costs
from omnishot_ray.serving.autoscaling import Decision, Fleet, Signals, State, decide
from omnishot_ray.serving.scaling import AutoscaleConfig

CONFIG = AutoscaleConfig()
IDLE = Signals(queued_ms=0.0, waiting=0, active=0.0, cpu=0.0, p95_ms=0.0)
NEW = State()
BUSY = replace(IDLE, cpu=0.7, active=1.0)
"""Neither too much nor so little that a replica of four could go."""


def fleet(running: int, target: int | None = None, least: int = 1, most: int = 128) -> Fleet:
    return Fleet(running, running if target is None else target, least, most)


def settled(there: Fleet, signals: Signals, seconds: float = 2.0, state: State = NEW) -> Decision:
    """What is decided when the same is told for so long; nothing starts meanwhile."""
    decision = decide(there, signals, state, CONFIG, 1000.0)
    for quarter in range(1, round(seconds * 4) + 1):
        decision = decide(there, signals, decision.state, CONFIG, 1000.0 + quarter / 4)
        if decision.replicas != there.target:
            break
    return decision


@pytest.mark.parametrize(
    ("told", "replicas", "signal"),
    [
        ({}, 4, "steady"),
        # 2.8 cores are at work; the fifth drains 11 s of work within 5 s, 10 s need no other.
        ({"queued_ms": 6_000.0}, 4, "steady"),
        ({"queued_ms": 6_100.0}, 5, "queued_ms"),
        ({"queued_ms": 16_100.0}, 7, "queued_ms"),
        ({"queued_ms": 1e6}, 8, "queued_ms"),
        # What comes counts when it waits: 6 cores of it and 1.2 s of a queue.
        ({"offered": 6.0, "queued_ms": 900.0}, 4, "steady"),
        ({"offered": 6.0, "queued_ms": 1_200.0}, 7, "offered"),
        ({"offered": 3.9, "queued_ms": 1_200.0}, 5, "queued_ms"),
        ({"cpu": 0.8, "queued_ms": 900.0}, 4, "steady"),
        ({"waiting": 50}, 4, "steady"),
        ({"waiting": 51}, 5, "waiting"),
        ({"waiting": 100_000}, 5, "waiting"),
        ({"active": 10.0}, 4, "steady"),
        ({"active": 10.1}, 5, "active"),
        ({"active": 15.1}, 7, "active"),
        ({"cpu": 0.8}, 4, "steady"),
        ({"cpu": 0.81}, 6, "cpu"),
        ({"cpu": 1.0}, 7, "cpu"),
        # Late, but nobody waits: the work itself is what takes long.
        ({"p95_ms": 60_000.0}, 4, "steady"),
        ({"p95_ms": 501.0, "queued_ms": 990.0}, 4, "steady"),
        ({"p95_ms": 500.0, "queued_ms": 1_000.0}, 4, "steady"),
        ({"p95_ms": 501.0, "queued_ms": 1_000.0}, 5, "p95_ms"),
        # The one that asks for most decides.
        ({"waiting": 51, "cpu": 0.81}, 6, "cpu"),
        ({"waiting": 51, "cpu": 0.81, "queued_ms": 30_000.0}, 8, "queued_ms"),
        ({"waiting": 51, "active": 15.1, "p95_ms": 501.0, "queued_ms": 1_000.0}, 7, "active"),
    ],
    ids=str,
)
def test_each_signal_and_some_together(told: dict[str, Any], replicas: int, signal: str) -> None:
    decision = settled(fleet(4), replace(BUSY, **told))
    assert (decision.replicas, decision.signal) == (replicas, signal)


def test_the_reason_names_signal_value_and_threshold() -> None:
    assert settled(fleet(4), replace(BUSY, cpu=0.85)).reason == "cpu 0.85 (threshold 0.8)"
    queued = settled(fleet(4), replace(BUSY, queued_ms=20_000.0))
    assert queued.reason == "queued_ms 2e+04 (threshold 6000)"


def test_the_reason_to_go_down_is_what_is_needed() -> None:
    assert settled(fleet(4), replace(IDLE, cpu=0.3), 60.0).reason == "needed 2 (threshold 4)"


def test_a_large_fleet_has_a_task_waiting_here_and_there() -> None:
    assert settled(fleet(100), replace(BUSY, waiting=100)).replicas == 100
    assert settled(fleet(100), replace(BUSY, waiting=101)).replicas == 125


@pytest.mark.parametrize(
    ("running", "most", "replicas"),
    [(1, 128, 5), (3, 128, 7), (4, 128, 8), (20, 128, 40), (100, 128, 128), (2, 3, 3), (3, 3, 3)],
)
def test_a_step_up_doubles_or_adds_four(running: int, most: int, replicas: int) -> None:
    flood = replace(BUSY, queued_ms=1e9)
    assert settled(fleet(running, most=most), flood).replicas == replicas


@pytest.mark.parametrize(
    ("running", "least", "cpu", "replicas"),
    [
        (128, 1, 0.0, 96),
        (5, 1, 0.0, 4),
        (2, 1, 0.0, 1),
        (1, 1, 0.0, 1),
        (8, 7, 0.0, 7),
        (4, 4, 0.0, 4),
        (8, 1, 0.52, 7),
        (8, 1, 0.53, 8),
        (128, 1, 0.4, 96),
        (128, 1, 0.5, 107),
    ],
)
def test_a_step_down_takes_a_quarter_and_leaves_what_is_needed(
    running: int, least: int, cpu: float, replicas: int
) -> None:
    decision = settled(fleet(running, least=least), replace(IDLE, cpu=cpu), 60.0)
    assert decision.replicas == replicas


def test_a_signal_has_to_last_before_a_step_up() -> None:
    flood = replace(BUSY, queued_ms=1e6)
    first = decide(fleet(4), flood, State(), CONFIG, 0.0)
    early = decide(fleet(4), flood, first.state, CONFIG, 1.9)
    assert (first.replicas, early.replicas) == (4, 4)
    assert decide(fleet(4), flood, early.state, CONFIG, 2.0).replicas == 8
    gone = decide(fleet(4), BUSY, early.state, CONFIG, 1.95)
    assert decide(fleet(4), flood, gone.state, CONFIG, 2.0).replicas == 4


def test_steps_up_follow_one_another_while_replicas_start() -> None:
    flood, state, target, targets = replace(BUSY, queued_ms=1e6), State(), 4, []
    for second in range(10):
        decision = decide(fleet(4, target), flood, state, CONFIG, float(second))
        state, target = decision.state, decision.replicas
        targets.append(target)
    assert targets == [4, 4, 8, 8, 16, 16, 32, 32, 64, 64]


@pytest.mark.parametrize(
    "told", [{"cpu": 1.0}, {"waiting": 99}, {"active": 30.0}, {"p95_ms": 9e3, "queued_ms": 4e3}]
)
def test_signals_without_a_number_wait_for_replicas_that_start(told: dict[str, Any]) -> None:
    pressed = replace(BUSY, **told)
    assert settled(fleet(4, target=6), pressed, 30.0).replicas == 6
    state = decide(fleet(4, target=6), pressed, State(), CONFIG, 990.0).state
    assert settled(fleet(6), pressed, 4.0, state).replicas == 6, "the measurements are of before"
    assert settled(fleet(6), pressed, 7.0, state).replicas > 6


def test_down_needs_a_minute_of_calm_and_then_a_quarter_of_one() -> None:
    state, target, changes = State(), 16, []
    for second in range(200):
        decision = decide(fleet(target), IDLE, state, CONFIG, float(second))
        if decision.replicas != target:
            changes.append((second, decision.replicas))
        state, target = decision.state, decision.replicas
    assert changes[:4] == [(60, 12), (75, 9), (90, 7), (105, 6)]
    assert changes[-1][1] == 1


@pytest.mark.parametrize(
    "told",
    [
        {"cpu": 0.7},
        {"queued_ms": 15_100.0},
        {"waiting": 26},
        {"active": 5.1},
        {"p95_ms": 251.0, "queued_ms": 1_000.0},
        {"queued_ms": None},
        {"cpu": None},
        {"waiting": None},
        {"complete": False},
    ],
    ids=str,
)
def test_one_signal_that_is_not_calm_begins_the_minute_anew(told: dict[str, Any]) -> None:
    before = settled(fleet(4), IDLE, 59.0)
    assert before.replicas == 4
    restless = decide(fleet(4), replace(IDLE, **told), before.state, CONFIG, 1059.5)
    assert restless.replicas == 4
    for second in range(1060, 1119):
        calm = decide(fleet(4), IDLE, restless.state, CONFIG, float(second))
        assert calm.replicas == 4
        restless = calm
    assert decide(fleet(4), IDLE, restless.state, CONFIG, 1120.0).replicas == 3


def test_the_busiest_moment_of_the_calm_counts() -> None:
    before = settled(fleet(8), replace(IDLE, cpu=0.5), 30.0)
    decision = before
    for second in range(1031, 1061):
        decision = decide(fleet(8), IDLE, decision.state, CONFIG, float(second))
    assert decision.replicas == 7, "half of eight cores at 60 %"


@pytest.mark.parametrize(
    "signals",
    [
        Signals(),
        Signals(complete=False),
        replace(IDLE, queued_ms=None),
        replace(IDLE, cpu=None),
        replace(IDLE, waiting=None),
        replace(IDLE, active=None),
        replace(IDLE, p95_ms=None),
        replace(IDLE, complete=False),
    ],
    ids=str,
)
def test_what_is_not_known_changes_nothing(signals: Signals) -> None:
    assert settled(fleet(4), signals, 300.0).replicas == 4


def test_with_a_gateway_missing_the_others_may_still_add() -> None:
    assert settled(fleet(4), replace(BUSY, queued_ms=1e6, complete=False)).replicas == 8


def test_without_reports_the_batches_in_flight_may_add() -> None:
    assert settled(fleet(2), Signals(active=2.0)).replicas == 4
    assert settled(fleet(2), Signals(active=1.0)).replicas == 2
    assert settled(fleet(2), Signals(active=2.0, queued_ms=0.0)).replicas == 2


def test_no_replica_running() -> None:
    none = Fleet(running=0, target=1, least=1, most=8)
    blind = Signals(active=None, cpu=None)
    assert settled(none, blind, 100.0).replicas == 1
    waiting = replace(blind, queued_ms=20_000.0, waiting=100, p95_ms=0.0)
    assert settled(none, waiting).replicas == 4
    zero = Fleet(running=0, target=0, least=0, most=8)
    assert settled(zero, waiting).replicas == 4
    assert settled(zero, blind, 100.0).replicas == 0


@pytest.mark.parametrize(("target", "least", "most"), [(9, 1, 4), (1, 2, 4), (4, 4, 4), (5, 3, 3)])
def test_bounds_hold_at_once(target: int, least: int, most: int) -> None:
    decision = decide(fleet(target, least=least, most=most), BUSY, State(), CONFIG, 0.0)
    assert decision.replicas == min(max(target, least), most)


share = st.floats(0, 1)
signals_told = st.builds(
    Signals,
    queued_ms=st.floats(0, 1e6),
    waiting=st.integers(0, 500),
    active=st.floats(0, 30),
    cpu=share,
    p95_ms=st.floats(0, 5_000),
    offered=st.none() | st.floats(0, 200),
    complete=st.booleans(),
)
past = st.none() | st.floats(-200, 0)
states = st.builds(
    State,
    pressed_since=past,
    calm_since=past,
    changed_at=st.floats(-200, 0),
    running=st.none() | st.integers(0, 128),
    running_since=st.floats(-200, 0),
    needed=st.integers(0, 128),
)


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    least, most = sorted((draw(st.integers(0, 128)), draw(st.integers(0, 128))))
    target = draw(st.integers(0, 140))
    return Fleet(draw(st.integers(0, 140)), target, least, most)


def any_missing(draw: st.DrawFn, signals: Signals) -> Signals:
    names = draw(st.sets(st.sampled_from(("queued_ms", "waiting", "active", "cpu", "p95_ms"))))
    return replace(signals, **dict.fromkeys(names))


@given(st.data(), fleets(), signals_told, states)
def test_never_outside_the_bounds_nor_more_than_a_step(
    data: st.DataObject, there: Fleet, signals: Signals, state: State
) -> None:
    signals = any_missing(data.draw, signals)
    decision = decide(there, signals, state, CONFIG, 0.0)
    assert there.least <= decision.replicas <= there.most
    if there.least <= there.target <= there.most:
        assert decision.replicas <= there.target + max(there.target, CONFIG.step_up)
        assert decision.replicas >= there.target - max(1, there.target // 4)
    assert math.isfinite(decision.value)
    assert math.isfinite(decision.threshold)


@given(fleets(), signals_told, states, st.tuples(*[share] * 6))
def test_more_load_never_gives_fewer(
    there: Fleet, signals: Signals, state: State, more: tuple[float, ...]
) -> None:
    queued_ms, waiting, active, cpu, p95_ms, offered = more
    busier = Signals(
        queued_ms=(signals.queued_ms or 0) + 1e5 * queued_ms,
        waiting=(signals.waiting or 0) + int(100 * waiting),
        active=(signals.active or 0) + 10 * active,
        cpu=min(1.0, (signals.cpu or 0) + cpu),
        p95_ms=(signals.p95_ms or 0) + 1e3 * p95_ms,
        offered=(signals.offered or 0) + 100 * offered,
        complete=signals.complete,
    )
    less = decide(there, signals, state, CONFIG, 0.0)
    assert decide(there, busier, state, CONFIG, 0.0).replicas >= less.replicas


@given(st.floats(0, 40), st.integers(1, 64), st.floats(0, 200))
def test_a_constant_load_comes_to_rest(cores: float, running: int, queued_s: float) -> None:
    """Of a fluid: no chance in it. Replicas are there at once."""
    state, target, changes = State(), running, []
    for second in range(900):
        cpu = min(1.0, cores / target) if queued_s < 1e-6 else 1.0
        queued_s = max(0.0, queued_s + cores - target)
        signals = replace(
            IDLE,
            queued_ms=queued_s * 1000,
            waiting=int(queued_s * 4),
            cpu=cpu,
            active=cpu,
            p95_ms=300 + queued_s / target * 1000,
            offered=cores,
        )
        decision = decide(fleet(target), signals, state, CONFIG, float(second))
        if decision.replicas != target:
            changes.append((second, target, decision.replicas))
        state, target = decision.state, decision.replicas
    assert not [change for change in changes if change[0] > 600], changes
    assert cores / target <= CONFIG.cpu_limit
    assert target <= max(1, math.ceil(cores / CONFIG.cpu_goal))
    assert _turns([replicas for _, _, replicas in changes], running) <= 2


def _turns(targets: Sequence[int], first: int) -> int:
    """How often up is followed by down or down by up."""
    signs = [b > a for a, b in zip((first, *targets), targets, strict=False) if a != b]
    return sum(a != b for a, b in pairwise(signs))


def run_day(offered: Any, seconds: float) -> Run:
    scenario = Scenario("test", "", seconds, offered)
    return simulate(scenario, pooled_costs(), cluster=Cluster(nodes=8))


def test_simulated_step_is_followed_drained_and_left() -> None:
    run = run_day(lambda at_s: 6.0 if 60 <= at_s < 360 else 0.4, 700)
    first = next(at_s for at_s, before, after, _ in run.changes if at_s > 60 and after > before)
    assert first - 60 <= 10, "seconds to react"
    second = {round(one.at_s): one for one in run.samples}
    assert second[180].queued_s < 1, "drained, nodes of 40 s included"
    assert second[180].running >= 6 / CONFIG.cpu_limit
    assert second[360].shed == second[180].shed, "nothing is turned away once they are there"
    assert _turns([after for at_s, _, after, _ in run.changes if 180 < at_s < 360], 0) <= 1
    assert run.samples[-1].target <= 2


def test_simulated_steady_load_does_not_flap() -> None:
    run = run_day(lambda _: 5.0, 1200)
    late = [change for change in run.changes if change[0] > 400]
    assert len(late) <= 2, late
    assert run.samples[-1].p95_ms < 3_000, "the dearest tasks alone take 1.8 s"
