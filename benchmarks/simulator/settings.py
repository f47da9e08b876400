"""What settings do that only matter in a crowd, by simulation: the queue, overload, autoscaling.

    python -m benchmarks.simulator.settings [--times FILE] [--seconds 120] > FILE.md

Each value of a setting meets the same requests (the seeds are fixed) as the default, which stands
first. What can be measured in a service on this machine is in `benchmarks/settings.py` instead.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean

from benchmarks import machine
from benchmarks.serving.autoscaling import SCENARIOS
from benchmarks.serving.fleet import simulate
from benchmarks.serving.mix import pooled_costs
from benchmarks.simulator.model import Layout, Service, rank, run_open
from benchmarks.simulator.times import Times, all_ways, estimate, name_of, read_times
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import MIXES, Mix, Traffic, without
from omnishot_ray.serving.dispatch import DispatchConfig
from omnishot_ray.serving.scaling import AutoscaleConfig

LAYOUT = Layout(cores=8, gateways=4, replicas=8, shared=True, urgent=0.1)
_USUAL = replace(without(MIXES["usual"], {"job"}), reuse=0.0)
_DEAR = Mix({"thumbnail": 6, "photo": 2, "webp": 2, "variants": 1, "avif": 1}, reuse=0.0)
_POOLED = DispatchConfig(inline_ms=0.0)
_TASK_S = 5.0
"""The dearest tasks take 2 s by themselves: p95 above this is waiting."""
_DRAWN = 2000
_HEAD = (
    "| value | right/s | turned away | p50 ms | p99 ms | p99 thumbnails | p95 AVIF | p95 urgent |\n"
    "|---:|---:|---:|---:|---:|---:|---:|---:|"
)


@dataclass(frozen=True)
class Sweep:
    """Values of a setting under requests of a mix that come at `load` of what the cores can do."""

    name: str
    values: Sequence[float]
    mix: Mix
    load: float
    config: DispatchConfig = field(default_factory=DispatchConfig)

    def config_with(self, value: float) -> DispatchConfig:
        """The configuration with this value of the setting."""
        return with_value(self.config, self.name.removeprefix("dispatch."), value)


SWEEPS = (
    Sweep("dispatch.inline_waiting_ms", (500, 0, 5000), _USUAL, 0.85),
    Sweep("dispatch.batches_per_replica", (1, 2, 4), _DEAR, 0.8, _POOLED),
    Sweep("dispatch.queue.max_waiting_s", (5, 1, 20), _DEAR, 1.5, _POOLED),
    Sweep("dispatch.queue.standing_s", (0.3, 0.1, 2), _DEAR, 1.5, _POOLED),
    Sweep("dispatch.queue.standing_after_s", (0.5, 0, 5), _DEAR, 1.5, _POOLED),
    Sweep("dispatch.queue.max_waiting_ms", (60_000, 1000, 4000), _DEAR, 1.5, _POOLED),
    Sweep("dispatch.queue.ageing_s", (0.5, 0, 2), _DEAR, 0.95, _POOLED),
    Sweep("dispatch.queue.cost_weight", (1, 0, 5), _DEAR, 0.95, _POOLED),
    Sweep("dispatch.queue.hop_ms", (4, 0, 20), _DEAR, 0.95, _POOLED),
    Sweep("dispatch.queue.batch_ms", (60, 1, 240), _DEAR, 0.95, _POOLED),
    Sweep("dispatch.queue.batch_max", (16, 1, 64), _DEAR, 0.95, _POOLED),
    Sweep("dispatch.queue.batch_max_bytes", (48 << 20, 1 << 20), _DEAR, 0.95, _POOLED),
)
AUTOSCALE: Mapping[str, Sequence[float]] = {
    "drain_s": (5, 1, 20),
    "waiting_limit": (50, 5, 500),
    "active_limit": (10, 1, 100),
    "cpu_limit": (0.8, 0.65, 0.95),
    "cpu_goal": (0.6, 0.4, 0.75),
    "p95_limit_ms": (500, 100, 5000),
    "upscale_delay_s": (2, 0, 10),
    "downscale_delay_s": (60, 10, 300),
    "step_up": (4, 1, 16),
    "stale_s": (10, 1, 60),
    "target_batches": (1, 0.5, 1.4),
}
_BLIND = "target_batches"
"""Counts only where no report comes."""
SCALED = ("step", "spike", "steady")


def with_value(config: DispatchConfig, path: str, value: float) -> DispatchConfig:
    """A copy with `a.b` set, in the kind of number that it is."""
    part, _, name = path.rpartition(".")
    inner = getattr(config, part) if part else config
    kind = type(getattr(inner, name))
    changed = replace(inner, **{name: kind(value)})
    return replace(config, **{part: changed}) if part else changed


def capacity(mix: Mix, times: Times) -> float:
    """Requests a second that the cores could do if they did nothing else, one after the other."""
    asks = Traffic(drawn_library(), mix).visitor(0)
    costs = {
        name: times.engine.get(name, estimate(ask)) + times.edge(ask)
        for name, ask in all_ways(drawn_library(), mix).items()
    }
    each = mean(costs[name_of(next(asks))] for _ in range(_DRAWN))
    return LAYOUT.cores * 1000.0 / each


def sweep_table(sweep: Sweep, times: Times, seconds: float) -> list[str]:
    """A row for each value."""
    rate = sweep.load * capacity(sweep.mix, times)
    lines = [
        f"## `{sweep.name}`",
        "",
        f"{LAYOUT.cores} cores, {sweep.load:.0%} of what they can do"
        + (", all through the pool." if sweep.config == _POOLED else "."),
        "",
        _HEAD,
    ]
    for value in sweep.values:
        service = Service(LAYOUT, times, sweep.config_with(value))
        traffic = Traffic(drawn_library(), sweep.mix)
        answers = run_open(service, traffic, rate, seconds)
        seen = answers.figures(from_s=seconds / 6)
        kinds = defaultdict[str, list[float]](list)
        kinds.update({kind: sorted(ms) for kind, ms in answers.right_ms.items()})
        lines.append(
            f"| {value:g} | {seen['rps']:.1f} | {seen['shed']:.1%} | {seen['p50']:.0f} | "
            f"{seen['p99']:.0f} | {rank(kinds['thumbnail'], 0.99):.0f} | "
            f"{rank(kinds['avif'], 0.95):.0f} | {rank(kinds['urgent'], 0.95):.0f} |"
        )
    return [*lines, ""]


def autoscale_table(
    name: str, values: Sequence[float], costs: tuple[list[float], list[int]]
) -> list[str]:
    """A row for each value: what a step, a spike and a day cost and how late they were."""
    lines = [f"## `resizers.autoscale.{name}`", ""]
    if name == _BLIND:
        lines += ["Without reports from the gateways.", ""]
    lines.append(
        "| value | "
        + " | ".join(f"{one}: s with p95 > 5 s | replica-s / core-s | changes" for one in SCALED)
        + " |"
    )
    lines.append("|---:|" + "---:|---:|---:|" * len(SCALED))
    kind = type(getattr(AutoscaleConfig(), name))
    for value in values:
        config, cells = replace(AutoscaleConfig(), **{name: kind(value)}), []
        for scenario in (one for one in SCENARIOS if one.name in SCALED):
            run = simulate(scenario, costs, config, blind=name == _BLIND)
            late = sum(one.p95_ms > _TASK_S * 1000 for one in run.samples)
            spent = sum(one.target for one in run.samples) / sum(one.offered for one in run.samples)
            cells += [str(late), f"{spent:.2f}", str(len(run.changes))]
        lines.append(f"| {value:g} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=Path, help="what `simulator.validate --write` has measured")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--only", nargs="+", metavar="PART", help="settings with this in the name")
    given = parser.parse_args()

    def wanted(name: str) -> bool:
        return not given.only or any(part in name for part in given.only)

    times = read_times(given.times) if given.times else Times()
    times = replace(times.without_load(), background=0.0)
    print(machine.page_head("What settings do, by simulation"))
    for sweep in SWEEPS:
        if wanted(sweep.name):
            print("\n".join(sweep_table(sweep, times, given.seconds)), flush=True)
    costs = pooled_costs()
    for name, values in AUTOSCALE.items():
        if wanted(f"resizers.autoscale.{name}"):
            print("\n".join(autoscale_table(name, values, costs)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
