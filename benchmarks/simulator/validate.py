"""The simulation beside the running service, on one core and on two.

    python -m benchmarks.simulator.validate [--cores 1 2] [--rounds 3] [--seconds 24]
        [--keep FOLDER] [--write FILE] [--results DIR]
    python -m benchmarks.simulator.validate --measured FILE … [--results DIR]

First measures what the model needs: each piece of work of the engine by itself; the service's and
the load's own CPU for a request of thumbnails and of photos; how much longer the engine takes in a
service at rest. Then runs loads that were not used for that, several rounds in turns, and simulates
each on a machine as fast as the load itself says (`predict.slowness`): throughput and p95, the
median over the rounds of the error in each, are to be at most 15 % off. How much more CPU a request
took than what was measured apart says is beside them. Exit code 1 when an error is larger. On a
machine that does nothing else; takes about seven minutes for each number of cores. `--keep` writes
all that was measured, and `--measured` holds the model against that instead, of several times
together.
"""

import argparse
import gzip
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean, median

from benchmarks import machine
from benchmarks.simulator.measured import WARM_S, Load, Measured, from_dict, measure
from benchmarks.simulator.model import rank
from benchmarks.simulator.predict import Seen, run_load, slowed, slowness, times_of
from benchmarks.simulator.times import Times

GOAL = 0.15
_LUCKS = 3
"""Simulations of a load, which differ in what is chance in the service."""


@dataclass(frozen=True)
class Pair:
    """A load of one round: right answers a second and p95 in ms, measured and simulated."""

    load: Load
    rps: tuple[float, float]
    p95: tuple[float, float]
    dearer: float
    """CPU a request took, over what was measured apart, less one."""


@dataclass(frozen=True)
class Compared:
    """A load in all rounds."""

    cores: int
    pairs: Sequence[Pair]

    @property
    def rate_errors(self) -> list[float]:
        """Of the simulation, as shares of what was measured, by round."""
        return [pair.rps[1] / pair.rps[0] - 1.0 for pair in self.pairs]

    @property
    def late_errors(self) -> list[float]:
        """The same of p95."""
        return [pair.p95[1] / pair.p95[0] - 1.0 for pair in self.pairs]

    @property
    def dearer(self) -> list[float]:
        """How much more CPU a request took than what was measured apart, by round."""
        return [pair.dearer for pair in self.pairs]

    @property
    def missed(self) -> bool:
        """Whether the median of either is beyond the goal."""
        return max(abs(median(self.rate_errors)), abs(median(self.late_errors))) > GOAL


def compare(found: Sequence[Measured]) -> tuple[list[Compared], list[str], Times]:
    """Every load, lines of a table by kind, and the times that were used last.

    What was measured on as many cores at several times is put together; each time has its own
    service times.
    """
    pairs, times = defaultdict[tuple[int, str, int], list[Pair]](list), Times()
    kinds = defaultdict[str, list[tuple[list[float], list[float]]]](list)
    for measured in sorted(found, key=lambda one: one.cores):
        times = times_of(measured)
        for load in [load for one in measured.rounds for load in one.loads]:
            around, slow = slowness(measured, times, load)
            now = slowed(times, slow)
            runs = [run_load(measured, now, load, luck)[0] for luck in range(_LUCKS)]
            seen = [row for run in runs for row in _counted(run, load)]
            pairs[measured.cores, load.mix, load.users].append(
                Pair(
                    load,
                    (
                        len(_right(load.counted)) / load.seconds,
                        len(_right(seen)) / _LUCKS / load.seconds,
                    ),
                    (rank(_right(load.counted), 0.95), rank(_right(seen), 0.95)),
                    slow / around - 1.0,
                )
            )
            for kind in {row[1] for row in load.counted}:
                kinds[f"{measured.cores} | {load.mix}, {load.users} users | {kind}"].append(
                    (_right(load.counted, kind), _right(seen, kind))
                )
    rows = [Compared(cores, some) for (cores, *_), some in pairs.items()]
    return rows, [_kind_line(*item) for item in sorted(kinds.items())], times


def _counted(seen: Seen, load: Load) -> Seen:
    return [row for row in seen if WARM_S <= row[0] < WARM_S + load.seconds]


def _right(seen: Seen, kind: str = "") -> list[float]:
    """Latencies in order of the right answers, of one kind or of all."""
    return sorted(row[2] for row in seen if row[3] in ("", "right") and kind in ("", row[1]))


def _kind_line(name: str, rounds: Sequence[tuple[list[float], list[float]]]) -> str:
    measured, simulated = ([ms for one in rounds for ms in one[at]] for at in (0, 1))
    if not measured or not simulated:
        return f"| {name} | {len(measured)} | | | | | |"
    cells = [f"{mean(measured):.0f}", f"{mean(simulated):.0f}"]
    cells += [f"{mean(simulated) / mean(measured) - 1:+.0%}"]
    cells += [f"{rank(sorted(some), 0.9):.0f}" for some in (measured, simulated)]
    return f"| {name} | {len(measured)} | " + " | ".join(cells) + " |"


HEAD = (
    "| cores | mix | users | answers | measured/s | simulated/s | error | of rounds | "
    "measured p95 ms | simulated p95 ms | error | of rounds | CPU a request, over apart | "
    "of rounds |\n"
    "|---:|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---|---:|---|"
)
KINDS_HEAD = (
    "| cores | load | kind | answers | measured mean ms | simulated | error | measured p90 | "
    "simulated |\n|---:|---|---|---:|---:|---:|---:|---:|---:|"
)


def line(row: Compared) -> str:
    """One load of the table: medians over the rounds."""
    load = row.pairs[0].load
    cells = [
        str(row.cores),
        load.mix,
        str(load.users),
        str(sum(len(pair.load.counted) for pair in row.pairs)),
    ]
    for values, errors, digits in (
        ([pair.rps for pair in row.pairs], row.rate_errors, 1),
        ([pair.p95 for pair in row.pairs], row.late_errors, 0),
    ):
        cells += [f"{median(one[at] for one in values):.{digits}f}" for at in (0, 1)]
        cells += _shares(errors)
    return "| " + " | ".join([*cells, *_shares(row.dearer)]) + " |"


def _shares(rounds: Sequence[float]) -> list[str]:
    return [f"{median(rounds):+.0%}", " ".join(f"{one:+.0%}" for one in rounds)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=24.0, help="of each measured load")
    parser.add_argument("--measured", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="write what was measured")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the service times, as JSON")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write a Markdown page")
    given = parser.parse_args()
    if given.measured:
        found = [from_dict(json.loads(gzip.decompress(one.read_bytes()))) for one in given.measured]
    else:
        found = []
        for cores in given.cores:
            *_, whole = measure(cores, given.rounds, given.seconds)
            found.append(whole)
            if given.keep:
                text = json.dumps(whole.as_dict(), separators=(",", ":")).encode()
                (given.keep / f"measured_{cores}.json.gz").write_bytes(gzip.compress(text, mtime=0))
    rows, kinds, times = compare(found)
    page = _page(rows, kinds, times)
    print(page)
    if given.write:
        times.write(given.write)
    if given.results:
        (given.results / f"simulator_{datetime.now(UTC):%Y%m%d_%H%M%S}.md").write_text(page)
    return 1 if any(row.missed for row in rows) else 0


def _page(rows: Sequence[Compared], kinds: Sequence[str], times: Times) -> str:
    by_kind = ", ".join(f"{kind} {calm:g}" for kind, calm in sorted(times.calm_of.items()))
    return "\n".join(
        [
            machine.page_head("The simulation beside the running service"),
            HEAD,
            *map(line, rows),
            "",
            "Errors are medians over the rounds, each of which is beside it. A load is simulated "
            "on a machine on which its requests take as much CPU as they did (utilisation law), "
            "because this one changes its pace within a minute; how far that is from what was "
            "measured apart, in the pace of the seconds around it, is in the last columns.",
            "",
            f"Beside the pixels a request took {times.edge_ms:g} core-ms of the gateway, "
            f"{times.proxy_ms:g} of HAProxy and {times.client_ms:g} of the load on the same cores; "
            f"idle, the service took {times.background:g} cores. The engine took {times.calm:g} "
            f"times as long in a service at rest as by itself ({by_kind}), {times.busy:g} in a "
            f"busy one; a piece of work differs from its like by {times.noise:.0%}.",
            "",
            "## By kind",
            "",
            KINDS_HEAD,
            *kinds,
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
