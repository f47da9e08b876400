"""What is measured: the engine in processes of its own, and the running service under wrk.

All rows take turns, round by round, so that a slow minute of the machine meets each of them in one
round and none of them in all. Every round of the engine has a process of its own, the rounds of the
service are shared by several services: where memory lies and which process got which core is luck
that lasts as long as the process, and would otherwise be taken for a change (as pyperf does it).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time

from benchmarks import engine
from benchmarks.guard.yardstick import speed, stretch
from benchmarks.peers import servers, wrk
from benchmarks.usage import cpu_by_part
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.pipeline import process

COMMAND = "python -m omnishot_ray.cli serve --port {port}"
CONNECTIONS = 8
SERVICES = 2
ENGINE, SERVED, SERVED_CPU = "engine: ", "served: ", "served, CPU: "
"""What the names of rows begin with."""
_ENGINE_S, _TURN_S, _SERVED_S = 1.0, 0.03, 2.0
_ENGINE = ("400 → 200 JPEG", "2725×2225 → 720×588 JPEG", "800 → 300 WebP", "1600 → 4 platforms")
_SERVED = {
    "400 → 200 JPEG": ("400", "/api/optimize?width=200&format=jpeg&effort=2", False),
    "400 → 200 JPEG, cached": ("400", "/api/optimize?width=200&format=jpeg", True),
    "2725×2225 → 720×588 JPEG": (
        "sharp",
        "/api/optimize?width=720&height=588&gravity=center&format=jpeg&effort=2",
        False,
    ),
    "1600 → 4 platforms": (
        "1600",
        "/api/variants?platforms=instagram-post,facebook-post,x-post,pinterest-pin&effort=2",
        False,
    ),
    "/health": ("", "/health", False),
}


def measure_engine(rounds: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Runs a second of CPU time over the yardstick's, for each round."""
    measured: dict[str, list[float]] = {}
    for _ in range(rounds):
        run = subprocess.run(
            [sys.executable, "-m", "benchmarks.guard.rows"],
            # As replicas keep their memory: without it a part of the time is page faults.
            env={**os.environ, **MALLOC},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for name, ratio in json.loads(run.stdout).items():
            measured.setdefault(name, []).append(ratio)
    _say_all(measured, say)
    return measured


def engine_round(seconds: float = _ENGINE_S) -> dict[str, float]:
    """Each task of the engine for so long, in turns of a few hundredths of a second with the
    yardstick: the machine changes its speed within seconds.
    """
    files, measured = engine.prepare(), {}
    for task in engine.tasks():
        if task.name not in _ENGINE:
            continue
        data = files[task.photo].read_bytes()
        process(data, task.wanted, Limits())
        until, count, spent, stretches, stretched = perf_counter() + seconds, 0, 0.0, 0, 0.0
        while perf_counter() < until:
            turn = 0.0
            while turn < _TURN_S:
                started = process_time()
                process(data, task.wanted, Limits())
                turn += process_time() - started
                count += 1
            spent += turn
            stretched += stretch()
            stretches += 1
        measured[ENGINE + task.name] = (count / spent) / (stretches / stretched)
    return measured


def measure_served(rounds: int, say: Callable[[str], None]) -> dict[str, list[float]]:
    """Requests a second, and a second of the service's CPU time, over the yardstick's before and
    after, for each round.

    The first is what clients see, and as restless as the machine; the second tells small changes.
    """
    files = engine.prepare()
    measured: dict[str, list[float]] = {}
    for number in range(SERVICES):
        with ExitStack() as up:
            server = up.enter_context(servers.ours(COMMAND, 120))
            for round_number in range(rounds // SERVICES + (number < rounds % SERVICES) + 1):
                for name, rate in _drive_all(server, files):
                    if round_number:  # the first warms up
                        measured.setdefault(name, []).append(rate)
    _say_all(measured, say)
    return measured


def _drive_all(server: servers.Server, files: Mapping[str, Path]) -> Iterator[tuple[str, float]]:
    assert server.pid is not None
    before = speed()
    for name, (photo, path, same) in _SERVED.items():
        jpeg, url = files[photo].read_bytes() if photo else None, server.url + path
        spent_before = cpu_by_part(server.pid).total()
        load = wrk.drive(url, jpeg, seconds=_SERVED_S, connections=CONNECTIONS, same=same)
        spent = cpu_by_part(server.pid).total() - spent_before
        if load.not_ok or load.broken:
            raise SystemExit(f"{name}: {load.not_ok} errors, {load.broken} broken connections")
        after = speed()
        usual = (before + after) / 2
        yield SERVED + name, load.requests_per_second / usual
        yield SERVED_CPU + name, load.requests / spent / usual
        before = after


def _say_all(measured: Mapping[str, list[float]], say: Callable[[str], None]) -> None:
    for name, ratios in measured.items():
        say(f"{name}: {' '.join(f'{ratio:.4g}' for ratio in ratios)}")


if __name__ == "__main__":
    print(json.dumps(engine_round()))
