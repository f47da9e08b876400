"""Trends, impacts, costs and reuse distances on data whose answer is known."""

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnishot_ray.metrics.analysis.costs import Prices, Usage, price
from omnishot_ray.metrics.analysis.impact import compare
from omnishot_ray.metrics.analysis.reuse import measure_reuse
from omnishot_ray.metrics.analysis.trends import MOST_POINTS, find_trend

TIMES = 1_800_000_000.0 + np.arange(200) * 60.0


def test_a_slope_survives_wild_values() -> None:
    draw = np.random.default_rng(0)
    values = 50.0 + 0.01 * (TIMES - TIMES[0]) + draw.normal(0, 3, len(TIMES))
    values[draw.choice(len(TIMES), 40, replace=False)] += 1000.0
    trend = find_trend(TIMES, values)
    assert trend is not None
    assert trend.slope == pytest.approx(0.01, rel=0.25)
    assert trend.low <= trend.slope <= trend.high
    assert trend.direction == "rising"
    assert trend.change == pytest.approx(trend.slope * 199 * 60)


def test_noise_is_mostly_steady() -> None:
    steady = 0
    for seed in range(100):
        trend = find_trend(TIMES[:60], np.random.default_rng(seed).normal(0, 1, 60))
        assert trend is not None
        steady += trend.direction == "steady"
    assert steady >= 88  # 95 of 100 are expected


def test_falling_and_the_level_in_the_middle() -> None:
    trend = find_trend(TIMES, 100.0 - (TIMES - TIMES[0]) / 1000.0)
    assert trend is not None
    assert trend.direction == "falling"
    assert trend.level == pytest.approx(100.0 - 199 * 30.0 / 1000.0)


def test_long_series_are_thinned_and_gaps_passed_over() -> None:
    at_s = np.arange(20_000) * 1.0
    values = np.where(at_s % 7 == 0, np.nan, 2.0 * at_s)
    trend = find_trend(at_s, values)
    assert trend is not None
    assert trend.points == MOST_POINTS
    assert trend.slope == pytest.approx(2.0, rel=0.01)


def test_of_few_points_or_of_one_moment_there_is_no_trend() -> None:
    assert find_trend(TIMES[:7], TIMES[:7]) is None
    assert find_trend(np.zeros(50), np.arange(50.0)) is None


def test_an_impact_is_seen_and_its_size_is_covered() -> None:
    covered = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        impact = compare(draw.lognormal(3.0, 0.3, 120), 0.8 * draw.lognormal(3.0, 0.3, 120))
        assert impact is not None
        covered += impact.low <= -0.2 * np.exp(3.0) <= impact.high
        assert impact.verdict == "down"
    assert covered >= 34  # 38 of 40 are expected


def test_where_nothing_changed_nothing_is_claimed() -> None:
    unclear = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        noise = draw.normal(0, 1, 240)
        for place in range(1, 240):
            noise[place] += 0.5 * noise[place - 1]
        impact = compare(100 + noise[:120], 100 + noise[120:])
        assert impact is not None
        unclear += impact.verdict == "unclear"
    assert unclear >= 48  # 57 of 60 of independent minutes; these are alike


def test_the_same_data_give_the_same_answer() -> None:
    values = np.random.default_rng(3).normal(10, 1, 50)
    assert compare(values, values + 1) == compare(values, values + 1)


def test_too_little_data_have_no_impact() -> None:
    assert compare(np.arange(11.0), np.arange(100.0)) is None
    assert compare(np.full(50, np.nan), np.arange(100.0)) is None


def test_of_nothing_there_is_no_share() -> None:
    impact = compare(np.zeros(20), np.ones(20))
    assert impact is not None
    assert (impact.share, impact.verdict) == (None, "up")


def test_a_bill() -> None:
    usage = Usage(7200.0, 50_000, 1.5, 20e9, 365e9, {"gateway": 1.0, "resizer": 0.5})
    bill = price(usage, Prices("EUR", 0.05, 0.1, 0.02))
    assert bill["quantities"] == pytest.approx(
        {"core_hours": 3.0, "egress_gb": 20.0, "storage_gb_months": 1.0}
    )
    assert bill["costs"] == pytest.approx(
        {"cores": 0.15, "egress": 2.0, "storage": 0.02, "total": 2.17}
    )
    assert bill["per_1000_images"]["total"] == pytest.approx(0.0434)
    assert bill["core_seconds_per_1000_images"] == pytest.approx(216.0)


def test_without_images_there_is_no_price_of_one() -> None:
    bill = price(Usage(60.0, 0, 0.1, 0.0, 0.0), Prices())
    assert bill["per_1000_images"] is None
    assert bill["quantities"]["core_hours"] == pytest.approx(0.1 / 60)


def test_prices_are_not_negative() -> None:
    with pytest.raises(ValueError, match="egress_gb must not be negative"):
        Prices(egress_gb=-1.0)


class Cache:
    """A least-recently-used cache bounded in bytes, to hold the curve against."""

    def __init__(self, room: float) -> None:
        self.room, self.held, self.hits = room, OrderedDict[str, float](), 0

    def ask(self, key: str, size: float) -> None:
        if key in self.held:
            self.hits += 1
            self.held.move_to_end(key)
            return
        if size <= self.room:
            self.held[key] = size
            while sum(self.held.values()) > self.room:
                self.held.popitem(last=False)


@given(keys=st.lists(st.integers(0, 12), min_size=1, max_size=120), room=st.integers(1, 40))
def test_the_curve_is_what_a_cache_does(keys: list[int], room: int) -> None:
    # Of one size each: then a cache that evicts whole results is exactly the one of the theory.
    names = [str(key) for key in keys]
    cache = Cache(3.0 * room)
    for name in names:
        cache.ask(name, 3.0)
    curve = measure_reuse(names, [3.0] * len(names))
    assert curve.hit_share(3.0 * room) == pytest.approx(cache.hits / len(names))
    assert curve.best_share == pytest.approx((len(names) - len(set(names))) / len(names))
    assert curve.hit_share(curve.smallest(1.0)) == pytest.approx(curve.best_share)


def test_of_nothing_the_curve_is_nothing() -> None:
    curve = measure_reuse([], [])
    assert (curve.hit_share(10), curve.best_share, curve.smallest()) == (0.0, 0.0, 0.0)
