"""The regression guard: `make bench`, at most ten minutes.

    python -m benchmarks.guard [--rounds 6] [--without-service] [--keep] [--baseline new|add]

Measures the engine and the running service, each figure as a ratio to a yardstick that is measured
right before and after it, and says what is outside of what further runs of the baseline's code
would give. What seems to have moved is measured once more and counts only if it has again. `--keep`
adds the run to benchmarks/results/history.jsonl and draws its plots anew. A baseline is several
runs: `--baseline new` begins one with this run, `--baseline add` adds to it; leave time between
them. Exit code 0 when nothing is slower, 1 when something is, 3 when wrk is missing or there is no
baseline of enough runs.
"""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks import machine
from benchmarks.guard import history, rows
from benchmarks.guard.judge import CONFIDENCE, LEAST_RUNS, Moved, again, judge
from benchmarks.guard.yardstick import YARDSTICK

RESULTS = machine.ROOT / "benchmarks" / "results"
BASELINE = RESULTS / "baseline.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--without-service", action="store_true", help="the engine alone")
    parser.add_argument("--keep", action="store_true", help="add it to the history")
    parser.add_argument("--baseline", choices=("new", "add"), help="what becomes of this run")
    parser.add_argument("--against", type=Path, default=BASELINE, metavar="FILE")
    given = parser.parse_args()
    if given.rounds < rows.SERVICES:
        parser.error(f"--rounds is at least {rows.SERVICES}")
    if given.baseline and given.without_service:
        parser.error("a baseline has all rows")
    if not given.without_service and shutil.which("wrk") is None:
        print("wrk is not on the PATH (Debian: apt-get install wrk)", file=sys.stderr)
        return 3
    try:
        baseline = read_baseline(given.against)
    except (ValueError, AttributeError, TypeError):
        print(f"{given.against.name} is no baseline of runs of the guard", file=sys.stderr)
        return 3
    if not given.baseline and len(baseline) < LEAST_RUNS:
        print(
            f"{given.against.name} has {len(baseline)} of at least {LEAST_RUNS} runs: run "
            "--baseline add on a quiet machine, with time in between",
            file=sys.stderr,
        )
        return 3
    document = _run(given.rounds, not given.without_service)
    if given.keep or given.baseline:
        history.keep(document, RESULTS)
    if given.baseline:
        runs = [*(baseline if given.baseline == "add" else []), document]
        given.against.write_text(json.dumps(runs, indent=1) + "\n")
        print(f"{given.against.name} has {len(runs)} runs now")
        return 0
    before = [run["rows"] for run in baseline]
    moved, alone = judge(document["rows"], before)
    if any(row.verdict != "same" for row in moved):
        _say("something has moved; once more")
        second, _ = judge(_run(given.rounds, not given.without_service)["rows"], before)
        moved = again(moved, second)
    return _report(document, baseline, moved, alone)


def read_baseline(path: Path) -> list[dict[str, Any]]:
    """Its runs; none where there is no file. Raises what comes of a file that is something else."""
    runs: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    if not all({"commit", "date", "machine", "rows"} <= run.keys() for run in runs):
        raise ValueError("these are no runs of the guard")
    return runs


def _run(rounds: int, with_service: bool) -> dict[str, Any]:
    started = monotonic()
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(machine.ROOT),
        "machine": machine.describe(),
        "yardstick": YARDSTICK,
        "rows": rows.measure_engine(rounds, _say),
    }
    if with_service:
        document["rows"] |= rows.measure_served(rounds, _say)
    _say(f"took {monotonic() - started:.0f} s")
    return document


def _report(
    document: dict[str, Any],
    baseline: Sequence[dict[str, Any]],
    moved: Sequence[Moved],
    alone: Sequence[str],
) -> int:
    here, there = document["machine"]["cpu"], sorted({run["machine"]["cpu"] for run in baseline})
    if there != [here]:
        print(
            f"The baseline is of {', '.join(there)}, this machine is {here}: only large moves mean "
            "anything."
        )
    print(
        f"against {len(baseline)} runs of {', '.join(sorted({run['commit'] for run in baseline}))} "
        f"from {baseline[0]['date']} to {baseline[-1]['date']}, {os.cpu_count()} cores; where "
        f"the same code is in {CONFIDENCE:.0%} of runs stands beside each ratio\n"
    )
    print("| row | ratio | the same code | |\n|---|---:|---:|---|")
    for row in moved:
        print(f"| {row.name} | {row.ratio:.3f} | {row.low:.3f}–{row.high:.3f} | {row.verdict} |")
    if alone:
        print(f"\nnot in all: {', '.join(alone)}")
    slower = [row.name for row in moved if row.verdict == "slower"]
    print(f"\n{'slower: ' + ', '.join(slower) if slower else 'nothing is slower'}")
    return 1 if slower else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
