"""From what was measured apart to what a load will be like."""

import itertools
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import mean, median, stdev
from typing import Any

import simpy

from benchmarks.simulator.measured import (
    SMALL,
    THINK_S,
    WARM_S,
    Load,
    Measured,
    mix_of,
    shape_of,
)
from benchmarks.simulator.model import Layout, Service, run_closed
from benchmarks.simulator.times import Times, estimate, name_of
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import Ask, Traffic

_DRAWN = 3000
_POOLED = frozenset({"avif", "variants"})
"""Kinds that are dearer than what a gateway does itself."""
_IN_MS = ("edge_ms", "proxy_ms", "byte_ms", "hop_ms", "hop_far_ms", "client_ms", "client_byte_ms")

Seen = Sequence[tuple[float, str, float, str, str]]


def times_of(measured: Measured) -> Times:
    """Service times of the rounds together, on a machine as fast as it was for the engine."""
    plain = Times(engine=measured.engine)
    edges, factors, proxies, clients, bytes_ = [], [], [], [], []
    for one in measured.rounds:
        small, large = (_Apart.of(load, measured) for load in (one.small, one.large))
        # Two loads, two unknown: what a request costs, and how much longer the pixels take.
        factor = (large.spent_ms - small.spent_ms) / (
            large.pixels_ms - small.pixels_ms + plain.byte_ms * (large.megabytes - small.megabytes)
        )
        edges.append(small.spent_ms / factor - small.pixels_ms - plain.byte_ms * small.megabytes)
        factors.append(factor / large.beside)
        proxies.append(small.proxy_ms / factor)
        each = (large.client_ms - small.client_ms) / (large.megabytes - small.megabytes)
        bytes_.append(each / factor)
        clients.append((small.client_ms - each * small.megabytes) / factor)
    busy, proxy_ms = median(factors), median(proxies)
    client_ms, client_byte_ms = max(0.0, median(clients)), max(0.0, median(bytes_))
    small_mb = mean(_Apart.of(one.small, measured).megabytes for one in measured.rounds)
    # Clocks at rest have run on while the service's own work had the core, or slowed it down.
    background = sum(measured.idle.values())
    others = background / max(1, measured.cores - 1)
    own = 1.0 + (measured.beside - 1.0) * min(1.0, others)
    if measured.cores == 1:
        own = 1.0 / (1.0 - min(0.9, background))
    ratios, rests = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for one in measured.rounds:
        slow = _slow(one.calm_basket_ms, measured) * own
        for calm in one.calm:
            ratios[calm.kind].append(calm.engine_ms / calm.alone_ms / slow)
            rests[calm.kind].append(
                (calm.answer_ms - calm.engine_ms) / slow
                - client_byte_ms * busy / 2 * (calm.megabytes - small_mb)
            )
    calm_of = {kind: median(some) for kind, some in ratios.items()}
    calm_ms = median(ratio for some in ratios.values() for ratio in some)
    hop_ms = plain.hop_ms + plain.hop_far_ms
    edge_ms = max(0.1, median(edges) - proxy_ms)
    # What thumbnails take is known from the CPU time of many; of the others by how much more of
    # the clock they took at rest.
    small_ms = median(ms for kind in SMALL.weights for ms in rests[kind]) / calm_ms
    return replace(
        plain,
        edge_ms=edge_ms,
        edge_of={
            kind: max(
                0.1,
                edge_ms
                + plain.byte_ms * small_mb
                + median(some) / calm_ms
                - small_ms
                - hop_ms * (kind in _POOLED),
            )
            for kind, some in rests.items()
        },
        proxy_ms=proxy_ms,
        client_ms=client_ms,
        client_byte_ms=client_byte_ms,
        background=background,
        calm=calm_ms,
        calm_of=calm_of,
        busy=busy,
        beside=measured.beside,
        noise=median(stdev(some) / mean(some) for some in ratios.values()),
    )


@dataclass(frozen=True)
class _Apart:
    """Of a load of one kind of work, for each request, on a machine as fast as for the engine."""

    spent_ms: float
    proxy_ms: float
    client_ms: float
    pixels_ms: float
    megabytes: float
    beside: float
    """How much longer the other cores made all of it take."""

    @classmethod
    def of(cls, load: Load, measured: Measured) -> "_Apart":
        slow, rate = _slow(load.basket_ms, measured), len(load.counted) / load.seconds
        spent = sum(load.cpu.values()) / load.cpu_s
        client = load.client_ms / 1000 * rate
        others = min(1.0, (spent + client) / measured.cores) if measured.cores > 1 else 0.0
        proxy = load.cpu.get("haproxy", 0.0) / load.cpu_s - measured.idle.get("haproxy", 0.0)
        pixels_ms, megabytes = mean_work(measured.engine, load)
        return cls(
            (spent - sum(measured.idle.values())) / rate * 1000 / slow,
            proxy / rate * 1000 / slow,
            load.client_ms / slow,
            pixels_ms,
            megabytes,
            1.0 + (measured.beside - 1.0) * others,
        )


def _slow(basket_ms: float, measured: Measured) -> float:
    return basket_ms / measured.engine_basket_ms


@cache
def _some_asks(mix: str) -> list[Ask]:
    return list(itertools.islice(Traffic(drawn_library(), mix_of(mix)).visitor(0), _DRAWN))


def mean_work(engine: Mapping[str, float], load: Load) -> tuple[float, float]:
    """Core-milliseconds of pixels and megabytes of body of a request, by the kinds that came."""
    by_kind = defaultdict[str, list[tuple[float, float]]](list)
    for ask in _some_asks(load.mix):
        alone_ms = engine.get(name_of(ask), estimate(ask))
        by_kind[ask.kind].append((alone_ms, len(ask.picture.data) / 1e6))
    kinds = [one[1] for one in load.counted]
    return tuple(  # type: ignore[return-value]
        mean(mean(each[at] for each in by_kind[kind]) for kind in kinds) for at in (0, 1)
    )


def slowed(times: Times, slow: float) -> Times:
    """The same on a machine that takes so many times as long for everything."""
    return replace(
        times,
        engine={name: ms * slow for name, ms in times.engine.items()},
        background=times.background * slow,
        **{name: getattr(times, name) * slow for name in _IN_MS},
        edge_of={kind: ms * slow for kind, ms in times.edge_of.items()},
    )


def slowness(measured: Measured, times: Times, load: Load) -> tuple[float, float]:
    """How many times as long as in `times` everything took during a load, by the machine around it
    and by the load itself.

    The first is what was timed before and after. The second is the utilisation law (P. Denning, J.
    Buzen, "The Operational Analysis of Queueing Network Models", 1978): the CPU time of a request
    is the cores that were busy over the requests a second. On this machine the two differ by a
    fifth from one half-minute to the next, and no queue could be told from that.
    """
    around = by_load = _slow(load.basket_ms, measured)
    busy_cores = sum(load.cpu.values()) / load.cpu_s - sum(measured.idle.values())
    spent_ms = busy_cores * load.seconds / len(load.counted) * 1000
    for _ in range(_APPROACHES):  # work takes longer the busier the cores are
        _, simulated_ms = run_load(measured, slowed(times, by_load), load, 1)
        by_load *= spent_ms / simulated_ms
    return around, by_load


_APPROACHES = 2


def run_load(measured: Measured, times: Times, load: Load, seed: int) -> tuple[Seen, float]:
    """The load as the model has it, the same visitors asking for the same: all answers, and the CPU
    time in ms of one of those that count.
    """
    layout = Layout(
        cores=measured.cores, gateways=measured.cores, replicas=measured.cores, shared=True
    )
    service, library = Service(layout, times, seed=seed), drawn_library()

    def traffic(mix: str, number: int) -> Traffic:
        return Traffic(library, replace(mix_of(mix), think_s=THINK_S), number)

    # As before each load that is measured: gateways remember how fast replicas were.
    before = traffic(_BEFORE.mix, load.seed + _BEFORE.seed)
    run_closed(service, before, shape_of(_BEFORE.users, _BEFORE.seconds))
    begun_s, warm_ms = float(service.env.now) / 1000.0, []
    service.answers.seen.clear()

    def note_warm() -> Generator[simpy.Event, Any, Any]:
        yield service.env.timeout(WARM_S * 1000)
        warm_ms.append(service.cpu_ms)

    service.env.process(note_warm())
    asks = traffic(load.mix, load.seed)
    run = run_closed(service, asks, shape_of(load.users, load.seconds))
    seen = [(row[0] - begun_s, *row[1:]) for row in run.seen]
    return seen, (service.cpu_ms - warm_ms[0]) / sum(row[0] >= WARM_S for row in seen)


_BEFORE = Load("usual", 2, seconds=12.0, seed=10_000, basket_ms=0.0, cpu_s=0.0, cpu={}, client_ms=0)
