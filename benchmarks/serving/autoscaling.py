"""How the number of Resizers follows a load: `python -m benchmarks.serving.autoscaling`.

Simulates a cluster of 64 nodes with two cores each, scaled by the real policy, and writes a page
with a plot of each load to benchmarks/results. Takes a few seconds of one core; the seed is fixed.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.machine import page_head
from benchmarks.serving.fleet import Cluster, Run, Sample, Scenario, simulate
from benchmarks.serving.mix import pooled_costs
from omnishot_ray.load.chart import Line, Panel, draw
from omnishot_ray.serving.scaling import AutoscaleConfig

RESULTS = Path(__file__).resolve().parents[1] / "results"
START_S = 120.0
"""Loads change first at this time, when a cluster that starts has come to rest."""
_HOUR_S = 3600.0
_TASK_S = 5.0
"""The dearest tasks take 2 s by themselves: p95 above this is waiting."""
_QUEUE_S = 5.0


def _step(at_s: float) -> float:
    return 20.0 if START_S <= at_s < START_S + 600 else 0.5


def _surge(at_s: float) -> float:
    return 90.0 if START_S <= at_s < START_S + 600 else 1.0


def _ramp(at_s: float) -> float:
    return 1.0 + 99.0 * min(max((at_s - START_S) / 600.0, 0.0), 1.0)


def _spike(at_s: float) -> float:
    return 60.0 if START_S <= at_s < START_S + 60 else 2.0


def _diurnal(at_s: float) -> float:
    return 50.0 - 49.0 * math.cos(2 * math.pi * at_s / _HOUR_S)


SCENARIOS = (
    Scenario("step", "0.5 cores of work, 20 for ten minutes, 0.5 again", 1500, _step),
    Scenario("surge", "1 core of work, 90 for ten minutes, 1 again", 1500, _surge),
    Scenario("ramp", "from 1 core of work to 100 in ten minutes", 1200, _ramp),
    Scenario("spike", "2 cores of work, 60 for one minute", 900, _spike),
    Scenario("diurnal", "1 to 99 cores and back, a day in an hour, twice", 2 * _HOUR_S, _diurnal),
    Scenario("steady", "10 cores of work", 1800, lambda _: 10.0),
)

Row = tuple[str, Callable[[Scenario, Run], str]]


def _first_step(scenario: Scenario, run: Run) -> str:
    before = scenario.offered(START_S - 1.0)
    if max(scenario.offered(START_S + second) for second in range(2)) < 2 * before:
        return "–"
    steps = [at_s for at_s, old, new, _ in run.changes if at_s > START_S and new > old]
    return f"{steps[0] - START_S:.1f}" if steps else "none"


def _longest_queue(_: Scenario, run: Run) -> str:
    """Samples are a second apart."""
    longest = length = 0
    for one in run.samples:
        length = length + 1 if one.queued_s > _QUEUE_S and one.at_s > START_S else 0
        longest = max(longest, length)
    return str(longest)


def _turns(_: Scenario, run: Run) -> str:
    ups = [new > old for _, old, new, _ in run.changes]
    return str(sum(a != b for a, b in pairwise(ups)))


def _slow(_: Scenario, run: Run) -> str:
    late = [one for one in run.samples if one.at_s > START_S and one.p95_ms > _TASK_S * 1000]
    return f"{len(late)}"


def _done(_: Scenario, run: Run) -> str:
    last = run.samples[-1]
    return f"{last.done} ({100 * last.shed / (last.done + last.shed):.1f} %)"


def _spent(_: Scenario, run: Run) -> str:
    """Replicas over cores of work, from when the start is over."""
    settled = [one for one in run.samples if one.at_s > START_S]
    used = sum(one.target for one in settled)
    return f"{used / sum(one.offered for one in settled):.2f}"


ROWS: tuple[Row, ...] = (
    ("seconds to the first step up", _first_step),
    ("longest time with a queue above 5 core-seconds, s", _longest_queue),
    ("most replicas", lambda _, run: str(max(one.target for one in run.samples))),
    ("replicas at the end", lambda _, run: str(run.samples[-1].target)),
    ("changes", lambda _, run: str(len(run.changes))),
    ("turns from up to down or back", _turns),
    ("seconds with p95 above 5 s", _slow),
    ("tasks done (turned away)", _done),
    ("replica-seconds for a core-second of work", _spent),
)


def table(runs: Sequence[tuple[Scenario, Run]]) -> str:
    head = ["| | " + " | ".join(scenario.name for scenario, _ in runs) + " |"]
    head.append("|---|" + "---:|" * len(runs))
    for title, cell in ROWS:
        head.append(f"| {title} | " + " | ".join(cell(*run) for run in runs) + " |")
    return "\n".join(head)


def plot(scenario: Scenario, samples: Sequence[Sample]) -> str:
    return draw(
        f"{scenario.name}: {scenario.what}",
        [one.at_s for one in samples],
        [
            Panel(
                "replicas",
                [
                    Line("wanted", [one.target for one in samples]),
                    Line("running", [one.running for one in samples]),
                    Line("cores of work offered", [one.offered for one in samples]),
                ],
            ),
            Panel("queue, core-seconds", [Line("queue", [one.queued_s for one in samples])]),
            Panel("p95 of 10 s, seconds", [Line("p95", [one.p95_ms / 1000 for one in samples])]),
        ],
    )


def changes(run: Run, most: int = 12) -> str:
    lines = [
        f"{at_s:7.1f} s  {old:3d} -> {new:3d}  {reason}" for at_s, old, new, reason in run.changes
    ]
    more = [f"… and {len(lines) - most} more"] if len(lines) > most else []
    return "\n".join(["```", *lines[:most], *more, "```"])


def page(runs: Sequence[tuple[Scenario, Run]]) -> str:
    costs, weights = pooled_costs()
    mean = sum(c * w for c, w in zip(costs, weights, strict=True)) / sum(weights)
    cluster, config = Cluster(), AutoscaleConfig()
    parts = [
        page_head("Autoscaling, simulated"),
        f"{cluster.nodes} nodes of {cluster.cores_per_node} cores, {cluster.gateways} gateways; a "
        f"replica starts in {cluster.replica_start_s:g} s, on a new node in "
        f"{cluster.node_start_s:g} s.",
        f"Tasks of {min(costs):.0f} to {max(costs):.0f} core-ms, {mean:.0f} in the mean, as the "
        "cost model has them for usual renditions of three photos; true costs differ by ±15 % in "
        "half of the cases.",
        f"The policy has its defaults: drain in {config.drain_s:g} s, CPU {config.cpu_goal:.0%} to "
        f"{config.cpu_limit:.0%}, up after {config.upscale_delay_s:g} s, down after "
        f"{config.downscale_delay_s:g} s. One seed; nothing of this was measured on a cluster.",
        "",
        table(runs),
    ]
    for scenario, run in runs:
        parts += [
            "",
            f"## {scenario.name}",
            "",
            f"![{scenario.what}](autoscaling_{scenario.name}.svg)",
            "",
            changes(run),
        ]
    return "\n".join([*parts, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    costs = pooled_costs()
    runs = [(scenario, simulate(scenario, costs, seed=seed)) for scenario in SCENARIOS]
    print(table(runs))
    for scenario, run in runs:
        (RESULTS / f"autoscaling_{scenario.name}.svg").write_text(plot(scenario, run.samples))
    (RESULTS / "autoscaling.md").write_text(page(runs))


if __name__ == "__main__":
    main()
