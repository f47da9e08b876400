"""How long each step of a request takes: of the engine by the cost model or measured here, of the
rest by what `docs/architecture.md` has measured.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from time import process_time
from urllib.parse import parse_qs, urlsplit

from benchmarks.serving.fleet import NOISE
from omnishot_ray.imaging.allocation import MALLOC
from omnishot_ray.imaging.cost import cannot_run_away, estimate_ms
from omnishot_ray.imaging.header import read_header
from omnishot_ray.imaging.info import describe
from omnishot_ray.imaging.limits import Limits
from omnishot_ray.imaging.options import Options, parse_options
from omnishot_ray.imaging.pipeline import process
from omnishot_ray.load.pictures import Library, drawn_library
from omnishot_ray.load.traffic import MIXES, Ask, Mix, Traffic, without
from omnishot_ray.protocol import ImageTask

_INFO_MS = 7.0
"""A description of a picture of 480×360 (`docs/architecture.md`)."""
_BASKET = ("thumbnail", "photo", "webp", "platform")
_PASSES = 3
_SEEN = 4000
"""Requests of a traffic that are looked at for all the ways there are to ask."""


@dataclass(frozen=True)
class Times:
    """Core-milliseconds. `engine` by `name_of` a request; what is not there is estimated.

    The defaults: `edge_ms` is the gateway's share of a request beside the pixels, and HAProxy's
    where `proxy_ms` does not tell it apart (8 connections, /health: 4 560/s on two cores),
    `byte_ms` the reading and hashing of a megabyte, `hop_ms` what a batch costs the gateway that
    owns it and `hop_far_ms` the replica (1 to 5 together).
    """

    engine: Mapping[str, float] = field(default_factory=dict)
    edge_ms: float = 0.3
    proxy_ms: float = 0.0
    byte_ms: float = 1.0
    hop_ms: float = 2.0
    hop_far_ms: float = 1.0
    edge_of: Mapping[str, float] = field(default_factory=dict)
    """By kind of request, in place of `edge_ms` and `byte_ms`: large answers take longer too."""
    client_ms: float = 0.0
    """Of the load itself, where it shares the cores."""
    client_byte_ms: float = 0.0
    """Of it for a megabyte that it sends."""
    background: float = 0.0
    """Cores that the service takes when nobody asks for anything."""
    calm: float = 1.0
    busy: float = 1.0
    """How much longer work takes in the service than by itself, again and again: on cores that have
    just had nothing to do, and on such that have no rest."""
    beside: float = 1.0
    """How much longer work takes while all other cores work too."""
    calm_of: Mapping[str, float] = field(default_factory=dict)
    """`calm` by kind of request: what goes through much memory finds more of it cold."""
    noise: float = NOISE
    """Standard deviation of the logarithm of a task's time over its mean."""

    def edge(self, ask: Ask) -> float:
        """Of a request at its gateway, beside the pixels and the way to a replica."""
        plain_ms = self.edge_ms + self.byte_ms * len(ask.picture.data) / 1e6
        return self.edge_of.get(ask.kind, plain_ms)

    def without_load(self) -> "Times":
        """The same where the load comes from elsewhere."""
        return replace(self, client_ms=0.0, client_byte_ms=0.0)

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")


def read_times(path: Path) -> Times:
    """What `write` wrote."""
    return Times(**json.loads(path.read_text()))


def name_of(ask: Ask) -> str:
    """The work of a request, whatever the number of its picture."""
    return f"{ask.kind} {ask.picture.name} {ask.path}"


def wanted_of(ask: Ask) -> list[Options]:
    """The renditions of a request; none of `/api/info`."""
    given = {name: values[0] for name, values in parse_qs(urlsplit(ask.path).query).items()}
    if ask.kind in ("variants", "job"):
        return [parse_options({"platform": one.name}) for one in ask.expected]
    return [parse_options(given)] if ask.expected else []


def estimate(ask: Ask) -> float:
    """As the service's own cost model has it."""
    wanted = wanted_of(ask)
    if not wanted:
        return _INFO_MS
    return estimate_ms(len(ask.picture.data), read_header(ask.picture.data), wanted)


def may_run_inline(ask: Ask) -> bool:
    """Whether a gateway would do it itself: its time is bounded by its estimate."""
    return cannot_run_away(read_header(ask.picture.data), wanted_of(ask))


def split_costs(ask: Ask, parts: int) -> tuple[float, ...]:
    """The estimates of the parts that the service makes of a request for several replicas."""
    header, wanted = read_header(ask.picture.data), tuple(wanted_of(ask))
    if len(wanted) < 2:
        return (estimate(ask),)
    task = ImageTask(ask.picture.data, wanted, "")
    return tuple(part.estimate_ms(header) for part in task.split(header, parts))


def all_ways(library: Library, mix: Mix) -> dict[str, Ask]:
    """One request for each different piece of work that a mix asks for."""
    ways: dict[str, Ask] = {}
    asks = Traffic(library, mix).visitor(0)
    for _ in range(_SEEN):
        ask = next(asks)
        ways.setdefault(name_of(ask), ask)
    return ways


def measure_engine(mixes: Sequence[Mix]) -> tuple[dict[str, float], float]:
    """Core-milliseconds of each piece of work and of the basket, in a process that keeps its memory
    as replicas do.

    What malloc is told counts: without it a quarter of the time may be page faults. Each piece is
    measured over the basket that comes right after it, for the machine changes its pace.
    """
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.simulator.times"],
        input=json.dumps([asdict(mix) for mix in mixes]),
        env={**os.environ, **MALLOC},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    measured, basket_ms = json.loads(run.stdout)
    return measured, basket_ms


def basket() -> list[Ask]:
    """The cheapest request of some kinds: what tells how fast the engine is at the moment."""
    ways = all_ways(drawn_library(), without(MIXES["usual"], {"job"})).values()
    return [min((ask for ask in ways if ask.kind == kind), key=estimate) for kind in _BASKET]


def took_ms(ask: Ask) -> float:
    """Core-milliseconds of the engine for it, here and now."""
    wanted, started = wanted_of(ask), process_time()
    if wanted:
        process(ask.picture.data, wanted, Limits())
    else:
        describe(ask.picture.data, Limits())
    return (process_time() - started) * 1000.0


def main() -> None:
    """Mixes as JSON on standard input; pieces of work and the basket on standard output."""
    ways: dict[str, Ask] = {}
    for mix in json.load(sys.stdin):
        ways |= all_ways(drawn_library(), Mix(**mix))
    some, baskets = basket(), []
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for ask in (*some, *ways.values()):
        took_ms(ask)
    for _ in range(_PASSES):
        for name, ask in ways.items():
            ms = (took_ms(ask) + took_ms(ask)) / 2
            baskets.append(sum(map(took_ms, some)))
            ratios[name].append(ms / baskets[-1])
    usual_ms = median(baskets)
    print(json.dumps([{name: median(some) * usual_ms for name, some in ratios.items()}, usual_ms]))


if __name__ == "__main__":
    main()
