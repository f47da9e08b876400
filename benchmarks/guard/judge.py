"""Whether a figure has moved, or the machine only breathes.

Rounds within a run differ less than runs at different times do: caches, neighbours and the places
where processes happen to lie stay the same for a run. So the baseline is several runs, and the
question is whether one more run of the same code could have come out like this: a prediction
interval of Student's t over the logarithms of the runs' levels (Hahn and Meeker, "Statistical
Intervals", 1991, section 4.7). A handful of runs knows its own spread badly; the variance of a row
is drawn towards that of the rows of its kind (Smyth, "Linear models and empirical Bayes methods",
2004). With many rows one of them is often outside by chance: it counts when it is outside on the
same side in a second run too (`again`), so that few false alarms need no wide intervals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, variance

CONFIDENCE = 0.98
"""How often a row of a run of the same code is within its interval."""
LEAST_MOVE = 0.1
"""Below this nobody cares, however sure it is (asv's default factor)."""
LEAST_RUNS = 3
"""Fewer say too little of how much runs differ."""
_PRIOR = 8.0
"""Degrees of freedom that the spread of the rows of a kind counts as, beside the row's own."""
_LEAST_SPREAD = 0.01
"""Standard deviation between runs that is assumed even where fewer runs showed less."""

Rows = Mapping[str, Sequence[float]]
"""Ratios of each round of a run, by row."""


@dataclass(frozen=True)
class Moved:
    """A row's level over that of the baseline; a run of the same code is within `low`, `high`."""

    name: str
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`faster` or `slower` when outside of the interval, and by more than `LEAST_MOVE`."""
        if self.ratio > self.high and self.ratio >= 1.0 + LEAST_MOVE:
            return "faster"
        if self.ratio < self.low and self.ratio <= 1.0 / (1.0 + LEAST_MOVE):
            return "slower"
        return "same"


def judge(now: Rows, before: Sequence[Rows]) -> tuple[list[Moved], list[str]]:
    """All rows that this run and every run of the baseline have, and the names of the others.

    ValueError when the baseline has fewer than `LEAST_RUNS` runs. All ratios are above 0.
    """
    if len(before) < LEAST_RUNS:
        raise ValueError(f"a baseline has at least {LEAST_RUNS} runs")
    both = [name for name in now if all(name in run for run in before)]
    alone = sorted(set(now).union(*before) - set(both))
    levels = {name: [_level(run[name]) for run in before] for name in both}
    spreads = _spreads({name: variance(seen) for name, seen in levels.items()}, len(before))
    freedom = _PRIOR + len(before) - 1
    reach = quantile((1.0 + CONFIDENCE) / 2.0, freedom)
    moved = []
    for name in both:
        usual = fmean(_doubt(run[name]) for run in before)
        # A run that is less sure of itself than those of the baseline were is believed less.
        excess = max(0.0, _doubt(now[name]) - usual)
        wide = reach * math.sqrt(spreads[name] * (1.0 + 1.0 / len(before)) + excess)
        ratio = math.exp(_level(now[name]) - fmean(levels[name]))
        moved.append(Moved(name, ratio, math.exp(-wide), math.exp(wide)))
    return moved, alone


def again(first: Sequence[Moved], second: Sequence[Moved]) -> list[Moved]:
    """What both runs say: of what moved in the first, the ratio that is nearer to no change."""
    seconds = {row.name: row for row in second}
    return [
        _both(row, seconds[row.name]) if row.verdict != "same" and row.name in seconds else row
        for row in first
    ]


def _both(one: Moved, other: Moved) -> Moved:
    if (one.ratio > 1.0) == (other.ratio > 1.0):
        return min(one, other, key=lambda row: abs(math.log(row.ratio)))
    return replace(one, ratio=math.sqrt(one.ratio * other.ratio))


def _level(ratios: Sequence[float]) -> float:
    """The mean of the logarithms without the extreme ones."""
    logs, cut = _sorted_logs(ratios)
    return fmean(logs[cut : len(logs) - cut])


def _doubt(ratios: Sequence[float]) -> float:
    """The variance of `_level`, from the rounds (Yuen, "The two-sample trimmed t for unequal
    population variances", Biometrika 61, 1974).
    """
    logs, cut = _sorted_logs(ratios)
    count, kept = len(logs), len(logs) - 2 * cut
    if kept < 2:
        return 0.0
    within = [min(max(one, logs[cut]), logs[count - 1 - cut]) for one in logs]
    return (count - 1) * variance(within) / (kept * (kept - 1))


def _sorted_logs(ratios: Sequence[float]) -> tuple[list[float], int]:
    """And how many of them are extreme at each end: a sixth."""
    return sorted(math.log(ratio) for ratio in ratios), len(ratios) // 6


def _spreads(own: Mapping[str, float], runs: int) -> dict[str, float]:
    """Variances between runs, each drawn towards the mean of its kind."""
    kinds: dict[str, list[float]] = {}
    for name, value in own.items():
        kinds.setdefault(name.partition(":")[0], []).append(value)
    freedom = runs - 1
    return {
        name: max(
            _LEAST_SPREAD**2,
            (_PRIOR * fmean(kinds[name.partition(":")[0]]) + freedom * value) / (_PRIOR + freedom),
        )
        for name, value in own.items()
    }


@cache
def quantile(share: float, freedom: float) -> float:
    """Of Student's t: below it lies this share. Its density, integrated (Simpson) and bisected.

    `share` is at least one half, `freedom` at least 1.
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    scale /= math.sqrt(freedom * math.pi)

    def below(bound: float, steps: int = 400) -> float:
        # Substituting t = √ν tan φ leaves a cosine to the power ν − 1 on a short, finite way.
        end = math.atan(bound / math.sqrt(freedom))
        width = end / steps
        heights = [math.cos(number * width) ** (freedom - 1) for number in range(steps + 1)]
        whole = heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2])
        return 0.5 + scale * math.sqrt(freedom) * whole * width / 3

    low, high = 0.0, 1.0
    while below(high) < share:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return high
