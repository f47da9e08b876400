"""Whether a process' memory grows: a robust line through it, and a verdict with its reasons.

The slope is Theil's and Sen's: the median of the slopes between all pairs of points, which a few
jumps do not move (Sen, "Estimates of the Regression Coefficient Based on Kendall's Tau", JASA 63,
1968, doi:10.1080/01621459.1968.10480934; its interval is from the same paper, section 6).
"""

from dataclasses import dataclass
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_POINTS = 12
MIN_SPAN_S = 600.0
"""Caches fill and allocators settle in the first minutes: a shorter time says nothing."""
MIN_MB_PER_MIN = 0.1
"""What grows more slowly takes a day for 150 MB."""
MIN_GROWTH = 0.03
"""Of the memory at the beginning; what is below may be noise."""
_MOST_POINTS = 400
_Z95 = 1.96
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Trend:
    """Megabytes (10⁶ bytes) a minute, its 95 % interval, and how sure its sign is (0 to 1)."""

    mb_per_min: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """`leaking`, `growing`, `steady`, `shrinking` or `unknown`, and why."""

    verdict: str
    confidence: float
    reasoning: str


def fit_trend(at_s: Floats, size_bytes: Floats) -> Trend:
    """The trend of at least two points at different times; of very many, evenly chosen ones."""
    if len(at_s) > _MOST_POINTS:
        chosen = np.linspace(0, len(at_s) - 1, _MOST_POINTS).astype(np.int64)
        at_s, size_bytes = at_s[chosen], size_bytes[chosen]
    first, second = np.triu_indices(len(at_s), 1)
    apart = at_s[second] - at_s[first]
    slopes = np.sort(((size_bytes[second] - size_bytes[first])[apart > 0]) / apart[apart > 0])
    per_min = 60.0 / _MB
    pairs, points = len(slopes), len(at_s)
    deviation = sqrt(points * (points - 1) * (2 * points + 5) / 18.0)
    reach = _Z95 * deviation
    low = slopes[max(0, int((pairs - reach) / 2))]
    high = slopes[min(pairs - 1, int((pairs + reach) / 2) + 1)]
    kendall = abs(float(np.sign(slopes).sum()))
    confidence = erf(max(0.0, kendall - 1.0) / deviation / sqrt(2.0))
    return Trend(
        float(np.median(slopes)) * per_min,
        float(low) * per_min,
        float(high) * per_min,
        confidence,
    )


def judge(at_s: Floats, size_bytes: Floats) -> tuple[Trend | None, Verdict]:
    """What the memory of one process over time looks like."""
    span_s = float(at_s[-1] - at_s[0]) if len(at_s) else 0.0
    if len(at_s) < MIN_POINTS or span_s < MIN_SPAN_S:
        needed = f"{MIN_SPAN_S / 60:.0f} minutes and {MIN_POINTS} points"
        return None, Verdict(
            "unknown",
            0.0,
            f"{span_s / 60:.1f} minutes and {len(at_s)} points; {needed} are needed.",
        )
    trend = fit_trend(at_s, size_bytes)
    said = f"{trend.mb_per_min:+.2f} MB/min ({trend.low:+.2f} to {trend.high:+.2f})"
    growth = trend.mb_per_min * _MB * span_s / 60.0 / max(float(np.median(size_bytes)), 1.0)
    share = f"{growth:+.1%} in {span_s / 60:.0f} minutes"
    if abs(trend.mb_per_min) < MIN_MB_PER_MIN or abs(growth) < MIN_GROWTH:
        return trend, Verdict("steady", 1.0 - min(1.0, abs(growth)), f"{said}, {share}: noise.")
    if trend.low <= 0 <= trend.high:
        return trend, Verdict(
            "steady", 1.0 - trend.confidence, f"{said}: the interval holds zero, {share}."
        )
    if trend.mb_per_min < 0:
        return trend, Verdict("shrinking", trend.confidence, f"{said}, {share}.")
    half = len(at_s) // 2
    later = fit_trend(at_s[half:], size_bytes[half:])
    if later.low > 0 and later.mb_per_min > trend.mb_per_min / 2:
        return trend, Verdict(
            "leaking", trend.confidence, f"{said}, {share}, and the second half goes on growing."
        )
    return trend, Verdict(
        "growing",
        trend.confidence,
        f"{said}, {share}, but the second half grows by {later.mb_per_min:+.2f} MB/min only, as "
        "caches that fill do.",
    )
