"""The regression guard: `make bench`, at most ten minutes.

    python -m benchmarks.guard [--rounds 7] [--without-service] [--keep] [--baseline]

Measures the engine and the running service, each figure as a ratio to a yardstick that is measured
right before and after it, and says what has moved against the baseline beyond noise. `--keep` adds
the run to benchmarks/results/history.jsonl and draws its plots anew, `--baseline` makes it the one
that later runs are held against. Exit code 0 when nothing is slower, 1 when something is, 3 when
wrk is missing or there is no baseline of a machine like this.
"""

import argparse
import json
import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from benchmarks import machine
from benchmarks.guard import history, rows
from benchmarks.guard.judge import judge

RESULTS = machine.ROOT / "benchmarks" / "results"
BASELINE = RESULTS / "baseline.json"
ROUND_S, SERVED_S = 0.8, 2.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-service", action="store_true", help="the engine alone")
    parser.add_argument("--keep", action="store_true", help="add it to the history")
    parser.add_argument("--baseline", action="store_true", help="keep it as the baseline too")
    parser.add_argument("--against", type=Path, default=BASELINE, metavar="FILE")
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error("--rounds is at least 1")
    if not given.without_service and shutil.which("wrk") is None:
        print("wrk is not on the PATH (Debian: apt-get install wrk)", file=sys.stderr)
        return 3
    started = monotonic()
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(machine.ROOT),
        "machine": machine.describe(),
        "rows": rows.measure_engine(given.rounds, ROUND_S, _say),
    }
    if not given.without_service:
        document["rows"] |= rows.measure_served(given.rounds, SERVED_S, _say)
    _say(f"took {monotonic() - started:.0f} s")
    if given.keep or given.baseline:
        history.keep(document, RESULTS)
    if given.baseline:
        BASELINE.write_text(json.dumps(document, indent=1) + "\n")
        print(f"{BASELINE.relative_to(machine.ROOT)} is this run now")
        return 0
    if not given.against.exists():
        print(f"no {given.against.name} yet: run it with --baseline on a quiet machine")
        return 3
    return _report(document, json.loads(given.against.read_text()))


def _report(document: dict, baseline: dict) -> int:
    if document["machine"]["cpu"] != baseline["machine"]["cpu"]:
        print(
            f"The baseline is of {baseline['machine']['cpu']}, this machine is "
            f"{document['machine']['cpu']}: only large moves mean anything."
        )
    moved, alone = judge(document["rows"], baseline["rows"])
    print(f"against {baseline['commit']} of {baseline['date']}, {os.cpu_count()} cores\n")
    print("| row | ratio | 98 % interval | |\n|---|---:|---:|---|")
    for row in moved:
        print(f"| {row.name} | {row.ratio:.3f} | {row.low:.3f}–{row.high:.3f} | {row.verdict} |")
    if alone:
        print(f"\nnot in both: {', '.join(alone)}")
    slower = [row.name for row in moved if row.verdict == "slower"]
    print(f"\n{'slower: ' + ', '.join(slower) if slower else 'nothing is slower'}")
    return 1 if slower else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
