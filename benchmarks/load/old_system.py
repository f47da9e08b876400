"""The load steps of the system that this one replaces, on it and on us, side by side.

    python -m benchmarks.load.old_system [--seconds 20] [--old FILE] [--results DIR]

Users, success rate, requests a second and memory delta at 1, 5, 10, 20 and 30 users. The old
system is its Express + sharp backend (`benchmarks/peers/express_sharp`), asked for the same
pictures: thumbnails, photos and WebP, none twice. Both stay up; the one not measured stands still,
and at each step they take turns. `--old FILE` takes the old column from a report that was kept
instead, one that `omnishot loadtest --json` wrote or just `{"steps": [{"users", "success_rate",
"rps", "memory_delta_mb", "p50", "p95", "p99"}, …]}`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks import machine
from benchmarks.peers import servers
from omnishot_ray.load.report import build_report, read_earlier
from omnishot_ray.load.run import run_shape
from omnishot_ray.load.shapes import Shape, Stage, build_shape
from omnishot_ray.load.traffic import MIXES
from omnishot_ray.load.watch import Watch

READY_S = 120.0
Step = Mapping[str, Any]


def measure(server: servers.Server, stage: Stage) -> Step:
    """One step on one of them."""
    steps = build_shape("steps")
    shape = Shape("steps", steps.what, (stage,), steps.thresholds, steps.think_s)
    assert server.pid
    with Watch(psutil.Process(server.pid)) as watch:
        run = run_shape(shape, server.url, MIXES["plain"])
    (step,) = build_report(run, watch.seen, {})["steps"]
    return step


def table(old: Sequence[Step], ours: Sequence[Step]) -> str:
    """By users; the old column is empty where it has no such step."""
    lines = [
        "| users | success, old | ours | req/s, old | ours | memory Δ MB, old | ours |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    by_users = {step["users"]: step for step in old}
    for step in ours:
        before = by_users.get(step["users"], {})
        lines.append(
            f"| {step['users']} | {_share(before)} | {_share(step)} | {_rate(before)} | "
            f"{_rate(step)} | {_memory(before)} | {_memory(step)} |"
        )
    return "\n".join(lines)


def _share(step: Step) -> str:
    return f"{step['success_rate']:.1%}" if "success_rate" in step else ""


def _rate(step: Step) -> str:
    return f"{step['rps']:.1f}" if "rps" in step else ""


def _memory(step: Step) -> str:
    return f"{step['memory_delta_mb']:+.0f}" if "memory_delta_mb" in step else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a step")
    parser.add_argument("--old", type=Path, help="a report of the old system")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write a page")
    given = parser.parse_args()
    kept = read_earlier(json.loads(given.old.read_text()))["steps"] if given.old else None
    old: list[Step] = list(kept or [])
    ours: list[Step] = []
    with ExitStack() as up:
        peer = None if kept else up.enter_context(servers.peer(READY_S))
        us = up.enter_context(servers.ours("omnishot serve --port {port}", READY_S))
        for stage in build_shape("steps", None, given.seconds).stages:
            print(f"{stage.users} users …", file=sys.stderr, flush=True)
            if peer:
                with us.paused():
                    old.append(measure(peer, stage))
            with peer.paused() if peer else ExitStack():
                ours.append(measure(us, stage))
    page = "\n".join(
        [
            machine.page_head("The old system's load steps"),
            table(old, ours),
            "",
            "Requests a second are right answers; the load comes from the same cores.",
            "",
        ]
    )
    print(page)
    if given.results:
        name = f"old_system_{datetime.now(UTC):%Y%m%d_%H%M%S}.md"
        (given.results / name).write_text(page)
    return 0 if all(step["failures"] == 0 for step in ours) else 1


if __name__ == "__main__":
    sys.exit(main())
