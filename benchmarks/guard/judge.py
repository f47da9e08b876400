"""Whether a figure has moved, or the machine only breathes."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

RESAMPLES = 2000
CONFIDENCE = 0.98
LEAST_MOVE = 0.05
"""Below this nobody cares, however sure it is."""


@dataclass(frozen=True)
class Moved:
    """A row's median over its baseline's, with the interval that bootstrap gives."""

    name: str
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`faster` or `slower` when the whole interval is, and by more than `LEAST_MOVE`."""
        if self.low > 1.0 and self.ratio >= 1.0 + LEAST_MOVE:
            return "faster"
        if self.high < 1.0 and self.ratio <= 1.0 / (1.0 + LEAST_MOVE):
            return "slower"
        return "same"


def compare(name: str, now: Sequence[float], before: Sequence[float], seed: int = 1) -> Moved:
    """Ratios of several runs against those of the baseline.

    The interval is the percentile bootstrap of the ratio of medians (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13). Both need at least one value above 0.
    """
    chance = random.Random(seed)
    ratios = sorted(
        median(chance.choices(now, k=len(now))) / median(chance.choices(before, k=len(before)))
        for _ in range(RESAMPLES)
    )
    outside = (1.0 - CONFIDENCE) / 2.0
    low = ratios[int(outside * RESAMPLES)]
    high = ratios[min(RESAMPLES - 1, int((1.0 - outside) * RESAMPLES))]
    return Moved(name, median(now) / median(before), low, high)


def judge(
    now: Mapping[str, Sequence[float]], before: Mapping[str, Sequence[float]]
) -> tuple[list[Moved], list[str]]:
    """All rows that both have, and the names of those that only one has."""
    both = [name for name in now if name in before]
    alone = sorted(set(now) ^ set(before))
    return [compare(name, now[name], before[name]) for name in both], alone
