"""The fronts as a picture; runs in the environment of `environment.py`.

Reads `{"file": …, "curves": {format: {encoder: [[kilobytes, score], …]}}, "fronts": {format:
{encoder: [CPU, bytes]}}}` as JSON from stdin: above the mean score over the size of the files,
below CPU and bytes at equal score as ratios to sharp's.
"""

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

SIZE = (4.2, 3.8)
"""Inches of one panel."""


def main() -> None:
    job = json.load(sys.stdin)
    formats = list(job["fronts"])
    figure, axes = plt.subplots(
        2, len(formats), figsize=(SIZE[0] * len(formats), SIZE[1] * 2), squeeze=False
    )
    for format, curve_axes, front_axes in zip(formats, *axes, strict=True):
        draw_curves(curve_axes, format, job["curves"].get(format))
        draw_front(front_axes, format, job["fronts"][format])
    figure.tight_layout()
    figure.savefig(job["file"], dpi=110)


def draw_curves(axes: Axes, format: str, curves: dict[str, Any] | None) -> None:
    if not curves:
        axes.set_axis_off()
        return
    for encoder, points in curves.items():
        sizes, scores = zip(*points, strict=True)
        axes.plot(sizes, scores, marker=".", label=encoder, ls="-" if "ours" in encoder else "--")
    axes.set(title=format.upper(), xscale="log", xlabel="kB (mean)", ylabel="SSIMULACRA2 (mean)")
    finish(axes)


def draw_front(axes: Axes, format: str, front: dict[str, list[float]]) -> None:
    for encoder, (cpu, size) in front.items():
        axes.plot(cpu, size, "o" if "ours" in encoder else "s", label=encoder)
    axes.axhline(1, color="grey", lw=0.8)
    axes.axvline(1, color="grey", lw=0.8)
    equal = "equal pixels" if format == "png" else "equal score"
    axes.set(
        title=f"{format.upper()} at {equal}", xscale="log", xlabel="CPU ratio", ylabel="bytes ratio"
    )
    finish(axes)


def finish(axes: Axes) -> None:
    """Plain numbers on the logarithmic axis, and what all panels have."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


if __name__ == "__main__":
    main()
