"""What clusters carry, by simulation: `python -m benchmarks.simulator.capacity [--quick]`.

Writes docs/capacity.md and its plots. Takes about ten minutes of one core; the seeds are fixed, so
the page changes only with the model, the settings and the service times, which are those that
`benchmarks.simulator.validate` has measured last, unless `--times` names others.
"""

import argparse
import math
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import ROOT, command
from benchmarks.simulator.limits import broken_first, limits_table
from benchmarks.simulator.model import Answers, Layout, Service, run_closed, run_open
from benchmarks.simulator.times import Times, all_ways, estimate, name_of, read_times
from omnishot_ray.load.chart import Line, Panel, draw
from omnishot_ray.load.pictures import drawn_library
from omnishot_ray.load.shapes import Shape, Stage, Thresholds
from omnishot_ray.load.traffic import MIXES, Mix, Traffic, without

PAGE = ROOT / "docs" / "capacity.md"
IMAGES = ROOT / "docs" / "images"
TIMES = ROOT / "benchmarks" / "results" / "service_times.json"
NODE_CORES = 8
CORES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Of what the cores could do if they did nothing but this work, one after the other."""
MOST_P95_MS, MOST_SHED = 1000.0, 0.01
USERS, THINK_S = 10_000, 5.0
PRICE_CORE_HOUR = 0.0446
"""US dollars of a vCPU of AWS c7i on demand in us-east-1 (16 for 0.714 an hour)."""
SCALED_FROM = 8
UTILISATION = 0.7
"""Part of its capacity that a service is run at."""


@dataclass(frozen=True)
class Row:
    """What so many cores carry."""

    cores: int
    rate: float
    figures: dict[str, float]
    answers: Answers
    seconds: float

    @property
    def efficiency(self) -> float:
        """Requests a second for each core."""
        return self.rate / self.cores


@dataclass(frozen=True)
class Sections:
    """Tables of the page."""

    knee: Sequence[str]
    crowd: Sequence[str]
    caches: Sequence[str]
    failure: Sequence[str]
    scaling: Sequence[str]


def layout(cores: int, **changes: object) -> Layout:
    """Nodes of eight cores; a Resizer for each core, gateways for six of ten."""
    nodes = max(1, cores // NODE_CORES)
    plain = Layout(
        nodes=nodes,
        cores=min(cores, NODE_CORES),
        gateways=max(1, math.ceil(0.6 * cores)),
        replicas=cores,
        shared=True,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def mean_ms(traffic: Traffic, times: Times, count: int = 4000) -> float:
    """Core-milliseconds of one request, nothing cached."""
    asks, total = traffic.visitor(0), 0.0
    for _ in range(count):
        ask = next(asks)
        total += times.engine.get(name_of(ask), estimate(ask)) + times.edge(ask)
    return total / count


def find_capacity(cores: int, traffic: Traffic, times: Times, quick: bool) -> Row:
    """The highest of the rates at which p95 and shedding are within their limits."""
    ideal = cores * 1000.0 / mean_ms(traffic, times)
    seconds = 5.0 if quick else 40.0 if cores <= 8 else 20.0 if cores <= 64 else 12.0
    best: Row | None = None
    shares = SHARES[::3] if quick else SHARES if cores <= 64 else SHARES[3:]
    for share in shares:
        service = Service(layout(cores), times)
        answers = run_open(service, traffic, share * ideal, seconds)
        figures = answers.figures(seconds / 4, seconds)
        if best and (figures["p95"] > MOST_P95_MS or figures["shed"] > MOST_SHED):
            break
        best = Row(cores, share * ideal, figures, answers, seconds)
    assert best
    return best


def capacity_section(rows: Sequence[Row]) -> list[str]:
    first = rows[0].rate / rows[0].cores
    lines = [
        "| cores | requests/s | per core, of one core's | p50 ms | p95 ms | p99 ms | event loops "
        "busy | resizers busy | cost of 1 000 requests |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        figures, busy = row.figures, row.answers.busy
        cost = PRICE_CORE_HOUR * row.cores / 3600 / (UTILISATION * row.rate) * 1000
        lines.append(
            f"| {row.cores} | {row.rate:,.0f} | {row.rate / row.cores / first:.0%} | "
            f"{figures['p50']:.0f} | {figures['p95']:.0f} | {figures['p99']:.0f} | "
            f"{busy['event loops']:.0%} | {busy['resizers']:.0%} | ${cost:.5f} |"
        )
    return lines


def knee_section(traffic: Traffic, times: Times, quick: bool) -> tuple[list[str], str]:
    """One node under rising load."""
    ideal = NODE_CORES * 1000.0 / mean_ms(traffic, times)
    shares = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.6)
    lines = ["| offered/s | right/s | p50 ms | p95 ms | p99 ms | 429 |", "|---:|" + "---:|" * 5]
    seen = []
    for share in shares[:: 4 if quick else 1]:
        answers = run_open(
            Service(layout(NODE_CORES), times), traffic, share * ideal, 5 if quick else 30
        )
        figures = answers.figures(2)
        seen.append((share * ideal, figures))
        lines.append(
            f"| {share * ideal:.0f} | {figures['rps']:.0f} | {figures['p50']:.0f} | "
            f"{figures['p95']:.0f} | {figures['p99']:.0f} | {figures['shed']:.1%} |"
        )
    plot = draw(
        "one node of eight cores under rising load",
        [rate for rate, _ in seen],
        [
            Panel("right answers a second", [Line("rps", [one["rps"] for _, one in seen])]),
            Panel(
                "latency, ms",
                [Line(name, [one[name] for _, one in seen]) for name in ("p50", "p95", "p99")],
            ),
            Panel("429, share", [Line("shed", [one["shed"] for _, one in seen])]),
        ],
        [(rate, f"{rate:.0f}/s") for rate, _ in seen],
    )
    return lines, plot


def crowd_section(traffic: Traffic, times: Times, quick: bool) -> list[str]:
    """Ten thousand users on clusters of several sizes."""
    lines = [
        "| cores | right/s | p50 ms | p95 ms | p99 ms | 429 |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    crowd = Traffic(traffic.library, replace(traffic.mix, think_s=THINK_S))
    seconds = 6.0 if quick else 25.0
    shape = Shape("crowd", "all at once", (Stage(USERS, seconds),), Thresholds())
    for cores in (64,) if quick else (32, 64, 128, 256):
        figures = run_closed(Service(layout(cores), times), crowd, shape).figures(seconds / 3)
        lines.append(
            f"| {cores} | {figures['rps']:,.0f} | {figures['p50']:.0f} | {figures['p95']:.0f} | "
            f"{figures['p99']:.0f} | {figures['shed']:.1%} |"
        )
    return lines


def cache_section(mix: Mix, traffic: Traffic, times: Times, quick: bool) -> list[str]:
    """The same catalogue with more gateways, each with its own memory, and with Redis."""
    lines = [
        "| cores | gateways | from memory alone | with Redis | right/s with Redis, of without |",
        "|---:|---:|---:|---:|---:|",
    ]
    hot = Traffic(traffic.library, replace(mix, reuse=0.7))
    for cores in (8,) if quick else (8, 32, 64):
        rate = 0.6 * cores * 1000.0 / mean_ms(traffic, times)
        seconds = 5.0 if quick else 4000.0 / rate + 10.0
        shares, rates = [], []
        for redis in (False, True):
            answers = run_open(Service(layout(cores, redis=redis), times), hot, rate * 1.6, seconds)
            late = answers.figures(seconds / 2, seconds)
            shares.append(answers.hits / max(1, len(answers.rows)))
            rates.append(late["rps"])
        lines.append(
            f"| {cores} | {layout(cores).gateways} | {shares[0]:.0%} | {shares[1]:.0%} | "
            f"{rates[1] / max(rates[0], 1e-9):.2f}× |"
        )
    return lines


def failure_section(traffic: Traffic, times: Times, quick: bool) -> list[str]:
    """One of eight nodes dies."""
    cores, seconds, dies_s = 64, 12.0 if quick else 40.0, 4.0 if quick else 15.0
    rate = 0.6 * cores * 1000.0 / mean_ms(traffic, times)
    service = Service(layout(cores, failures=((dies_s, 3),)), times)
    answers = run_open(service, traffic, rate, seconds)
    lines = ["| | right/s | p95 ms | lost | 429 |", "|---|---:|---:|---:|---:|"]
    spans = (
        ("before", 2.0, dies_s),
        ("the 5 s after", dies_s, dies_s + 5),
        ("later", dies_s + 5, seconds),
    )
    for name, from_s, until_s in spans:
        figures = answers.figures(from_s, until_s)
        lines.append(
            f"| {name} | {figures['rps']:,.0f} | {figures['p95']:.0f} | {figures['lost']:.0f} | "
            f"{figures['shed']:.1%} |"
        )
    return lines


def scaling_section(traffic: Traffic, times: Times, quick: bool) -> tuple[list[str], str]:
    """Load that comes at once to a service that is scaled."""
    seconds, cores = 20.0 if quick else 150.0, 64
    rate = 0.5 * cores * 1000.0 / mean_ms(traffic, times)
    service = Service(layout(cores, replicas=SCALED_FROM, most_replicas=cores), times)
    answers = run_open(service, traffic, rate, seconds)
    lines = ["| second | resizers | right/s | p95 ms | 429 |", "|---:|" + "---:|" * 4]
    replicas = {round(at_s): count for at_s, count in answers.replicas}
    marks = (5, 10, 20, 40, 60, 90, 120, 150)
    before = 0
    for mark in [one for one in marks if one <= seconds]:
        figures = answers.figures(before, mark)
        lines.append(
            f"| {before}–{mark} | {replicas.get(mark, replicas.get(mark - 1, 0))} | "
            f"{figures['rps']:,.0f} | {figures['p95']:.0f} | {figures['shed']:.1%} |"
        )
        before = mark
    whole = [answers.figures(second, second + 1) for second in range(int(seconds) - 1)]
    plot = draw(
        f"{rate:.0f} requests a second come at once to {SCALED_FROM} resizers",
        [float(second + 1) for second in range(len(whole))],
        [
            Panel(
                "resizers",
                [
                    Line(
                        "resizers",
                        [replicas.get(second + 1, SCALED_FROM) for second in range(len(whole))],
                    )
                ],
            ),
            Panel("right answers a second", [Line("rps", [one["rps"] for one in whole])]),
            Panel("p95, ms", [Line("p95", [one["p95"] for one in whole])]),
            Panel("429, share", [Line("shed", [one["shed"] for one in whole])]),
        ],
    )
    return lines, plot


def capacity_plot(rows: Sequence[Row]) -> str:
    places = [math.log2(row.cores) + 1 for row in rows]
    first = rows[0].rate
    return draw(
        "what so many cores carry",
        places,
        [
            Panel("requests a second for each core", [Line("", [r.efficiency for r in rows])]),
            Panel("of one core's, share", [Line("", [r.efficiency / first for r in rows])]),
            Panel("p95, ms", [Line("", [r.figures["p95"] for r in rows])]),
        ],
        [(place, str(row.cores)) for place, row in zip(places, rows, strict=True)],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look; writes nothing")
    parser.add_argument("--times", type=Path, default=TIMES, help="measured service times")
    given = parser.parse_args()
    times = read_times(given.times).without_load()
    mix = without(MIXES["usual"], {"job"})
    traffic = Traffic(drawn_library(), replace(mix, reuse=0.0))
    rows = []
    for cores in CORES[::4] if given.quick else CORES:
        _say(f"capacity of {cores} cores")
        rows.append(find_capacity(cores, traffic, times, given.quick))
    _say("the knee")
    knee, knee_plot = knee_section(traffic, times, given.quick)
    _say("ten thousand users")
    crowd = crowd_section(traffic, times, given.quick)
    _say("caches")
    caches = cache_section(mix, traffic, times, given.quick)
    _say("a node dies")
    failure = failure_section(traffic, times, given.quick)
    _say("scaling")
    scaling, scaling_plot = scaling_section(traffic, times, given.quick)
    page = _page(times, traffic, rows, Sections(knee, crowd, caches, failure, scaling))
    if given.quick:
        print(page)
        return
    PAGE.write_text(page)
    IMAGES.mkdir(exist_ok=True)
    for name, plot in (
        ("capacity", capacity_plot(rows)),
        ("knee", knee_plot),
        ("scaling", scaling_plot),
    ):
        (IMAGES / f"capacity_{name}.svg").write_text(plot)


def _page(times: Times, traffic: Traffic, rows: Sequence[Row], made: Sections) -> str:
    kinds = {ask.kind for ask in all_ways(traffic.library, traffic.mix).values()}
    source = "measured on one machine" if times.engine else "those of the cost model"
    last = rows[-1]
    whole = (last.cores, last.rate, last.answers, last.seconds)
    parts: list[tuple[str, str, Sequence[str]]] = [
        (
            "# Capacity",
            f"""Written by `{command()}`. Nothing on this page was measured on a cluster: it is a
            simulation (`benchmarks/simulator`) of visitors, gateways, caches and Resizers around
            the service's own queue, overload and autoscaling classes.
            `python -m benchmarks.simulator.validate` holds the model against the running service,
            given the CPU that its requests took there: queues and cores are what is judged, and
            met within 15 %.

            Service times of the engine are {source}, the rest is from
            [architecture.md](architecture.md): {times.edge_ms + times.proxy_ms:.2g} core-ms a
            thumbnail beside the pixels, {times.hop_ms:g} of the gateway and
            {times.hop_far_ms:g} of the Resizer for a batch. A request of the mix
            ({", ".join(sorted(kinds))}) takes {mean_ms(traffic, times):.1f} core-ms in the mean
            when nothing is cached: on a virtual machine that is twice as fast in its best hours as
            in its worst, in one of the best, so count on half. Nodes have {NODE_CORES} cores, a
            Resizer for each and gateways for six of ten; work takes {times.beside:.2f} times as
            long while all are busy.""",
            (),
        ),
        (
            "## What so many cores carry",
            f"""The highest rate tried at which p95 is below {MOST_P95_MS:g} ms and less than
            {MOST_SHED:.0%} is turned away; tried are {SHARES[0]:.0%} to {SHARES[-1]:.0%} of what
            the cores could do, for 12 to 40 s each. Nothing in the model slows gateways or Resizers
            down when there are more of them, so it grows in proportion: what stands against that is
            in the last section. Cost: ${PRICE_CORE_HOUR} a core-hour (a vCPU of AWS c7i on
            demand), run at {UTILISATION:.0%} of this rate.""",
            (*capacity_section(rows), "", "![for each core](images/capacity_capacity.svg)"),
        ),
        (
            "## The knee of one node",
            """Beyond it the queue is at its bound and what is dear gets 429; what is cheap is still
            done in the gateways, so the number of right answers goes on rising with full cores.""",
            (*made.knee, "", "![one node under rising load](images/capacity_knee.svg)"),
        ),
        (
            f"## {USERS:,} users",
            f"""Each asks every {THINK_S:g} s on average and waits for the answer; nothing is
            cached.""",
            made.crowd,
        ),
        (
            "## Caches and gateways",
            """Seven of ten requests are for a catalogue of 2 000 pictures, from caches that are
            empty at first. Every gateway has a memory of its own and for a minute hands on what it
            has made to the others of its node, so the more there are the later each has seen a
            picture; Redis is for all.""",
            made.caches,
        ),
        (
            "## A node dies",
            """64 cores in eight nodes at 60 % of what they could do. What the gateways of the node
            held is lost, what its Resizers had is done again elsewhere.""",
            made.failure,
        ),
        (
            "## Load that comes at once",
            f"""To a service of 64 cores that has {SCALED_FROM} Resizers. A replica starts in 3 s
            where there is a node, a node in 40 s. Cheap work is done in the gateways meanwhile.""",
            (*made.scaling, "", "![the Resizers follow](images/capacity_scaling.svg)"),
        ),
        (
            "## What breaks first",
            f"""At {last.cores} cores and {last.rate:,.0f} requests a second, and where each part
            would be full if it grew on as it does.""",
            (*limits_table(*whole), "", *_fill(broken_first(*whole))),
        ),
    ]
    lines: list[str] = []
    for title, text, rest in parts:
        lines += [title, "", *_fill(text), *(["", *rest] if rest else []), ""]
    return "\n".join(lines)


def _fill(text: str) -> list[str]:
    """Paragraphs of at most a hundred characters a line."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += ["", *textwrap.wrap(" ".join(paragraph.split()), 100, break_long_words=False)]
    return lines[1:]


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
