"""The parts of a cluster that there is one of: how busy they are, and where each would be full."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulator.model import Answers

_PROCESSES_A_CORE = 1.6
"""Gateways and Resizers, as `capacity.layout` has them."""


@dataclass(frozen=True)
class Part:
    """`busy` is the share of one core, or of what the part can do."""

    name: str
    busy: float
    why: str
    one_only: bool = True
    """Others grow with the cluster."""


def parts(cores: int, rate: float, answers: Answers, seconds: float) -> list[Part]:
    """All of them, the busiest first. `rate` in requests a second."""
    processes = cores * _PROCESSES_A_CORE
    pooled = answers.pooled / seconds
    gateways = max(1.0, 0.6 * cores)
    found = [
        Part(
            "event loop of a gateway",
            answers.busy["event loops"],
            "requests, hops and their answers, by the simulation",
            one_only=False,
        ),
        Part(
            "owner's side of the hop",
            pooled / gateways * 2.0 / 1000,
            f"{pooled:,.0f} tasks/s for the pool, 2 core-ms each at their gateway (measured: 1 to "
            "5 with the replica's)",
            one_only=False,
        ),
        Part(
            "Serve's controller, on the head node",
            processes * 1.25e-3 + 4 * processes * 0.1e-3,
            "each replica pushes its figures once a second: 1.25 core-ms, from the 5 % of a core "
            "that ten pushes a second of four replicas took; and 0.1 ms a replica in each of four "
            "rounds a second (assumed)",
        ),
        Part(
            "GCS, on the head node",
            processes * 0.2e-3,
            "health and resource reports, 0.2 core-ms a process and second (assumed)",
        ),
        Part(
            "metrics hub",
            rate * 2 / 200_000 + processes / 1.5 * 0.5e-3,
            "two samples a request at its goal of 200 000/s, a flush of 0.5 ms from each process "
            "every 1.5 s (assumed)",
        ),
        Part(
            "Redis, one core",
            rate * 2 * 20e-6,
            "a look and a write for each request, 20 µs each (assumed; 0.2 ms is what a gateway "
            "waits for one)",
        ),
        Part(
            "network of Redis, 10 Gbit/s",
            rate * 2 * 50_000 * 8 / 10e9,
            "50 kB for each look and write",
        ),
        Part(
            "HAProxy of one node, one thread",
            rate / max(1, cores // 8) / 20_000,
            "requests spread over the nodes' HAProxies, 50 µs each (assumed)",
            one_only=False,
        ),
    ]
    return sorted(found, key=lambda part: -part.busy)


def limits_table(cores: int, rate: float, answers: Answers, seconds: float) -> Sequence[str]:
    """Parts, their shares, and the cores at which they would be full."""
    lines = ["| part | busy | full at | from |", "|---|---:|---:|---|"]
    for part in parts(cores, rate, answers, seconds):
        full = f"{cores / max(part.busy, 1e-9):,.0f} cores" if part.one_only else "–"
        lines.append(f"| {part.name} | {part.busy:.0%} | {full} | {part.why} |")
    return lines


def broken_first(cores: int, rate: float, answers: Answers, seconds: float) -> str:
    """A sentence."""
    single = [part for part in parts(cores, rate, answers, seconds) if part.one_only]
    first = single[0]
    return (
        f"So of what there is one of, **{first.name}** is full first, at about "
        f"{cores / first.busy:,.0f} cores. What is marked as assumed is a guess to be measured "
        "before a cluster of that size is planned."
    )
