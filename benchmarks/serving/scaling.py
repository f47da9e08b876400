"""The real service with more and more cores, and how its Resizers follow a load.

    python -m benchmarks.serving.scaling [--only replicas ramp spike nodes] [--seconds 20] [--short]

`replicas`: one Resizer, two, … as many as there are cores, everything sent to them. `ramp` and
`spike`: from one Resizer to as many as there are cores and back, with the seconds that it took.
`nodes`: two Ray nodes on this machine, one killed under load. `--short` is for a look: stages of
few seconds, and a service that scales down after 8 s instead of 60. Load from this machine on the
same cores, on 127.0.0.1 alone.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

import psutil

from benchmarks import machine
from omnishot_ray.load.chart import Line, Panel, draw
from omnishot_ray.load.report import build_report
from omnishot_ray.load.run import Run, run_shape
from omnishot_ray.load.service import own_service
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import Mix
from omnishot_ray.load.watch import Seen, Watch

PRICE_CORE_HOUR = 0.0446
"""US dollars of a vCPU of AWS c7i on demand in us-east-1."""
DEAR = Mix({"photo": 2, "webp": 2, "variants": 1}, reuse=0.0)
"""Nothing that a gateway would do."""
THINK_S = 0.3
"""Of the users of ramp and spike: one alone keeps a quarter of a core busy, so that Resizers go."""
HEAD = (
    "| resizers | requests/s | efficiency | p50 ms | p99 ms | cores | cost of 1 000 requests |",
    "|---:|---:|---:|---:|---:|---:|---:|",
)
"""Requests and not images: one in five asks for four of them."""
POOLED = {"OMNISHOT_DISPATCH__INLINE_MS": "0"}


@dataclass(frozen=True)
class Plan:
    """Seconds of the stages, and of calm before Resizers go."""

    seconds: float
    calm_s: float
    downscale_s: float


@dataclass(frozen=True)
class Part:
    """What a part of the page says, and its plot."""

    title: str
    lines: Sequence[str]
    plot: str = ""


def load(name: str, stages: Sequence[tuple[int, float]], think_s: float = 0.0) -> Shape:
    return Shape(name, name, tuple(Stage(*one) for one in stages), Thresholds(), think_s)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def measure_replicas(plan: Plan) -> Part:
    """Throughput, efficiency, p99 and the cost of 1 000 requests by the cores that were busy."""
    lines = list(HEAD)
    first = 0.0
    for count in range(1, cores() + 1):
        settings = POOLED | {
            "OMNISHOT_RESIZERS__MIN_REPLICAS": str(count),
            "OMNISHOT_RESIZERS__MAX_REPLICAS": str(count),
        }
        with own_service(settings) as (url, pid):
            shape = load("replicas", [(4 * count, 4.0), (4 * count, plan.seconds)])
            with Watch(psutil.Process(pid)) as watch:
                run = run_shape(shape, url, DEAR, decode_every=100)
        step = build_report(run, watch.seen, {})["steps"][1]
        first = first or step["rps"]
        lines.append(replica_row(count, step, first))
    return Part("Resizers", lines)


def replica_row(count: int, step: Mapping[str, Any], first: float) -> str:
    """A line of the table; `first` is the throughput of one Resizer."""
    if not step["rps"]:
        return f"| {count} | 0 | | | | {step['cpu']:.2f} | |"
    cost = PRICE_CORE_HOUR * step["cpu"] / 3600 / step["rps"] * 1000
    return (
        f"| {count} | {step['rps']:.1f} | {step['rps'] / (count * first):.0%} | "
        f"{step['p50']:.0f} | {step['p99']:.0f} | {step['cpu']:.2f} | ${cost:.5f} |"
    )


def measure_ramp(plan: Plan) -> Part:
    """Users who come one after the other, and go."""
    most = 6 * cores()
    steps = [(users, plan.seconds / 2) for users in range(1, most + 1)]
    return _measure_following("ramp", [*steps, (1, plan.calm_s)], plan)


def measure_spike(plan: Plan) -> Part:
    """Users who come all at once, and go."""
    most = 10 * cores()
    stages = [(1, plan.seconds), (most, 2 * plan.seconds), (1, plan.calm_s)]
    return _measure_following("spike", stages, plan)


def _measure_following(name: str, stages: Sequence[tuple[int, float]], plan: Plan) -> Part:
    settings = POOLED | {
        "OMNISHOT_RESIZERS__MIN_REPLICAS": "1",
        "OMNISHOT_RESIZERS__MAX_REPLICAS": str(max(2, cores())),
        "OMNISHOT_RESIZERS__AUTOSCALE__DOWNSCALE_DELAY_S": f"{plan.downscale_s:g}",
    }
    shape = load(name, stages, THINK_S)
    with own_service(settings) as (url, pid), Watch(psutil.Process(pid)) as watch:
        _wait_for_replicas(watch, 1)
        run = run_shape(shape, url, DEAR, decode_every=100)
    return Part(f"Autoscaling, {name}", reactions(run, watch.seen), _plot(name, run, watch.seen))


def _wait_for_replicas(watch: Watch, count: int, most_s: float = 60.0) -> None:
    """Those that the start has brought on top go first."""
    until = monotonic() + most_s
    while monotonic() < until and watch.seen[-1].replicas != count:
        sleep(0.5)


def reactions(run: Run, seen: Sequence[Seen]) -> list[str]:
    """When Resizers came and went, in seconds since the load of the highest stage and its end."""
    shape, looks = run.shape, [one for one in seen if one.at_s >= run.started_at]
    most = max(stage.users for stage in shape.stages)
    before_s = 0.0
    begins_s = ends_s = 0.0
    for stage in shape.stages:
        if stage.users > shape.stages[0].users and not begins_s:
            begins_s = before_s or 1e-9
        before_s += stage.seconds
        if stage.users == most:
            ends_s = before_s
    lines = ["| what | seconds |", "|---|---:|"]
    replicas = looks[0].replicas if looks else 0
    lines.append(f"| Resizers at the beginning | {replicas} |")
    for one in looks:
        at_s = one.at_s - run.started_at
        if one.replicas == replicas:
            continue
        since, event = at_s - begins_s, "more load"
        if one.replicas < replicas and at_s >= ends_s:
            since, event = at_s - ends_s, "its end"
        lines.append(f"| {replicas} → {one.replicas}, after {event} | {since:.1f} |")
        replicas = one.replicas
    wrong = sum(not one.is_right and not one.is_shed for one in run.answers)
    shed = sum(one.is_shed for one in run.answers)
    lines.append(f"| wrong answers, 429, of all | {wrong}, {shed}, {len(run.answers)} |")
    return lines


def _plot(name: str, run: Run, seen: Sequence[Seen]) -> str:
    rows = build_report(run, seen, {})["seconds"]

    def line(title: str, key: str) -> Line:
        return Line(title, [float(row.get(key) or 0.0) for row in rows])

    return draw(
        f"{name}: how the Resizers follow",
        [float(row["at"] + 1) for row in rows],
        [
            Panel("number", [line("Resizers", "replicas"), line("users", "users")]),
            Panel("requests a second", [line("requests", "rps")]),
            Panel("p95, ms", [line("p95", "p95")]),
            Panel("CPU, cores", [line("CPU", "cpu")]),
        ],
    )


@contextmanager
def _two_nodes() -> Iterator[tuple[int, Callable[[str, str], dict]]]:
    """Two nodes and a way to steer them, see `nodes.py`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.serving.nodes", "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    assert process.stdout

    def ask(line: str, event: str) -> dict:
        if line:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        for said in process.stdout:
            if said.startswith("{") and (told := json.loads(said))["event"] == event:
                return told
        raise SystemExit("the nodes have ended")

    try:
        ask("", "ready")
        yield port, ask
    finally:
        process.stdin.close()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def measure_nodes(plan: Plan) -> Part:
    """Throughput and losses while one of two nodes dies and another comes."""
    mix = Mix({"thumbnail": 6, "webp": 2, "variants": 1}, reuse=0.0)
    marks: list[tuple[str, float]] = []
    with _two_nodes() as (port, ask):
        shape = load("nodes", [(6, 4 * plan.seconds)])

        def note(second: float, *_: object) -> None:
            if len(marks) == 0 and second > plan.seconds:
                ask("kill 0", "killed")
                marks.append(("killed", time()))
            elif len(marks) == 1 and second > 2 * plan.seconds:
                ask("add", "added")
                marks.append(("added", time()))

        run = run_shape(shape, f"http://127.0.0.1:{port}", mix, decode_every=100, on_progress=note)
    lines = ["| | right/s | p95 ms | 429 | wrong | what |", "|---|---:|---:|---:|---:|---|"]
    edges = [run.started_at, *(at_s for _, at_s in marks), run.started_at + shape.seconds]
    for number, name in enumerate(("two nodes", "one killed", "another there")[: len(edges) - 1]):
        from_s, until_s = edges[number], edges[number + 1]
        within = [one for one in run.answers if from_s <= one.at_s < until_s]
        right = sorted(one.ms for one in within if one.is_right)
        p95 = right[int(0.95 * (len(right) - 1))] if right else 0.0
        shed = sum(one.is_shed for one in within)
        wrong = Counter(one.problem for one in within if not one.is_right and not one.is_shed)
        what = ", ".join(f"{count} {problem}" for problem, count in wrong.most_common())
        rate = len(right) / max(until_s - from_s, 1e-9)
        lines.append(f"| {name} | {rate:.1f} | {p95:.0f} | {shed} | {wrong.total()} | {what} |")
    return Part("Nodes", lines)


PARTS: dict[str, Callable[[Plan], Part]] = {
    "replicas": measure_replicas,
    "ramp": measure_ramp,
    "spike": measure_spike,
    "nodes": measure_nodes,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--seconds", type=float, default=20.0, help="of a stage")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write a page and its plots")
    given = parser.parse_args()
    plan = Plan(5.0, 35.0, 8.0) if given.short else Plan(given.seconds, 150.0, 60.0)
    page = [machine.page_head("Scaling of the running service")]
    stem = f"scaling_{datetime.now(UTC):%Y%m%d_%H%M%S}"
    for name in given.only:
        print(f"{name} …", file=sys.stderr, flush=True)
        part = PARTS[name](plan)
        page += [f"## {part.title}", "", *part.lines, ""]
        if part.plot and given.results:
            (given.results / f"{stem}_{name}.svg").write_text(part.plot)
            page += [f"![{part.title}]({stem}_{name}.svg)", ""]
    print("\n".join(page))
    if given.results:
        (given.results / f"{stem}.md").write_text("\n".join(page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
