"""From what was measured apart to what a load will be like."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, median, stdev

from benchmarks.simulator.measured import (
    LARGE,
    SMALL,
    THINK_S,
    Load,
    Measured,
    mix_of,
    shape_of,
)
from benchmarks.simulator.model import Layout, Service, run_closed
from benchmarks.simulator.times import Times, estimate, name_of
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.traffic import Mix, Traffic

Seen = Sequence[tuple[float, str, float, str, str]]


def times_of(measured: Measured) -> Times:
    """Service times of the rounds together, on a machine as fast as it was for the engine."""
    plain = Times(engine=measured.engine)
    edges, factors, proxies, clients = [], [], [], []
    for one in measured.rounds:
        (small, small_px, small_mb), (large, large_px, large_mb) = (
            (_service_ms(load, measured), *mean_work(mix, measured.engine, load))
            for load, mix in ((one.small, SMALL), (one.large, LARGE))
        )
        small -= plain.byte_ms * small_mb
        large -= plain.byte_ms * large_mb
        factor = (large - small) / (large_px - small_px)
        factors.append(factor)
        edges.append(small - factor * small_px)
        proxies.append(_part_ms(one.small, measured, "haproxy"))
        clients.append(one.small.client_ms / _slow(one.small.stretch_ms, measured))
    by_kind = defaultdict[str, list[float]](list)
    for one in measured.rounds:
        slow = _slow(one.calm_stretch_ms, measured)
        for calm in one.calm:
            by_kind[calm.kind].append(calm.engine_ms / calm.alone_ms / slow)
    return replace(
        plain,
        edge_ms=round(max(0.1, median(edges) - median(proxies)), 3),
        proxy_ms=round(median(proxies), 3),
        client_ms=round(median(clients), 3),
        background=round(sum(measured.idle.values()), 3),
        calm=round(median(ratio for some in by_kind.values() for ratio in some), 3),
        calm_of={kind: round(median(some), 3) for kind, some in by_kind.items()},
        busy=round(max(1.0, median(factors)), 3),
        noise=round(median(stdev(some) / mean(some) for some in by_kind.values()), 3),
    )


def _slow(stretch_ms: float, measured: Measured) -> float:
    return stretch_ms / measured.engine_stretch_ms


def _service_ms(load: Load, measured: Measured) -> float:
    """Core-milliseconds of a request, beyond what the service takes by itself, in its units."""
    spent = sum(load.cpu.values()) / load.cpu_s - sum(measured.idle.values())
    return spent / (len(load.counted) / load.seconds) * 1000 / _slow(load.stretch_ms, measured)


def _part_ms(load: Load, measured: Measured, part: str) -> float:
    spent = load.cpu.get(part, 0.0) / load.cpu_s - measured.idle.get(part, 0.0)
    return spent / (len(load.counted) / load.seconds) * 1000 / _slow(load.stretch_ms, measured)


def mean_work(mix: Mix, engine: Mapping[str, float], load: Load) -> tuple[float, float]:
    """Core-milliseconds of pixels and megabytes of body of a request, by the kinds that came."""
    by_kind = defaultdict[str, list[tuple[float, float]]](list)
    asks = Traffic(drawn_library(), mix).visitor(0)
    for _ in range(3000):
        ask = next(asks)
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
        **{
            name: getattr(times, name) * slow
            for name in ("edge_ms", "proxy_ms", "byte_ms", "hop_ms", "hop_far_ms", "client_ms")
        },
    )


def simulate(measured: Measured, times: Times, load: Load, service_seed: int = 1) -> Seen:
    """The load, as the model has it: the same visitors ask for the same."""
    layout = Layout(
        cores=measured.cores, gateways=measured.cores, replicas=measured.cores, shared=True
    )
    times = slowed(times, _slow(load.stretch_ms, measured))
    traffic = Traffic(drawn_library(), replace(mix_of(load.mix), think_s=THINK_S), load.seed)
    service = Service(layout, times, seed=service_seed)
    return run_closed(service, traffic, shape_of(load.users, load.seconds)).seen
