"""What was measured, written down: the Markdown page and its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from benchmarks.machine import describe
from benchmarks.quality.encoders import Encode
from benchmarks.quality.fronts import SCORES
from benchmarks.quality.goals import Row
from benchmarks.quality.references import SIDE
from benchmarks.quality.shrink import LEAST, QUALITY, Shrunk, verdict

NOTE = """Bytes and CPU are ours over the peer's at equal SSIMULACRA2: geometric means over the
pictures, each at those of the scores {scores} that both curves reach (a monotone cubic between
qualities, over the logarithm of bytes; nothing is extrapolated). CPU is process time of one
encode from pixels in memory, the fastest of the rounds, both sides on one thread. PNG is without
loss: its bytes and CPU are compared as they are."""


def page(
    head: str,
    rows: Sequence[Row],
    shrunk: Sequence[Shrunk],
    pictures: Sequence[str],
    versions: Mapping[str, str],
    plot: str,
) -> str:
    """The Markdown page below `head`, which was written before the work began."""
    scores = ", ".join(f"{score:g}" for score in SCORES)
    shown = ", ".join(f"{name} {versions[name]}" for name in ("sharp", "vips", "webp", "aom"))
    return f"""{head}- peer: {shown}, mozjpeg {versions.get("mozjpeg", "?")}
- pictures: {len(pictures)} of at most {SIDE} px: {", ".join(pictures)}

{NOTE.format(scores=scores)}

{table(rows)}

{shrunk_table(shrunk)}

![fronts]({plot})
"""


def table(rows: Sequence[Row]) -> str:
    """A row for each comparison, the same on a terminal and in the page."""
    by_score = " | ".join(f"bytes at {score:g}" for score in SCORES)
    lines = [
        f"| format | ours | peer | bytes | CPU | goal | verdict | {by_score} | pairs |",
        "|---|---|---|---:|---:|---|---|" + "---:|" * (len(SCORES) + 1),
    ]
    for row in rows:
        goal, ratio = row.goal, row.ratio
        wanted = "-"
        if goal.most_bytes is not None and goal.most_cpu is not None:
            wanted = f"≤ {goal.most_bytes:.2f}, CPU ≤ {goal.most_cpu:.3g}"
        cells = [goal.format.value, goal.ours, goal.peer]
        if ratio is None:
            cells += ["-", "-", wanted, row.verdict, *("-" for _ in SCORES), "0"]
        else:
            single = [ratio.by_score.get(score) for score in SCORES]
            shown = ["-" if value is None else f"{value:.2f}" for value in single]
            cells += [f"{ratio.bytes:.3f}", f"{ratio.cpu:.3f}", wanted, row.verdict]
            cells += [*shown, str(ratio.pairs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shrunk_table(shrunk: Sequence[Shrunk]) -> str:
    """The photos through the whole pipeline, and their mean against the goal."""
    lines = [
        f"| photo to {SIDE} px, JPEG q{QUALITY} | ours | sharp | goal | verdict |",
        "|---|---:|---:|---|---|",
    ]
    lines += [f"| {row.photo} | {row.ours:.1f} | {row.sharp:.1f} | | |" for row in shrunk]
    mean = fmean(row.ours for row in shrunk)
    sharp = fmean(row.sharp for row in shrunk)
    lines.append(f"| mean | {mean:.1f} | {sharp:.1f} | ≥ {LEAST:g} | {verdict(shrunk)} |")
    return "\n".join(lines)


def document(
    rows: Sequence[Row],
    shrunk: Sequence[Shrunk],
    encodes: Sequence[Encode],
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """All figures, ready for JSON."""
    return {
        "machine": describe(),
        "sharp": dict(versions),
        "rows": [asdict(row) | {"verdict": row.verdict} for row in rows],
        "shrunk": [asdict(row) for row in shrunk],
        "encodes": [
            {name: value for name, value in asdict(encode).items() if name != "path"}
            for encode in encodes
        ],
    }
