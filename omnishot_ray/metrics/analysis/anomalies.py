"""What does not fit to a series: seasonal robust z-scores, or against a moving mean.

With at least `FEWEST_PERIODS` days of data what is expected is the median of the same time of day,
pooled with its neighbours; with less it is an exponentially weighted moving mean (EWMA) that wild
values move only as far as ordinary ones do. What is left over is measured in robust standard
deviations (1.4826 times the median absolute deviation, of the same time of day; more where the
tails are heavy). An anomaly is one step beyond `ALONE` of them, or `RUN` in a row beyond `TOGETHER`
on the same side. Neighbours are one anomaly.

Of normal noise a step is beyond `ALONE` (5) once in 1.7 million, and two of independent steps in a
row beyond `TOGETHER` (3.8) once in 96 million: practically never. Noise with heavy tails (Student's
t of 4 degrees of freedom) and noise that wanders give more; over those series that the tests make
(288 steps a day, a day's rhythm, noise that is normal, of Poisson counts, log-normal, of heavy
tails or wandering) it stays below one false alarm a day, and at least nine of ten spikes, dips and
shifts of eight standard deviations are found; so it does with rhythms that nothing was chosen on.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_PERIODS = 3
ALONE = 5.0
TOGETHER = 3.8
RUN = 2
_SIGMA = 1.4826
_TAIL_SHARE, _TAIL_SIGMA = 0.975, 2.2414
"""Of normal noise 97.5 % lie within 2.24 standard deviations."""
_MOST_HEAVY = 1.3
_NEIGHBOURS_S = 1800.0
_WARM_UP = 30
_EWMA_WEIGHT = 0.1
_MOST_STEPS = 50_000


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A stretch of time in which a series was not as it should be."""

    began_s: float
    ended_s: float
    """The end of the last step."""
    value: float
    """The one furthest off."""
    expected: float
    score: float
    """In robust standard deviations; below nothing: too low."""


@dataclass(frozen=True, slots=True)
class Found:
    """The anomalies, and how they were looked for."""

    anomalies: list[Anomaly]
    method: str
    """`seasonal`, `ewma`, or `too-short`."""
    steps: int


def find_anomalies(
    at_s: Floats,
    values: Floats,
    step_s: float,
    period_s: float = 86_400.0,
    logarithmic: bool = False,
) -> Found:
    """Anomalies of `values` at `at_s` (both of shape n, steps of `step_s`; gaps are allowed).

    `logarithmic` is for what cannot be negative and is skewed, such as durations: deviations are
    then factors.
    """
    if len(values) < 2 * _WARM_UP:
        return Found([], "too-short", len(values))
    begin_s, series = _grid(at_s, values, step_s)
    scaled = np.log1p(np.maximum(series, 0.0)) if logarithmic else series
    period = round(period_s / step_s)
    is_seasonal = len(series) >= FEWEST_PERIODS * period and period > 1
    if is_seasonal:
        expected, scale = _by_season(scaled, period, max(1, round(_NEIGHBOURS_S / step_s)))
    else:
        expected, scale = _by_ewma(scaled)
    with np.errstate(invalid="ignore"):
        score = (scaled - expected) / scale
    expected = np.expm1(expected) if logarithmic else expected
    found = [
        _describe(begin, end, begin_s, step_s, series, expected, score)
        for begin, end in _stretches(score)
    ]
    return Found(found, "seasonal" if is_seasonal else "ewma", len(series))


def _grid(at_s: Floats, values: Floats, step_s: float) -> tuple[float, Floats]:
    """The series on a regular grid, NaN in the gaps."""
    begin_s = float(at_s.min())
    places = np.round((at_s - begin_s) / step_s).astype(np.int64)
    kept = places < _MOST_STEPS
    series = np.full(int(places[kept].max()) + 1, np.nan)
    series[places[kept]] = values[kept]
    return begin_s, series


def _by_season(series: Floats, period: int, neighbours: int) -> tuple[Floats, Floats]:
    """Expected value and scale of each step, by its place in the period."""
    count = len(series)
    rows = -(-count // period)
    padded = np.full(rows * period, np.nan)
    padded[:count] = series
    table = padded.reshape(rows, period)
    rhythm = _pooled_medians(table, neighbours)
    # A day may lie higher than the others as a whole, which is no anomaly of each of its steps.
    level = np.nanmedian(np.where(np.isfinite(table), table - rhythm, np.nan), axis=1)
    level = np.where(np.isfinite(level), level, 0.0)
    left = table - rhythm - level[:, None]
    spread = _SIGMA * _pooled_medians(np.abs(left), 2 * neighbours)
    overall = _scale(left.ravel())
    # Where the day is quiet a time of day may seem to have no noise at all.
    scale = np.maximum(spread * _heaviness(left / np.maximum(spread, 1e-12)), 0.25 * overall)
    expected = np.broadcast_to(rhythm, table.shape) + level[:, None]
    return expected.ravel()[:count], np.broadcast_to(scale, table.shape).ravel()[:count]


def _pooled_medians(table: Floats, neighbours: int) -> Floats:
    """The median of each column together with so many on either side, around the end."""
    period = table.shape[1]
    neighbours = min(neighbours, (period - 1) // 2)
    around = np.concatenate([table[:, period - neighbours :], table, table[:, :neighbours]], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * neighbours + 1, axis=1)
    pooled = np.moveaxis(windows, 1, 0).reshape(period, -1)
    empty = ~np.isfinite(pooled).any(axis=1)
    pooled = np.where(empty[:, None], 0.0, pooled)
    medians = np.nanmedian(pooled, axis=1)
    medians[empty] = np.nan
    return np.asarray(medians, np.float64)


def _by_ewma(series: Floats) -> tuple[Floats, Floats]:
    """Expected value and scale of each step, by those before it."""
    start = series[np.isfinite(series)][:_WARM_UP]
    mean = float(np.median(start))
    overall = _scale(np.diff(series)) / np.sqrt(2.0)
    spread = max(_scale(start - mean), overall, 1e-12)
    expected = np.empty(len(series))
    for place, value in enumerate(series):
        expected[place] = mean
        if np.isfinite(value):
            mean += _EWMA_WEIGHT * float(np.clip(value - mean, -3.0 * spread, 3.0 * spread))
    left = series - expected
    scale = max(_scale(left), 1e-12)
    scale = float(scale * _heaviness(left / scale))
    # The first steps have nothing before them to be measured by.
    scales = np.full(len(series), scale)
    scales[: _WARM_UP // 3] = np.inf
    return expected, scales


def _scale(values: Floats) -> float:
    known = np.abs(values[np.isfinite(values)])
    if not len(known):
        return 1e-12
    median = float(np.median(known))
    # More than half the steps may be alike: then the mean says how large the others are.
    return max(_SIGMA * median if median else float(known.mean()), 1e-12)


def _heaviness(scores: Floats) -> float:
    """How much wider than normal the tails are, at least 1."""
    known = np.abs(scores[np.isfinite(scores)])
    if not len(known):
        return 1.0
    return float(np.clip(np.quantile(known, _TAIL_SHARE) / _TAIL_SIGMA, 1.0, _MOST_HEAVY))


def _stretches(score: Floats) -> list[tuple[int, int]]:
    """First and last step of each anomaly."""
    side = np.where(np.abs(score) >= TOGETHER, np.sign(score), 0.0)
    side = np.where(np.isfinite(score), side, 0.0)
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(side):
        if not side[place]:
            place += 1
            continue
        end = place
        while end + 1 < len(side) and side[end + 1] == side[place]:
            end += 1
        if end - place + 1 >= RUN or np.abs(score[place : end + 1]).max() >= ALONE:
            if found and place - found[-1][1] <= RUN:
                found[-1] = found[-1][0], end
            else:
                found.append((place, end))
        place = end + 1
    return found


def _describe(
    begin: int,
    end: int,
    begin_s: float,
    step_s: float,
    series: Floats,
    expected: Floats,
    score: Floats,
) -> Anomaly:
    furthest = begin + int(np.nanargmax(np.abs(score[begin : end + 1])))
    return Anomaly(
        begin_s + begin * step_s,
        begin_s + (end + 1) * step_s,
        float(series[furthest]),
        float(expected[furthest]),
        float(score[furthest]),
    )
