"""Memory that grows, memory that stays, and memory that only looks as if it grew."""

import numpy as np
import pytest

from omnishot_ray.metrics.leaks import fit_trend, judge

TIMES = np.arange(0.0, 3600.0, 10.0)
_draw = np.random.default_rng(3)
NOISE = _draw.normal(0, 2e6, len(TIMES))


@pytest.mark.parametrize(
    ("sizes", "verdict"),
    [
        (2e8 + 1e6 / 60 * TIMES + NOISE, "leaking"),
        (2e8 + NOISE, "steady"),
        (2e8 + 5e7 * (TIMES > 1800) * (TIMES < 1900) + NOISE, "steady"),
        (2e8 + 2e8 * (1 - np.exp(-TIMES / 400)) + NOISE / 10, "growing"),
        (4e8 - 1e6 / 60 * TIMES + NOISE, "shrinking"),
    ],
    ids=["leak", "noise", "a peak", "a cache that fills", "given back"],
)
def test_the_verdict(sizes: np.ndarray, verdict: str) -> None:
    trend, found = judge(TIMES, sizes)
    assert trend is not None
    assert found.verdict == verdict, found.reasoning
    assert 0 <= found.confidence <= 1
    assert "MB/min" in found.reasoning


def test_too_little_is_no_verdict() -> None:
    trend, found = judge(TIMES[:20], 2e8 + 1e6 * TIMES[:20])
    assert (trend, found.verdict) == (None, "unknown")
    assert "10 minutes" in found.reasoning
    assert judge(TIMES[:0], TIMES[:0])[1].verdict == "unknown"


def test_the_slope_is_the_one_of_the_line_whatever_a_quarter_of_the_points_does() -> None:
    sizes = 1e8 + 3e6 / 60 * TIMES
    sizes[_draw.choice(len(sizes), len(sizes) // 4, replace=False)] += 3e8
    trend = fit_trend(TIMES, sizes)
    assert trend.mb_per_min == pytest.approx(3.0, rel=0.05)
    assert trend.low <= trend.mb_per_min <= trend.high


def test_false_alarms_are_rare() -> None:
    verdicts = [judge(TIMES, 2e8 + _draw.normal(0, 5e6, len(TIMES)))[1].verdict for _ in range(60)]
    assert set(verdicts) == {"steady"}
