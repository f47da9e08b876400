"""Trends that a few wild values do not bend.

Theil–Sen: the slope is the median of the slopes of all pairs of points (Sen, "Estimates of the
regression coefficient based on Kendall's tau", JASA 63, 1968). It holds with up to 29 % of the
points wild. The interval of the slope is Sen's, from the variance of Kendall's tau; it takes the
points as independent, so that of a series that wanders slowly it is too narrow.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_POINTS = 600
"""Beyond it neighbours are joined to their medians first: pairs grow with the square."""
FEWEST_POINTS = 8


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through a series, in its unit and seconds."""

    slope: float
    low: float
    high: float
    """The slope lies between them with the confidence that was asked for."""
    level: float
    """Of the line in the middle of the time."""
    change: float
    """Of the line from the first point to the last."""
    points: int

    @property
    def direction(self) -> str:
        """`rising` or `falling` where the interval leaves no doubt, else `steady`."""
        if self.low > 0.0:
            return "rising"
        return "falling" if self.high < 0.0 else "steady"


def find_trend(at_s: Floats, values: Floats, confidence: float = 0.95) -> Trend | None:
    """The trend of `values` at `at_s` (both of shape n); None of fewer than `FEWEST_POINTS`.

    What is not finite is passed over.
    """
    known = np.isfinite(values) & np.isfinite(at_s)
    at_s, values = _thin(at_s[known], values[known])
    count = len(values)
    if count < FEWEST_POINTS:
        return None
    origin = at_s[0]
    at_s = at_s - origin
    first, second = np.triu_indices(count, 1)
    apart = at_s[second] - at_s[first]
    slopes = np.sort((values[second] - values[first])[apart > 0] / apart[apart > 0])
    if not len(slopes):
        return None
    slope = float(np.median(slopes))
    spread = NormalDist().inv_cdf(0.5 + confidence / 2.0) * np.sqrt(
        count * (count - 1) * (2 * count + 5) / 18.0
    )
    pairs = len(slopes)
    low = slopes[max(0, int((pairs - spread) / 2.0))]
    high = slopes[min(pairs - 1, int(np.ceil((pairs + spread) / 2.0)))]
    middle = float(np.median(at_s))
    level = float(np.median(values - slope * (at_s - middle)))
    return Trend(slope, float(low), float(high), level, slope * float(at_s[-1] - at_s[0]), count)


def _thin(at_s: Floats, values: Floats) -> tuple[Floats, Floats]:
    if len(values) <= MOST_POINTS:
        return at_s, values
    groups = np.array_split(np.arange(len(values)), MOST_POINTS)
    return (
        np.array([np.median(at_s[group]) for group in groups]),
        np.array([np.median(values[group]) for group in groups]),
    )
