"""What a change has done: before and after, with the confidence that the data allow.

Differences of medians, with the percentile interval of a moving-block bootstrap (Künsch, "The
jackknife and the bootstrap for general stationary observations", Annals of Statistics 17, 1989):
figures of neighbouring minutes are alike, and drawing minutes one by one would promise too much.
Blocks are the cube root of the series long, at least two steps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_STEPS = 12
_DRAWS = 2000
_SEED = 5
_MOST_STEPS = 2000


@dataclass(frozen=True, slots=True)
class Impact:
    """Medians of both sides and the difference, after less before."""

    before: float
    after: float
    difference: float
    low: float
    high: float
    """The difference lies between them with the confidence that was asked for."""
    share: float | None
    """The difference by what was before; None of nothing."""
    steps: tuple[int, int]

    @property
    def verdict(self) -> str:
        """`up`, `down`, or `unclear` where nothing lies within the interval."""
        if self.low > 0.0:
            return "up"
        return "down" if self.high < 0.0 else "unclear"


def compare(before: Floats, after: Floats, confidence: float = 0.95) -> Impact | None:
    """The impact on a series of steps; None where a side has fewer than `FEWEST_STEPS`.

    The same data always give the same answer.
    """
    before = before[np.isfinite(before)][-_MOST_STEPS:]
    after = after[np.isfinite(after)][:_MOST_STEPS]
    if min(len(before), len(after)) < FEWEST_STEPS:
        return None
    random = np.random.default_rng(_SEED)
    differences = _medians_of_draws(after, random) - _medians_of_draws(before, random)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(differences, [tail, 1.0 - tail])
    was, is_now = float(np.median(before)), float(np.median(after))
    return Impact(
        was,
        is_now,
        is_now - was,
        float(low),
        float(high),
        (is_now - was) / was if was else None,
        (len(before), len(after)),
    )


def _medians_of_draws(values: Floats, random: np.random.Generator) -> Floats:
    """Medians of `_DRAWS` series put together of blocks of this one."""
    count = len(values)
    block = max(2, round(count ** (1.0 / 3.0)))
    starts = random.integers(0, count - block + 1, (_DRAWS, -(-count // block)))
    places = (starts[:, :, None] + np.arange(block)).reshape(_DRAWS, -1)[:, :count]
    return np.asarray(np.median(values[places], axis=1), np.float64)
