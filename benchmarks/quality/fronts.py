"""Bytes and CPU at equal score: the curves of two encoders, compared picture by picture."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, geometric_mean

from benchmarks.quality.encoders import Encode

SCORES = (65.0, 75.0, 85.0)
"""SSIMULACRA2: a little below "high", between, and "excellent" by the scale of its authors."""


@dataclass(frozen=True)
class Ratio:
    """Ours over the peer's at equal score: geometric means, over `pairs` of picture and score."""

    bytes: float
    cpu: float
    pairs: int
    by_score: Mapping[float, float]


def compare(
    ours: Sequence[Encode], peer: Sequence[Encode], scores: Sequence[float] = SCORES
) -> Ratio | None:
    """The ratio over all pictures that both have, at the scores that both curves reach.

    Every picture weighs the same, however many of the scores it reaches. None without any.
    """
    pairs: list[tuple[str, float, float, float]] = []
    of_peer = by_reference(peer)
    for reference, encodes in by_reference(ours).items():
        for score in scores:
            here, there = at(encodes, score), at(of_peer.get(reference, []), score)
            if here and there:
                pairs.append((reference, score, here[0] - there[0], here[1] - there[1]))
    return _ratio(pairs)


def compare_lossless(ours: Sequence[Encode], peer: Sequence[Encode]) -> Ratio | None:
    """The same for files that hold equal pixels: no score to hold equal."""
    of_peer = {encode.reference: encode for encode in peer}
    return _ratio(
        [
            (
                encode.reference,
                100.0,
                math.log(encode.bytes / of_peer[encode.reference].bytes),
                math.log(encode.ms_per_mp / of_peer[encode.reference].ms_per_mp),
            )
            for encode in ours
            if encode.reference in of_peer
        ]
    )


def at(encodes: Sequence[Encode], score: float) -> tuple[float, float] | None:
    """Logarithms of bytes and CPU at `score`; None outside of the curve.

    Bytes by a piecewise cubic that keeps monotone, as Bjøntegaard's differences are taken (ITU-T
    VCEG-M33, with the interpolation of JCTVC-L1100), since straight lines between qualities that
    lie far apart say too many bytes; CPU straight between neighbours.
    """
    rising = _rising(encodes)
    if not rising or not rising[0].score <= score <= rising[-1].score:
        return None
    place = max(1, bisect_left(rising, score, key=lambda encode: encode.score))
    if place == len(rising):
        return math.log(rising[0].bytes), math.log(rising[0].ms_per_mp)
    left, right = rising[place - 1], rising[place]
    share = (score - left.score) / (right.score - left.score)
    cost = math.log(left.ms_per_mp) + share * math.log(right.ms_per_mp / left.ms_per_mp)
    sizes = [(encode.score, math.log(encode.bytes)) for encode in rising]
    return _cubic(sizes, place, share), cost


def _rising(encodes: Sequence[Encode]) -> list[Encode]:
    """By score; of those with the same score the smallest file."""
    of_score: dict[float, Encode] = {}
    for encode in sorted(encodes, key=lambda encode: (encode.score, encode.bytes)):
        of_score.setdefault(encode.score, encode)
    return list(of_score.values())


def _cubic(points: Sequence[tuple[float, float]], place: int, share: float) -> float:
    """The value at `share` of the way from point `place - 1` to `place`."""
    (x0, y0), (x1, y1) = points[place - 1 : place + 1]
    step, rise = x1 - x0, (y1 - y0) / (x1 - x0)
    before = _slope(points, place - 1, rise) * step
    after = _slope(points, place, rise) * step
    rest, back = y1 - y0, 1 - share
    return y0 + share * (before * back * back + share * (rest * (3 - 2 * share) - after * back))


def _slope(points: Sequence[tuple[float, float]], at: int, end: float) -> float:
    """The derivative at a point: Fritsch and Butland's weighted harmonic mean of its two sides.

    SIAM J. Sci. Stat. Comput. 5 (1984). At an end the slope of its one side.
    """
    if at in (0, len(points) - 1):
        return end
    (x0, y0), (x1, y1), (x2, y2) = points[at - 1 : at + 2]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    if left * right <= 0:
        return 0.0
    first, second = 2 * (x2 - x1) + (x1 - x0), (x2 - x1) + 2 * (x1 - x0)
    return (first + second) / (first / left + second / right)


def curve(encodes: Iterable[Encode]) -> list[tuple[float, float]]:
    """Kilobytes (geometric mean) and mean score over the pictures, a point a quality."""
    of: dict[int, list[Encode]] = {}
    for encode in encodes:
        of.setdefault(encode.quality, []).append(encode)
    return [
        (geometric_mean(e.bytes / 1000 for e in same), fmean(e.score for e in same))
        for _, same in sorted(of.items())
    ]


def by_reference(encodes: Iterable[Encode]) -> dict[str, list[Encode]]:
    grouped: dict[str, list[Encode]] = {}
    for encode in encodes:
        grouped.setdefault(encode.reference, []).append(encode)
    return grouped


def _ratio(pairs: Sequence[tuple[str, float, float, float]]) -> Ratio | None:
    if not pairs:
        return None
    sizes: dict[str, list[float]] = {}
    costs: dict[str, list[float]] = {}
    at_score: dict[float, list[float]] = {}
    for reference, score, size, cost in pairs:
        sizes.setdefault(reference, []).append(size)
        costs.setdefault(reference, []).append(cost)
        at_score.setdefault(score, []).append(size)
    return Ratio(
        math.exp(fmean(map(fmean, sizes.values()))),
        math.exp(fmean(map(fmean, costs.values()))),
        len(pairs),
        {score: math.exp(fmean(logs)) for score, logs in sorted(at_score.items())},
    )
