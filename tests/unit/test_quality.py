"""The arithmetic of benchmarks/quality: what it says is what files and times say."""

import math

import pytest

from benchmarks.quality import fit, fronts, goals
from benchmarks.quality.encoders import Encode
from omnishot_ray.imaging.formats import Format


def ladder(
    encoder: str, *points: tuple[float, int, float], picture: str = "a", format: str = "jpeg"
) -> list[Encode]:
    return [
        Encode(picture, encoder, format, quality, size, ms, "", score)
        for quality, (score, size, ms) in enumerate(points)
    ]


def test_a_curve_is_read_between_its_points_only() -> None:
    curve = ladder("x", (60, 1000, 4), (80, 4000, 16))
    size, ms = fronts.at(curve, 70) or (0, 0)
    assert (math.exp(size), math.exp(ms)) == pytest.approx((2000, 8))
    assert fronts.at(curve, 59.9) is None
    assert fronts.at(curve, 80.1) is None
    assert fronts.at(curve, 60) == pytest.approx((math.log(1000), math.log(4)))
    assert fronts.at(curve, 80) == pytest.approx((math.log(4000), math.log(16)))


def test_a_bent_curve_is_not_cut_short() -> None:
    bent = ladder(
        "x", *((score, round(1000 * math.exp(score**2 / 900)), 1) for score in (30, 50, 70))
    )
    size, _ = fronts.at(bent, 60) or (0, 0)
    straight = (50**2 + 70**2) / 2 / 900
    true = 60**2 / 900
    assert true - 0.01 < size - math.log(1000) < (true + straight) / 2


def test_pictures_weigh_the_same_however_many_scores_they_reach() -> None:
    peer = ladder("p", (60, 1000, 10), (90, 1000, 10))
    peer += ladder("p", (60, 1000, 10), (90, 1000, 10), picture="b")
    ours = ladder("o", (60, 500, 10), (90, 500, 10))
    ours += ladder("o", (70, 2000, 40), (80, 2000, 40), picture="b")
    ratio = fronts.compare(ours, peer, (65, 75, 85))
    assert ratio is not None
    assert ratio.pairs == 4
    assert ratio.bytes == pytest.approx(1.0)
    assert ratio.cpu == pytest.approx(2.0)
    assert ratio.by_score[65] == pytest.approx(0.5)
    assert ratio.by_score[75] == pytest.approx(1.0)


def test_curves_that_never_meet_have_no_ratio() -> None:
    low = ladder("o", (10, 500, 1), (20, 600, 1))
    high = ladder("p", (70, 500, 1), (90, 600, 1))
    assert fronts.compare(low, high) is None


@pytest.mark.parametrize(
    ("size", "ms", "verdict"),
    [(1000, 1, "pass"), (1200, 1, "fail"), (1000, 5, "fail")],
)
def test_the_goal_is_bytes_and_cpu_together(size: int, ms: float, verdict: str) -> None:
    peer = ladder("sharp mozjpeg", (60, 1000, 10), (90, 1000, 10))
    ours = ladder("ours effort 4", (60, size, ms), (90, size, ms))
    (row,) = [row for row in goals.judge(peer + ours) if row.goal.peer == "sharp mozjpeg"]
    assert row.verdict == verdict


def test_lossless_files_are_compared_as_they_are() -> None:
    peer = ladder("sharp png", (100, 1000, 10), format="png")
    ours = ladder("ours effort 4", (100, 900, 5), format="png")
    ratio = goals.fronts_of(peer + ours)[Format.PNG.value]["ours effort 4"]
    assert (ratio.bytes, ratio.cpu) == pytest.approx((0.9, 0.5))


def test_the_fit_reads_off_the_quality_of_the_same_mean_score() -> None:
    asked = {50: [50.0, 60.0], 90: [99.0, 99.0]}
    tried = {40: [45.0, 55.0], 60: [65.0, 75.0], 80: [80.0, 90.0]}
    knots = fit.fit(asked, tried)
    assert [(knot.asked, knot.rounded) for knot in knots] == [(50, 45)]  # 99 is not reached
    assert fit.source(knots) == "_JPEGLI_QUALITY = ((1, 1), (50, 45), (100, 100))"
