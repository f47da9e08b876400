"""The engine alone, without a server: milliseconds of one core, and how it scales over processes.

    python -m benchmarks.engine [--rounds 15] [--processes N] [--json FILE]

Same photos and tasks as benchmarks/peers, so that what the service adds can be read off.
"""

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.peers import images
from omnishot_ray.imaging.cost import estimate_ms
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import process

FOUR = ("instagram-post", "facebook-post", "x-post", "pinterest-pin")


@dataclass(frozen=True)
class Task:
    """One row: a photo and what is wanted of it."""

    name: str
    photo: str
    wanted: tuple[Options, ...]


def _one(**given: object) -> tuple[Options, ...]:
    return (parse_options(given),)


def _four(effort: int) -> tuple[Options, ...]:
    return tuple(
        parse_options({"platform": name, "quality": 85, "effort": effort}) for name in FOUR
    )


TASKS = (
    Task("400→200 JPEG, effort 2", "400", _one(width=200, format="jpeg", effort=2)),
    Task("400→200 JPEG", "400", _one(width=200, format="jpeg")),
    Task(
        "2725×2225→720×588 JPEG, effort 2",
        "sharp",
        _one(width=720, height=588, format="jpeg", effort=2),
    ),
    Task("2725×2225→720×588 JPEG", "sharp", _one(width=720, height=588, format="jpeg")),
    Task("800→300 WebP", "800", _one(width=300, format="webp")),
    Task("800→300 AVIF", "800", _one(width=300, format="avif")),
    Task("1600→4 platforms, effort 2", "1600", _four(2)),
    Task("1600→4 platforms", "1600", _four(4)),
    Task("3200→4 platforms, effort 2", "3200", _four(2)),
)


def measure(data: bytes, wanted: Sequence[Options], rounds: int) -> tuple[float, dict[str, float]]:
    """The fastest of `rounds` runs in milliseconds, and its stages."""
    best, stages = float("inf"), {}
    for _ in range(rounds):
        started = perf_counter()
        result = process(data, wanted, Limits())
        ms = (perf_counter() - started) * 1000
        if ms < best:
            t = result.timings
            best = ms
            stages = {"decode": t.decode, "transform": t.transform, "encode": t.encode}
    return best, stages


def run_for(data: bytes, wanted: Sequence[Options], seconds: float) -> int:
    """How often the task is done in this process within `seconds`."""
    done, deadline = 0, perf_counter() + seconds
    while perf_counter() < deadline:
        process(data, wanted, Limits())
        done += 1
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=2.0, help="per row, all processes at once")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    photos = images.prepare()
    rows = []
    n = given.processes
    print(f"{'task':34} {'ms':>7} {'decode':>7} {'transf.':>7} {'encode':>7} {'est.':>7} {n}×/s")
    with ProcessPoolExecutor(n) as pool:
        for task in TASKS:
            data = photos[task.photo].path.read_bytes()
            ms, stages = measure(data, task.wanted, given.rounds)
            estimate = estimate_ms(len(data), read_header(data), task.wanted)
            runs = [pool.submit(run_for, data, task.wanted, given.seconds) for _ in range(n)]
            rate = sum(run.result() for run in runs) / given.seconds
            cells = [ms, *stages.values(), estimate, rate]
            print(f"{task.name:34} " + " ".join(f"{cell:7.1f}" for cell in cells), flush=True)
            rows.append({"task": task.name, "ms": ms, **stages, "estimate": estimate, "rate": rate})
    if given.json:
        given.json.write_text(json.dumps({"processes": n, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
