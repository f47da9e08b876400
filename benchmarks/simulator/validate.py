"""The simulation beside the running service, on one core and on two.

    python -m benchmarks.simulator.validate [--seconds 30] [--write FILE] [--results DIR]

First measures what the model needs: each piece of work of the engine by itself; the service's and
the load's own CPU for a request of thumbnails; how much longer the engine takes in the service,
calm and busy. Then predicts loads that were not used for that,
runs them, and compares throughput and p95; the goal is an error of at most 15 %. Exit code 1 when
one is missed. On a machine that does nothing else; takes about seven minutes.
"""

import argparse
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from statistics import mean, median
from time import sleep
from urllib.parse import urlsplit

import psutil

from benchmarks import machine
from benchmarks.simulator.model import Layout, Service, run_closed
from benchmarks.simulator.times import Times, estimate, measure_engine, name_of
from omnishot_ray.load.messages import pack
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.report import build_report
from omnishot_ray.load.run import run_shape
from omnishot_ray.load.service import own_service
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES, Ask, Mix, Traffic, without
from omnishot_ray.load.watch import Watch

GOAL = 0.15
WARM_S, IDLE_S = 4.0, 8.0
SETTLE_S = 12.0
"""Ready is not yet calm: processes that were started in advance still import."""
LOADS: tuple[tuple[str, int], ...] = (("usual", 2), ("usual", 8), ("plain", 4))
"""Mixes and users that are predicted."""
_SMALL = Mix({"upload": 1, "thumbnail": 1}, reuse=0.0)
_SMALL_USERS = 12
"""Enough that what they take stands out from what the service takes by itself."""
_LARGE = Mix({"photo": 1, "webp": 1, "platform": 1}, reuse=0.0)
"""Pixels that a gateway makes itself."""
_BUSY_USERS = 6
"""For each core."""
_CALM_REQUESTS, _CALM_S = 200, 0.05
_NOBODY = 1_000_000
"""A number that no visitor of a load has."""
_ENGINE = frozenset({"decode", "transform", "encode"})


@dataclass(frozen=True)
class Compared:
    """One load: measured and simulated."""

    cores: int
    mix: str
    users: int
    rps: tuple[float, float]
    p95: tuple[float, float]

    @property
    def errors(self) -> tuple[float, float]:
        """Of the simulation, as shares of what was measured."""
        return tuple(  # type: ignore[return-value]
            (simulated - measured) / measured for measured, simulated in (self.rps, self.p95)
        )


def mix_of(name: str) -> Mix:
    """A mix without jobs, which the model does not have."""
    mix = MIXES[name]
    return without(mix, {"job"}) if "job" in mix.weights else mix


def shape_of(users: int, seconds: float) -> Shape:
    """A stage that warms up, and one that counts."""
    stages = (Stage(users, WARM_S), Stage(users, seconds))
    return Shape("validate", "two stages", stages, Thresholds(), think_s=0.05)


def measure(
    url: str, pid: int, mix: Mix, users: int, seconds: float, idle: float = 0.0
) -> dict[str, float]:
    """Throughput and p95 of a load, and core-ms a request of the service and of the load.

    `idle` are cores that the service takes without any.
    """
    with Watch(psutil.Process(pid)) as watch:
        run = run_shape(shape_of(users, seconds), url, mix, decode_every=50)
    step = build_report(run, watch.seen, {})["steps"][1]
    if step["failures"] > step["shed"]:
        raise SystemExit(f"wrong answers: {step['errors']}")
    begun = run.started_at + WARM_S
    within = [one for one in watch.seen if begun + 1.0 < one.at_s <= begun + seconds]
    cpu = sum(one.cpu for one in within) / max(1, len(within))
    counted = [one for one in run.answers if one.at_s >= begun] or run.answers
    kinds = Counter(one.kind for one in counted)
    return {
        **{f"share of {kind}": count / len(counted) for kind, count in kinds.items()},
        "rps": step["rps"],
        "p95": step["p95"],
        "service_ms": max(0.0, cpu - idle) / step["rps"] * 1000.0,
        "client_ms": run.cpu_s / max(1, len(run.answers)) * 1000.0,
        "cores": cpu + run.cpu_s / (WARM_S + seconds),
    }


def measure_idle(pid: int) -> float:
    """Cores that the service takes while nobody asks for anything."""
    sleep(SETTLE_S)
    with Watch(psutil.Process(pid)) as watch:
        sleep(IDLE_S)
    looks = watch.seen[1:]
    return sum(one.cpu for one in looks) / max(1, len(looks))


def calibrate(url: str, pid: int, cores: int, engine: dict[str, float], seconds: float) -> Times:
    """What a request costs beside its pixels, and these in the service."""
    idle = measure_idle(pid)
    small = measure(url, pid, _SMALL, _SMALL_USERS, seconds, idle)
    pixels, megabytes = mean_work(_SMALL, engine, small)
    plain = Times(engine=engine)
    edge_ms = max(0.1, small["service_ms"] - pixels - plain.byte_ms * megabytes)
    busy = measure(url, pid, _LARGE, _BUSY_USERS * cores, seconds, idle)
    pixels, megabytes = mean_work(_LARGE, engine, busy)
    factor = (busy["service_ms"] - edge_ms - plain.byte_ms * megabytes) / pixels
    calm = measure_calm(url, engine)
    return replace(
        plain,
        edge_ms=round(edge_ms, 3),
        client_ms=round(small["client_ms"], 3),
        background=round(idle, 3),
        calm=round(median(calm.values()), 3),
        calm_of=calm,
        # Below one it tells of what the service does by itself and leaves while busy.
        busy=round(max(1.0, factor), 3),
    )


def measure_calm(url: str, engine: dict[str, float]) -> dict[str, float]:
    """How much longer the engine takes when one request comes after the other, by the clock.

    By kind of request.
    """
    mix = replace(mix_of("usual"), reuse=0.0)
    mix = replace(mix, weights=dict.fromkeys(mix.weights, 1))
    # A visitor of its own: what those of the loads have asked for is in the caches.
    asks = Traffic(drawn_library(), mix).visitor(_NOBODY)
    took, alone = Counter[str](), Counter[str]()
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=60)) as connection:
        for number in range(_CALM_REQUESTS):
            ask = next(asks)
            content_type, body = pack(ask)
            sleep(_CALM_S)
            connection.request("POST", ask.path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            answer.read()
            if answer.headers["X-Cache"] != "miss":
                raise SystemExit(f"a calm request was not made: {answer.status} {ask.path}")
            if number >= _CALM_REQUESTS // 10:  # the first ones warm up
                stages = [
                    part.split(";dur=") for part in answer.headers["Server-Timing"].split(", ")
                ]
                took[ask.kind] += sum(float(ms) for stage, ms in stages if stage in _ENGINE)
                alone[ask.kind] += engine.get(name_of(ask), estimate(ask))
    return {kind: round(took[kind] / alone[kind], 3) for kind in alone}


def mean_work(mix: Mix, engine: dict[str, float], seen: Mapping[str, float]) -> tuple[float, float]:
    """Core-milliseconds of pixels and megabytes of body of a request, by the kinds that came."""
    asks, drawn = Traffic(drawn_library(), mix).visitor(0), defaultdict[str, list[Ask]](list)
    for _ in range(3000):
        ask = next(asks)
        drawn[ask.kind].append(ask)
    pixels = megabytes = 0.0
    for kind, some in drawn.items():
        share = seen.get(f"share of {kind}", 0.0)
        pixels += share * mean(engine.get(name_of(ask), estimate(ask)) for ask in some)
        megabytes += share * mean(len(ask.picture.data) / 1e6 for ask in some)
    return pixels, megabytes


def compare(cores: int, url: str, pid: int, times: Times, seconds: float) -> list[Compared]:
    """Every load, simulated and measured."""
    rows = []
    for name, users in LOADS:
        mix, shape = mix_of(name), shape_of(users, seconds)
        layout = Layout(cores=cores, gateways=cores, replicas=cores, shared=True)
        traffic = Traffic(drawn_library(), replace(mix, think_s=shape.think_s))
        answers = run_closed(Service(layout, times), traffic, shape)
        simulated = answers.figures(WARM_S, shape.seconds)
        measured = measure(url, pid, mix, users, seconds)
        row = Compared(
            cores,
            name,
            users,
            (measured["rps"], simulated["rps"]),
            (measured["p95"], simulated["p95"]),
        )
        rows.append(row)
        print(line(row), file=sys.stderr, flush=True)
    return rows


HEAD = (
    "| cores | mix | users | measured/s | simulated/s | error | measured p95 ms | simulated p95 ms "
    "| error |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|"
)


def line(row: Compared) -> str:
    rate, late = row.errors
    return (
        f"| {row.cores} | {row.mix} | {row.users} | {row.rps[0]:.1f} | {row.rps[1]:.1f} | "
        f"{rate:+.0%} | {row.p95[0]:.0f} | {row.p95[1]:.0f} | {late:+.0%} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measured load")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--write", type=Path, metavar="FILE", help="the service times, as JSON")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write a Markdown page")
    given = parser.parse_args()
    mixes = [*(mix_of(name) for name, _ in LOADS), _SMALL, _LARGE]
    engine = measure_engine(mixes)
    available, rows = sorted(os.sched_getaffinity(0)), []
    times = Times(engine=engine)
    for cores in given.cores:
        if cores > len(available):
            print(f"{cores} cores are not here", file=sys.stderr)
            return 3
        os.sched_setaffinity(0, available[:cores])
        settings = {
            "OMNISHOT_RESIZERS__MIN_REPLICAS": str(cores),
            "OMNISHOT_RESIZERS__MAX_REPLICAS": str(cores),
            "OMNISHOT_GATEWAYS__REPLICAS": str(cores),
        }
        with own_service(settings) as (url, pid):
            times = calibrate(url, pid, cores, engine, given.seconds / 2)
            rows += compare(cores, url, pid, times, given.seconds)
    os.sched_setaffinity(0, available)
    page = _page(rows, times)
    print(page)
    if given.write:
        times.write(given.write)
    if given.results:
        (given.results / f"simulator_{datetime.now(UTC):%Y%m%d_%H%M%S}.md").write_text(page)
    missed = [row for row in rows if max(map(abs, row.errors)) > GOAL]
    return 1 if missed else 0


def _page(rows: Sequence[Compared], times: Times) -> str:
    by_kind = ", ".join(f"{kind} {calm:g}" for kind, calm in sorted(times.calm_of.items()))
    return "\n".join(
        [
            machine.page_head("The simulation beside the running service"),
            HEAD,
            *map(line, rows),
            "",
            f"Beside the pixels a request took {times.edge_ms:g} core-ms of the service and "
            f"{times.client_ms:g} of the load on the same cores, measured with thumbnails alone; "
            f"idle, the service took {times.background:g} cores. The engine took {times.calm:g} "
            f"times as long in a service at rest as by itself ({by_kind}), {times.busy:g} in a "
            "busy one.",
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
