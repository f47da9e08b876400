"""Results over time as plots: `python -m benchmarks.guard.history`.

Reads the runs of the guard (history.jsonl) and the comparisons with Express + sharp
(express_sharp_*.json), and writes history.md with a plot of each.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.guard.yardstick import YARDSTICK
from benchmarks.machine import ROOT
from omnishot_ray.load.chart import Line, Panel, draw

RESULTS = ROOT / "benchmarks" / "results"
RUNS = "history.jsonl"

Point = tuple[str, dict[str, float]]
"""A label, and values by row."""


def keep(document: dict[str, Any], folder: Path) -> None:
    """Add a run of the guard, a line each, and draw everything anew."""
    with (folder / RUNS).open("a") as runs:
        runs.write(json.dumps(document, separators=(",", ":")) + "\n")
    write(folder)


def read_guard(folder: Path) -> list[Point]:
    """Medians of each run by today's yardstick, as ratios to the first run that has the row."""
    path = folder / RUNS
    runs = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    points = [
        (_label(run), {name: median(values) for name, values in run["rows"].items()})
        for run in sorted(runs, key=lambda run: run["date"])
        if run.get("yardstick", 1) == YARDSTICK
    ]
    first: dict[str, float] = {}
    for _, values in points:
        for name, value in values.items():
            first.setdefault(name, value)
    return [(label, {n: v / first[n] for n, v in values.items()}) for label, values in points]


def read_peers(folder: Path) -> list[Point]:
    """Ratios of requests a second to Express + sharp's, the median of each comparison."""
    documents = [json.loads(path.read_text()) for path in folder.glob("express_sharp_*.json")]
    points = []
    for document in sorted(documents, key=lambda one: one["date"]):
        values = {
            row["title"]: row["ratio"]
            for row in document["rows"]
            if row.get("ratio") and row.get("problems", []) == []
        }
        if values:
            points.append((_label(document), values))
    return points


def _label(run: dict[str, Any]) -> str:
    at = datetime.fromisoformat(run["date"])
    return f"{at:%d.%m. %H:%M} {run['commit'].rstrip('+')[:7]}"


def plot(title: str, points: Sequence[Point], least: int = 2) -> str | None:
    """A panel for each row that has at least so many points; a row keeps its last value."""
    names = sorted({name for _, values in points for name in values})
    panels = []
    for name in names:
        if sum(name in values for _, values in points) < least:
            continue
        last = next(values[name] for _, values in points if name in values)
        kept = [last := values.get(name, last) for _, values in points]
        panels.append(Panel(name, [Line("", kept)]))
    if not panels:
        return None
    places = [float(number + 1) for number in range(len(points))]
    labels = [label for label, _ in points]
    every = -(-len(points) // 6)
    ticks = [
        (place, label)
        for number, (place, label) in enumerate(zip(places, labels, strict=True))
        if number % every == 0
    ]
    return draw(title, places, panels, ticks)


def write(folder: Path = RESULTS) -> None:
    """history.md and the plots, of what there is."""
    lines = ["# History", "", "Written by `python -m benchmarks.guard.history`.", ""]
    for name, title, points in (
        ("guard", "the guard: of the first run, in units of the yardstick", read_guard(folder)),
        ("peers", "requests a second, of Express + sharp's", read_peers(folder)),
    ):
        picture = plot(title, points)
        if picture is None:
            continue
        (folder / f"history_{name}.svg").write_text(picture)
        lines += [f"## {title[0].upper()}{title[1:]}", "", f"![{title}](history_{name}.svg)", ""]
        lines += _table(points)
    (folder / "history.md").write_text("\n".join(lines))


def _table(points: Sequence[Point]) -> list[str]:
    names = sorted({name for _, values in points for name in values})
    lines = ["| row | first | last | runs |", "|---|---:|---:|---:|"]
    for name in names:
        values = [found[name] for _, found in points if name in found]
        lines.append(f"| {name} | {values[0]:.2f} | {values[-1]:.2f} | {len(values)} |")
    return [*lines, ""]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    write()
