"""What planning takes: memory of the driver and of the planner, by the number of planned members.

    python -m benchmarks.batch_plan [--members 1000 1000000] > FILE.md

The index is made up: headers of a tar that is not there. Twice for each number: the plan alone in
one process, and through Ray Data with a stage that does nothing, where the driver is measured.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import machine
from benchmarks.rss import peak_bytes, start_peak
from omnishot_ray.batch.job import BatchJob, read_renditions
from omnishot_ray.batch.members import Container, Found, Range, Shard
from omnishot_ray.batch.places import Place
from omnishot_ray.batch.plan import cut

JOB = BatchJob(("made up",), "nowhere", read_renditions(variants=[{"name": "a", "width": 100}]))
TAR = Container(0, Place("/made/up.tar"), "tar", 10**12, 1)


def shards(count: int) -> Iterator[Shard]:
    """The plan of a tar with so many pictures of 100 kB."""
    found = (Found(f"folder/{n:09d}.jpg", 100_000, Range(n * 100_352)) for n in range(count))
    return cut(TAR, found, JOB, "job")


def measure_plan(count: int) -> dict[str, float]:
    """The plan alone."""
    sum(1 for _ in shards(1000))
    before = start_peak()
    began = perf_counter()
    planned = sum(1 for _ in shards(count))
    seconds = perf_counter() - began
    return {"shards": planned, "seconds": seconds, "grown_mb": (peak_bytes() - before) / 1e6}


def measure_driver(count: int) -> dict[str, float]:
    """Through Ray Data: the growth of the driver between the first shard and the last."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    from benchmarks.batch_plan_ray import run  # noqa: PLC0415 - brings Ray along

    return run(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, nargs="+", default=[1_000, 1_000_000])
    parser.add_argument("--one", choices=["plan", "driver"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        measure = {"plan": measure_plan, "driver": measure_driver}[given.one]
        print(json.dumps(measure(given.members[0])))
        return
    print(machine.page_head("Planning of a batch"))
    print("| members | what | shards | s | grown by, MB |\n|---|---|---|---|---|")
    for count in given.members:
        for what in ("plan", "driver"):
            row = _in_process(what, count)
            print(
                f"| {count:,} | {what} | {row['shards']:,.0f} | {row['seconds']:.1f} "
                f"| {row['grown_mb']:.1f} |"
            )


def _in_process(what: str, count: int) -> Any:
    command = [sys.executable, "-m", "benchmarks.batch_plan", "--one", what, "--members"]
    run = subprocess.run(
        [*command, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
