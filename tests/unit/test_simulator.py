"""The simulation against queueing theory and against what must hold of any service."""

import json
import math
import random
from dataclasses import replace
from statistics import mean

import pytest
import simpy

from benchmarks.simulator import predict
from benchmarks.simulator.cores import NICE_WEIGHTS, Node, Thread
from benchmarks.simulator.limits import parts
from benchmarks.simulator.measured import (
    LARGE,
    SMALL,
    WARM_S,
    Calm,
    Load,
    Measured,
    Round,
    from_dict,
)
from benchmarks.simulator.model import LOST, RIGHT, Layout, Service, run_closed, run_open
from benchmarks.simulator.predict import mean_work, run_load, slowed, slowness, times_of
from benchmarks.simulator.times import Times, all_ways, estimate, name_of, read_times, wanted_of
from benchmarks.simulator.validate import HEAD, KINDS_HEAD, compare, line
from omnishot_ray.load.pictures import Picture, drawn_library
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES, Mix, Traffic, without
from omnishot_ray.serving.dispatch import DispatchConfig
from omnishot_ray.serving.queue import QueueConfig

LIBRARY = drawn_library()
USUAL = Traffic(LIBRARY, replace(without(MIXES["usual"], {"job"}), reuse=0.0))
ONE_KIND = Traffic(LIBRARY, Mix({"variants": 1}, reuse=0.0))


def only_way() -> tuple[str, float]:
    ((name, ask),) = all_ways(LIBRARY, ONE_KIND.mix).items()
    return name, estimate(ask)


@pytest.mark.parametrize("load", [0.4, 0.7])
def test_a_single_server_waits_as_theory_says(load: float) -> None:
    """Pollaczek and Khinchine: the mean wait of M/G/1 is λ E[S²] / 2 (1 − ρ)."""
    name, cost_ms = only_way()
    spread = 0.3
    times = Times({name: cost_ms}, edge_ms=0.0, byte_ms=0.0, noise=spread)
    config = DispatchConfig(inline_ms=1e6, inline_waiting_ms=1e12)
    rate = load / cost_ms * 1000.0
    service = Service(Layout(gateways=1), times, config)
    answers = run_open(service, ONE_KIND, rate, 4000.0 / rate)
    waited = mean(ms for _, ms, _ in answers.rows) - cost_ms
    second_moment = cost_ms**2 * math.exp(spread**2)
    expected = rate / 1000.0 * second_moment / (2 * (1 - load))
    assert waited == pytest.approx(expected, rel=0.25)


def test_cores_are_shared_by_weight() -> None:
    env = simpy.Environment()
    node = Node(env, 1, shared=True)
    threads = [Thread(node), Thread(node, nice=5)]
    done = [0.0, 0.0]

    def spin(number: int):
        while True:
            yield from threads[number].run(400.0)
            done[number] += 400.0

    for number in (0, 1):
        env.process(spin(number))
    env.run(until=20_000)
    assert sum(done) == pytest.approx(20_000, rel=0.05)
    assert done[1] / done[0] == pytest.approx(NICE_WEIGHTS[5], rel=0.1)


@pytest.mark.parametrize("cores", [1, 2, 3])
def test_no_core_rests_while_somebody_waits(cores: int) -> None:
    env = simpy.Environment()
    node = Node(env, cores, shared=True)
    done = []

    def spin(thread: Thread, part_ms: float):
        while True:
            yield from thread.run(part_ms)
            done.append(part_ms)

    for number in range(2 * cores + 1):
        env.process(spin(Thread(node, nice=5 * (number % 2)), 3.0 + 7.0 * number))
    env.run(until=5_000)
    assert sum(done) == pytest.approx(5_000 * cores, rel=0.05)


def test_who_wakes_does_not_wait_for_the_end_of_long_work() -> None:
    env = simpy.Environment()
    node = Node(env, 1, shared=True)
    waited, chance = [], random.Random(1)

    def hog(thread: Thread):
        while True:
            yield from thread.run(500.0)

    def visit(thread: Thread):
        while True:
            yield env.timeout(chance.uniform(20.0, 50.0))
            begun = env.now
            yield from thread.run(1.0)
            waited.append(env.now - begun - 1.0)

    env.process(hog(Thread(node)))
    env.process(visit(Thread(node)))
    env.run(until=10_000)
    assert len(waited) > 200
    assert mean(waited) < 1.0
    assert max(waited) < 1.5  # less than a slice: who runs is interrupted as soon as he may be


def test_a_load_begins_as_one_that_has_been_there_leaves_the_service(monkeypatch) -> None:
    made = []

    class Seen(Service):
        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            made.append(self)

    monkeypatch.setattr(predict, "Service", Seen)
    measured = measured_service()
    load = replace(measured.rounds[0].loads[0], mix="plain", users=3)
    seen, _ = run_load(measured, times_of(measured), load, 3)
    (service,) = made
    assert all(0.0 <= row[0] <= WARM_S + load.seconds for row in seen)
    # The plain mix has nothing for the pool, so this is of before.
    assert all(row[4] != "pool" for row in seen)
    assert service.gateways[0].drain.per_ms(100) < 100


@pytest.mark.parametrize(("threads", "longer"), [(1, 1.0), (2, 1.5)])
def test_cores_beside_each_other_are_slower(threads: int, longer: float) -> None:
    env = simpy.Environment()
    node = Node(env, 2, shared=True, beside=1.5)
    for _ in range(threads):
        env.process(Thread(node).run(1000.0))
    env.run()
    assert env.now == pytest.approx(1000.0 * longer, rel=0.01)


def test_a_seed_gives_the_same_run() -> None:
    rows = [
        run_open(Service(Layout(shared=True), Times()), USUAL, 30.0, 10.0).rows for _ in range(2)
    ]
    assert rows[0] == rows[1]


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_nobody_does_more_than_his_cores(cores: int) -> None:
    layout = Layout(cores=cores, gateways=cores, replicas=cores, shared=True)
    shape = Shape("x", "x", (Stage(8 * cores, 10.0),), Thresholds(), think_s=0.0)
    crowd = Traffic(LIBRARY, replace(USUAL.mix, think_s=0.0))
    answers = run_closed(Service(layout, Times(noise=0.0)), crowd, shape)
    asks = crowd.visitor(0)
    spent = mean(estimate(next(asks)) for _ in range(3000))
    ideal = cores * 1000.0 / spent
    # What is dear is shed, so what is left is cheaper than the mean.
    assert 0.5 * ideal < answers.figures(2, 10)["rps"] < 1.3 * ideal


def test_a_node_that_dies_costs_what_it_held() -> None:
    layout = Layout(nodes=3, cores=2, gateways=6, replicas=6, shared=True, failures=((8.0, 1),))
    service = Service(layout, Times())
    answers = run_open(service, USUAL, 60.0, 30.0)
    lost = [at_ms for at_ms, _, how in answers.rows if how == LOST]
    assert len(lost) <= 40
    assert all(at_ms < 8000 for at_ms in lost), "later nothing is lost"
    assert len(service.gateways) == 4
    assert len(service.replicas) == 6, "its Resizers are elsewhere"
    late = answers.figures(15, 30)
    assert late["rps"] == pytest.approx(60, rel=0.15)


def test_redis_finds_what_gateways_of_other_nodes_made() -> None:
    hot = Traffic(LIBRARY, replace(USUAL.mix, reuse=0.9, catalogue=200))
    apart = Layout(nodes=8, cores=1, gateways=8, replicas=8)
    layouts = (apart, replace(apart, nodes=1, cores=8), replace(apart, redis=True))
    alone, together, redis = (run_open(Service(one, Times()), hot, 60, 20).hits for one in layouts)
    assert redis > 1.5 * alone > 0
    assert alone < together <= redis, "gateways of a node hand on what they have made"


def test_what_could_run_away_is_never_done_in_a_gateway() -> None:
    config = DispatchConfig(inline_ms=1e6, inline_waiting_ms=1e12)
    seen = run_open(Service(Layout(), Times(), config), USUAL, 20.0, 20.0).seen
    ways = {kind: {way for _, one, _, _, way in seen if one == kind} for _, kind, *_ in seen}
    assert ways["avif"] == {"pool"}
    assert ways["photo"] == {"inline"}
    assert ways["platform"] == {"inline", "pool"}


def test_resizers_follow_the_load() -> None:
    heavy = Traffic(LIBRARY, Mix({"avif": 1}, reuse=0.0))
    layout = Layout(cores=8, gateways=4, replicas=1, most_replicas=8)
    answers = run_open(Service(layout, Times()), heavy, 15.0, 60.0)
    counts = [count for _, count in answers.replicas]
    assert counts[0] == 1
    assert max(counts) >= 4
    assert answers.figures(40, 60)["rps"] == pytest.approx(15, rel=0.2)


def test_a_line_may_stand_while_resizers_start() -> None:
    heavy = Traffic(LIBRARY, Mix({"avif": 1}, reuse=0.0))
    layout = Layout(cores=8, gateways=1, replicas=1, most_replicas=8)
    turned_away = []
    for growth_s in (QueueConfig().growth_s, 0.0):
        config = DispatchConfig(queue=QueueConfig(growth_s=growth_s, standing_tasks=0))
        answers = run_open(Service(layout, Times(), config), heavy, 8.0, 20.0)
        turned_away.append(answers.figures()["shed"])
    assert turned_away[0] < turned_away[1] / 2


def test_beyond_the_bound_is_429() -> None:
    heavy = Traffic(LIBRARY, Mix({"avif": 1}, reuse=0.0))
    figures = run_open(Service(Layout(cores=1, gateways=1), Times()), heavy, 20.0, 30.0).figures()
    assert figures["shed"] > 0.5
    assert figures["p99"] < 12_000


def test_answers_have_figures() -> None:
    answers = run_open(Service(Layout(), Times()), USUAL, 20.0, 5.0)
    figures = answers.figures()
    assert figures["p50"] <= figures["p95"] <= figures["p99"]
    assert {how for *_, how in answers.rows} == {RIGHT}
    found = parts(64, 1000.0, answers, 5.0)
    assert [part.busy for part in found] == sorted((part.busy for part in found), reverse=True)


def test_times_are_read_as_they_were_written(tmp_path) -> None:
    times = Times({"a": 1.5}, edge_ms=0.7, background=0.1)
    times.write(tmp_path / "times.json")
    assert read_times(tmp_path / "times.json") == times


ENGINE = {
    name: estimate(ask)
    for mix in (SMALL, LARGE, USUAL.mix)
    for name, ask in all_ways(LIBRARY, mix).items()
}
EDGE_MS, PROXY_MS, FACTOR, IDLE = 2.5, 0.5, 1.2, 0.15


def measured_load(name: str, mix: Mix, slow: float) -> Load:
    """As a service of known costs takes it, on a machine that is `slow` times as slow."""
    kinds = list(mix.weights) * 100
    answers = [(WARM_S + 0.01 * at, kind, 50.0, "", "miss") for at, kind in enumerate(kinds)]
    load = Load(name, 6, 20.0, 7, 8.0 * slow, 20.0, {}, 1.5 * FACTOR * slow, answers)
    pixels, megabytes = mean_work(ENGINE, load)
    each = FACTOR * slow * len(kinds) / 1000
    rest = (EDGE_MS + pixels + Times().byte_ms * megabytes) * each
    proxy = PROXY_MS * each
    return replace(load, cpu={"haproxy": proxy, "gateways": rest, "ray": IDLE * 20.0})


def measured_service() -> Measured:
    rounds = []
    for slow in (1.0, 1.3, 1.4):
        calm = [
            Calm(kind, 0.2, 10.0 * slow * ratio, 8.0, 20.0 * slow)
            for kind in USUAL.mix.weights
            for ratio in (1.0, 1.1, 1.2)
        ]
        loads = [measured_load("small", SMALL, slow), measured_load("large", LARGE, slow)]
        rounds.append(Round(8.0 * slow, calm, *loads, [replace(loads[1], mix="usual")]))
    return Measured(1, ENGINE, 8.0, 1.0, {"ray": IDLE}, rounds)


def test_calibration_finds_the_costs_whatever_the_machine_does_meanwhile() -> None:
    times = times_of(measured_service())
    assert times.edge_ms == pytest.approx(EDGE_MS, rel=0.02)
    assert times.proxy_ms == pytest.approx(PROXY_MS, rel=0.02)
    assert times.busy == pytest.approx(FACTOR, rel=0.02)
    assert times.client_ms == pytest.approx(1.5, rel=0.02)
    assert times.background == pytest.approx(IDLE)
    # A core that others have for a part of the time.
    assert times.calm_of["photo"] == pytest.approx(1.1 * 10 / 8 * (1 - IDLE), rel=0.02)


def test_a_slow_machine_is_slow_in_everything() -> None:
    times = replace(times_of(measured_service()), noise=0.0)
    rate = 5.0
    means = [
        mean(ms for _, ms, _ in run_open(Service(Layout(), one), USUAL, rate, 40.0).rows)
        for one in (times, slowed(times, 2.0))
    ]
    assert means[1] > 1.9 * means[0]


def test_a_load_tells_how_slow_the_machine_was_meanwhile() -> None:
    measured = measured_service()
    times = replace(times_of(measured), noise=0.0)
    load = replace(measured.rounds[0].loads[0], mix="plain", users=3)
    slow = 1.5
    seen, spent_ms = run_load(measured, slowed(times, slow), load, 3)
    counted = [row for row in seen if WARM_S <= row[0] < WARM_S + load.seconds]
    spent_s = spent_ms * len(counted) / 1000 + IDLE * load.cpu_s
    again = replace(load, answers=counted, cpu={"gateways": spent_s})
    around, by_load = slowness(measured, times, again)
    assert around == pytest.approx(1.0)
    assert by_load == pytest.approx(slow, rel=0.03)


def test_a_load_from_elsewhere_takes_no_core_of_the_service() -> None:
    """Else all the visitors of a cluster would share the one thread that measured it."""
    slow = Times(noise=0.0, client_ms=5.0, client_byte_ms=5.0)
    rate = 400.0  # more than 1000 / 5
    far, near = (
        run_open(Service(Layout(8, 8, 40, 64), times), USUAL, rate, 5.0).figures(1)
        for times in (slow.without_load(), slow)
    )
    assert far["rps"] > 0.9 * rate
    assert near["rps"] < 0.7 * rate


def test_times_of_measuring_are_put_together_and_their_medians_shown() -> None:
    whole = measured_service()
    short = [replace(one, loads=[replace(one.loads[0], seconds=2.0)]) for one in whole.rounds[:1]]
    (row,), kinds, _ = compare([replace(whole, rounds=short)] * 2)
    assert len(row.pairs) == 2
    measured = len([one for one in short[0].loads[0].answers if WARM_S <= one[0] < WARM_S + 2]) / 2
    assert {pair.rps[0] for pair in row.pairs} == {measured}
    assert row.rate_errors[0] == pytest.approx(row.pairs[0].rps[1] / measured - 1)
    cells = [cell.strip() for cell in line(row).split("|")[1:-1]]
    assert len(cells) == HEAD.split("\n")[0].count("|") - 1
    assert cells[:4] == ["1", "usual", "6", str(int(4 * measured))]
    assert all(one.count("|") == KINDS_HEAD.split("\n")[0].count("|") for one in kinds)


def test_measurements_are_read_as_they_were_written() -> None:
    measured = measured_service()
    assert from_dict(json.loads(json.dumps(measured.as_dict()))) == measured


def test_visitors_who_stay_go_on_where_they_were() -> None:
    shape = Shape("x", "x", (Stage(2, 5.0), Stage(2, 5.0)), Thresholds())
    alone = Shape("x", "x", (Stage(2, 10.0),), Thresholds())
    rows = [run_closed(Service(Layout(), Times()), USUAL, one).rows[:20] for one in (shape, alone)]
    assert rows[0] == rows[1]


def test_equal_gateways_take_turns() -> None:
    service = Service(Layout(cores=8, gateways=4, replicas=4), Times())
    run_open(service, USUAL, 2.0, 30.0)
    asked = [one.loop.busy_ms for one in service.gateways]
    assert min(asked) > 0.3 * max(asked)


def test_dear_work_on_several_renditions_is_split_over_free_replicas() -> None:
    name, cost_ms = only_way()
    config = DispatchConfig(inline_ms=0.0, split_ms=cost_ms / 2)
    means = []
    for replicas in (1, 4):
        layout = Layout(cores=8, gateways=1, replicas=replicas)
        service = Service(layout, Times({name: cost_ms}, noise=0.0), config)
        means.append(mean(ms for _, ms, _ in run_open(service, ONE_KIND, 0.5, 60.0).rows))
    assert means[1] < 0.75 * means[0]


def test_every_way_has_a_cost() -> None:
    for name, ask in all_ways(LIBRARY, USUAL.mix).items():
        assert name == name_of(ask)
        assert 0.5 < estimate(ask) < 1000
        assert isinstance(ask.picture, Picture)
        assert bool(wanted_of(ask)) == bool(ask.expected)
