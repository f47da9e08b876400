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
    """Logarithms of bytes and CPU at `score`, straight between neighbours; None outside of them."""
    rising = sorted(encodes, key=lambda encode: encode.score)
    place = bisect_left(rising, score, key=lambda encode: encode.score)
    if place == len(rising) or (place == 0 and rising[0].score != score):
        return None
    right = rising[place]
    if right.score == score:
        return math.log(right.bytes), math.log(right.ms_per_mp)
    left = rising[place - 1]
    share = (score - left.score) / (right.score - left.score)
    return (
        math.log(left.bytes) + share * math.log(right.bytes / left.bytes),
        math.log(left.ms_per_mp) + share * math.log(right.ms_per_mp / left.ms_per_mp),
    )


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
